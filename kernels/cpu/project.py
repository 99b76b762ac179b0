"""World to screen, sixteen Gaussians at a time: the formulas of ``kernels/projection.py``.

A record holds what compositing needs of one Gaussian in one image, sixteen 32-bit words (float32 where not said):

    0 u, 1 v          centre, pixels
    2 ka, 3 s, 4 kr   log2 of the falloff at (dx, dy) from the centre is ka·(dx − s·dy)² + kr·dy²
    5 log2 of the opacity
    6 7 8 colour, 9 depth
    10 11             first and last + 1 of the pixel rows that it can reach (int)
    12 13             tile columns and tile rows that it can reach: first | (last + 1) << 16 (int)
    14                height of its rightmost point above the centre where alpha = ALPHA_MIN, pixels (downwards)
    15 opacity        after antialiasing
"""

import math

import numpy as np

from kernels.constants import ALPHA_MIN, EIGENVALUE_FLOOR, TILE
from kernels.cpu import frame as fr
from kernels.cpu.lanes import store, transpose
from kernels.cpu.memory import compiled
from kernels.cpu.rows import load_fours, load_ones, load_pairs, load_threes, store_ones
from kernels.cpu.simd import (
    LANES,
    absolute,
    bits_as_float,
    ceil,
    count_lanes,
    floor,
    fma,
    invert,
    is_finite,
    lane_numbers,
    log2,
    maximum,
    minimum,
    select,
    shift_left,
    splat,
    splat_int,
    sqrt,
    to_int,
)
from kernels.cpu.views import doubles, floats, ints, words

FALLOFF = -0.5 / math.log(2)  # exp(−q/2) = 2^(FALLOFF·q)
SLACK = 0.002  # pixels added to every reach: more than float32 can be wrong by; the alpha test has the last word
NOT_DRAWN = -1  # sort key: the largest as uint32
_LOG2_ALPHA_MIN = math.log2(ALPHA_MIN)


@compiled
def dot(a, b):
    return fma(a[0], b[0], fma(a[1], b[1], a[2] * b[2]))


@compiled
def cross(a, b):
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


@compiled
def times(k, a):
    return (k * a[0], k * a[1], k * a[2])


@compiled
def plus(a, b):
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2])


@compiled
def rotation_columns(q):
    """The columns of the rotation of a unit quaternion (w, x, y, z)."""
    w, x, y, z = q
    return (
        (1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y)),
        (2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x)),
        (2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y)),
    )


@compiled
def load_gaussians(frame, image, first, count):
    """mean, quaternion, scale and opacity of up to sixteen Gaussians; lanes without one hold ones."""
    start = image // frame[fr.VIEWS] * frame[fr.GAUSSIANS] + first
    mean, quat = load_threes(frame[fr.MEANS], start, count), load_fours(frame[fr.QUATS], start, count)
    scale, opacity = load_threes(frame[fr.SCALES], start, count), load_ones(frame[fr.OPACITIES], start, count)
    return mean, quat, scale, opacity[0]


@compiled
def color_row(frame, image, first):
    """Row of the colours [B, 1 or V, N] that belongs to a Gaussian in an image."""
    scene, view = image // frame[fr.VIEWS], image % frame[fr.VIEWS]
    colored_views = frame[fr.COLOR_VIEWS]
    return (scene * colored_views + (view if colored_views > 1 else 0)) * frame[fr.GAUSSIANS] + first


@compiled
def load_camera(frame, image):
    """Rows of the rotation, translation, (fx, fy, cx, cy), least and greatest fx·x/z and fy·y/z of the Jacobian."""
    pose = floats(frame[fr.POSES] + 64 * image)
    k = floats(frame[fr.INTRINSICS] + 36 * image)
    settings = doubles(frame[fr.SETTINGS])
    width, height = np.float32(frame[fr.WIDTH]), np.float32(frame[fr.HEIGHT])
    half, margin = np.float32(0.5), np.float32(0.5 * settings[fr.FOV_MARGIN])
    left, top = k[2], k[5]
    if settings[fr.FOV_CENTRED] != 0:
        left, top = half * width, half * height
    past_x, past_y = margin * width, margin * height
    limits = (-left - past_x, width - left + past_x, -top - past_y, height - top + past_y)
    rows = (pose[0], pose[1], pose[2]), (pose[4], pose[5], pose[6]), (pose[8], pose[9], pose[10])
    return rows, (pose[3], pose[7], pose[11]), (k[0], k[4], k[2], k[5]), limits


@compiled
def to_screen(mean, rows, translation, focal, limits):
    """Camera coordinates, 1/z, pixels from the principal point, J's clamped ratios, rows of J·R."""
    x = dot(rows[0], mean) + translation[0]
    y = dot(rows[1], mean) + translation[1]
    z = dot(rows[2], mean) + translation[2]
    per_z = 1.0 / z
    px, py = focal[0] * per_z * x, focal[1] * per_z * y
    jx = minimum(maximum(px, limits[0]), limits[1]) * per_z
    jy = minimum(maximum(py, limits[2]), limits[3]) * per_z
    w1 = plus(times(focal[0] * per_z, rows[0]), times(-1.0 * jx, rows[2]))
    w2 = plus(times(focal[1] * per_z, rows[1]), times(-1.0 * jy, rows[2]))
    return (x, y, z), per_z, (px, py), (jx, jy), (w1, w2)


@compiled
def unit_quaternion(quat):
    """1/|q| and q/|q|; scaled by the largest component first, as squares would overflow or vanish."""
    w, x, y, z = quat
    largest = maximum(maximum(absolute(w), absolute(x)), maximum(absolute(y), absolute(z)))
    w, x, y, z = w / largest, x / largest, y / largest, z / largest
    per_length = 1.0 / sqrt(fma(w, w, fma(x, x, fma(y, y, z * z))))
    return per_length / largest, (w * per_length, x * per_length, y * per_length, z * per_length)


@compiled
def footprint(k1, k2, eps2d):
    """Squared lengths and product of the rows of K, where K·Kᵀ + eps2d is the screen covariance; its determinant.

    The determinant comes from the cross product: for thin Gaussians cxx·cyy − cxy² would lose all its digits.
    """
    n1, n2 = dot(k1, k1), dot(k2, k2)
    normal = cross(k1, k2)
    sharp = dot(normal, normal)
    return n1, n2, dot(k1, k2), normal, sharp, sharp + eps2d * (n1 + n2) + eps2d * eps2d


@compiled
def _all_finite(a):
    return is_finite(a[0]) & is_finite(a[1]) & is_finite(a[2])


@compiled
def _clip(x, high):
    return minimum(maximum(x, 0.0), high)


@compiled
def project(at, item):
    """A chunk of one image's Gaussians → records, sort keys, radii, and how many were skipped as not finite."""
    frame = words(at)
    chunks, n = frame[fr.CHUNKS], frame[fr.GAUSSIANS]
    slot, chunk = item // chunks, item % chunks
    image = frame[fr.FIRST_IMAGE] + slot
    settings = doubles(frame[fr.SETTINGS])
    eps2d, near, far = np.float32(settings[fr.EPS2D]), np.float32(settings[fr.NEAR]), np.float32(settings[fr.FAR])
    rows, translation, (fx, fy, cx, cy), limits = load_camera(frame, image)
    width, height = np.float32(frame[fr.WIDTH]), np.float32(frame[fr.HEIGHT])
    tiles_x, tiles_y = np.float32(frame[fr.TILES_X]), np.float32(frame[fr.TILES_Y])
    per_tile = np.float32(1.0 / TILE)
    least, moved = np.float32(settings[fr.COMPENSATION_MIN]), frame[fr.HAS_OFFSET] != 0
    offsets = frame[fr.OFFSET] + 8 * image * n
    skipped = 0
    for first in range(chunk * fr.CHUNK, min((chunk + 1) * fr.CHUNK, n), LANES):
        count = min(LANES, n - first)
        mean, quat, scale, opacity = load_gaussians(frame, image, first, count)
        color = load_threes(frame[fr.COLORS], color_row(frame, image, first), count)
        center, _, (px, py), _, (w1, w2) = to_screen(mean, rows, translation, (fx, fy), limits)
        _, unit = unit_quaternion(quat)
        axis = rotation_columns(unit)
        k1 = (dot(w1, axis[0]) * scale[0], dot(w1, axis[1]) * scale[1], dot(w1, axis[2]) * scale[2])
        k2 = (dot(w2, axis[0]) * scale[0], dot(w2, axis[1]) * scale[1], dot(w2, axis[2]) * scale[2])
        n1, n2, cxy, _, sharp, det = footprint(k1, k2, eps2d)
        u, v, z, cxx, cyy = px + cx, py + cy, center[2], n1 + eps2d, n2 + eps2d
        to_right, down_by = splat(0.0), splat(0.0)
        if moved:
            to_right, down_by = load_pairs(offsets, first, count)
            u, v = u + to_right, v + down_by

        finite = is_finite(to_right) & is_finite(down_by)
        finite = (
            finite
            & _all_finite(mean)
            & _all_finite((quat[0], quat[1], quat[2]))
            & is_finite(quat[3])
            & _all_finite(scale)
            & is_finite(opacity)
        )
        finite = finite & _all_finite(color) & _all_finite(center)
        sane = is_finite(u) & is_finite(v) & is_finite(cxx) & is_finite(cyy) & is_finite(cxy) & is_finite(det)
        inside = (z >= near) & (z <= far)
        present = lane_numbers() < np.float32(count)
        skipped += count_lanes(present & (invert(finite) | (inside & invert(sane))))
        visible = present & finite & inside & sane & (det > 0.0)
        if settings[fr.ANTIALIASED] != 0:
            opacity = opacity * maximum(sqrt(sharp / det), least)

        log2_opacity = log2(maximum(opacity, 1e-30))
        drawn = log2_opacity >= _LOG2_ALPHA_MIN
        reach = sqrt(maximum(log2_opacity - _LOG2_ALPHA_MIN, 0.0) * (-1.0 / FALLOFF))  # in standard deviations
        sigmas = splat(settings[fr.RADIUS_SIGMAS])
        if settings[fr.OPACITY_AWARE] != 0:
            sigmas = minimum(sigmas, reach)
            visible = visible & drawn
        middle = 0.5 * (cxx + cyy)
        radius = ceil(sigmas * sqrt(middle + sqrt(maximum(middle * middle - det, EIGENVALUE_FLOOR))))
        # Tiles that the square of the radius touches
        across, down = u - 0.5, v - 0.5
        sx0 = _clip(floor((across - radius) * per_tile), tiles_x)
        sy0 = _clip(floor((down - radius) * per_tile), tiles_y)
        sx1 = _clip(floor((across + radius + (TILE - 1.0)) * per_tile), tiles_x)
        sy1 = _clip(floor((down + radius + (TILE - 1.0)) * per_tile), tiles_y)
        visible = visible & (radius > settings[fr.RADIUS_CLIP]) & (sx1 > sx0) & (sy1 > sy0)
        # Pixels where alpha can reach ALPHA_MIN
        half_x, half_y = reach * sqrt(cxx) + SLACK, reach * sqrt(cyy) + SLACK
        x0, x1 = _clip(ceil(across - half_x), width), _clip(floor(across + half_x) + 1.0, width)
        y0, y1 = _clip(ceil(down - half_y), height), _clip(floor(down + half_y) + 1.0, height)
        tx0, ty0, tx1, ty1 = floor(x0 * per_tile), floor(y0 * per_tile), ceil(x1 * per_tile), ceil(y1 * per_tile)
        if settings[fr.TILE_CUTOFF] != 0:
            tx0, ty0, tx1, ty1 = maximum(tx0, sx0), maximum(ty0, sy0), minimum(tx1, sx1), minimum(ty1, sy1)
        drawn = drawn & visible & (tx1 > tx0) & (ty1 > ty0) & (x1 > x0) & (y1 > y0)

        tile_columns = to_int(tx0) | shift_left(to_int(tx1), 16)
        tile_rows = to_int(ty0) | shift_left(to_int(ty1), 16)
        records = transpose(
            (
                u,
                v,
                FALLOFF * (cyy / det),
                cxy / cyy,
                FALLOFF / cyy,
                log2_opacity,
                color[0],
                color[1],
                color[2],
                z,
                bits_as_float(to_int(y0)),
                bits_as_float(to_int(y1)),
                bits_as_float(tile_columns),
                bits_as_float(tile_rows),
                reach * cxy / sqrt(cxx),
                opacity,
            )
        )
        place = slot * frame[fr.PADDED] + first
        for lane in range(LANES):
            store(frame[fr.RECORDS] + fr.RECORD * (place + lane), records[lane])
        store(frame[fr.KEYS] + 4 * place, select(drawn, z, bits_as_float(splat_int(NOT_DRAWN))))
        # A radius beyond 2^30 pixels says no more than 2^30 does
        shown = to_int(select(visible, minimum(radius, 1073741824.0), 0.0))
        if frame[fr.GRADIENTS] == 0:
            store_ones(frame[fr.RADII], image * n + first, count, (bits_as_float(shown),))
    ints(frame[fr.SKIPPED_PARTS])[item] = skipped
    return True
