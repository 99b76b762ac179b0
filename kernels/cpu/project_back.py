"""The derivative of ``project``, sixteen Gaussians at a time, with the sums of ``tiles_back`` as its input."""

import numpy as np

from kernels.cpu import frame as fr
from kernels.cpu.lanes import lane_sums, load, load_records, store, transpose
from kernels.cpu.memory import compiled, prefetch, stack
from kernels.cpu.project import (
    FALLOFF,
    NOT_DRAWN,
    color_row,
    cross,
    dot,
    footprint,
    load_camera,
    load_gaussians,
    plus,
    rotation_columns,
    times,
    to_screen,
    unit_quaternion,
)
from kernels.cpu.rows import (
    load_fours,
    load_ones,
    load_threes,
    store_fours,
    store_ones,
    store_pairs,
    store_threes,
)
from kernels.cpu.simd import LANES, fma, lane_numbers, select, splat, to_int
from kernels.cpu.views import doubles, flags, floats, ints, words

_GATHERED = LANES * fr.RECORD
PER_FALLOFF = np.float32(-1.0 / FALLOFF)


@compiled
def _gather(frame, slot, first):
    """The sums of ``tiles_back``, added up over the tiles of sixteen Gaussians, always in the same order."""
    padded = frame[fr.PADDED]
    positions, used = ints(frame[fr.POSITIONS]), flags(frame[fr.USED])
    keys = ints(frame[fr.KEYS] + 4 * slot * padded)
    own = ints(frame[fr.OWN] + 8 * slot * padded)
    table = stack(_GATHERED)
    # Where the sums lie is noted in the order of depth, they themselves lie by tiles: both are far from one another.
    for index in range(first + 2 * LANES, min(first + 3 * LANES, padded)):
        if keys[index] != NOT_DRAWN:
            prefetch(frame[fr.POSITIONS] + 4 * own[2 * index])
    for index in range(first + LANES, min(first + 2 * LANES, padded)):
        if keys[index] != NOT_DRAWN:
            for entry in range(own[2 * index], own[2 * index + 1]):
                prefetch(frame[fr.SUMS] + fr.RECORD * positions[entry])
    for lane in range(LANES):
        total = splat(0.0)
        index = first + lane
        if keys[index] != NOT_DRAWN:
            for entry in range(own[2 * index], own[2 * index + 1]):
                position = positions[entry]
                if used[position]:
                    total = total + load(frame[fr.SUMS] + fr.RECORD * position)
        store(table + fr.RECORD * lane, total)
    return transpose(load_records(table, to_int(lane_numbers())))


@compiled
def _gather_extra(frame, image, first, count, add):
    """The same for the extra channels, straight into their gradient."""
    slot, channels = image - frame[fr.FIRST_IMAGE], frame[fr.EXTRA_CHANNELS]
    padded = frame[fr.PADDED]
    positions, used = ints(frame[fr.POSITIONS]), flags(frame[fr.USED])
    keys = ints(frame[fr.KEYS] + 4 * slot * padded)
    own = ints(frame[fr.OWN] + 8 * slot * padded)
    sums = floats(frame[fr.EXTRA_SUMS])
    row = image // frame[fr.VIEWS] * frame[fr.GAUSSIANS] + first
    gradient = floats(frame[fr.D_EXTRA] + 4 * channels * row)
    for lane in range(count):
        index = first + lane
        for channel in range(channels):
            total = gradient[channels * lane + channel] if add else np.float32(0.0)
            if keys[index] != NOT_DRAWN:
                for entry in range(own[2 * index], own[2 * index + 1]):
                    if used[positions[entry]]:
                        total += sums[channels * positions[entry] + channel]
            gradient[channels * lane + channel] = total


@compiled
def _three(base, first, count, value, add):
    """Write sixteen rows of three numbers, or add to those that an earlier view has written."""
    if add:
        value = plus(value, load_threes(base, first, count))
    store_threes(base, first, count, value)


@compiled
def _rotation_back(quat, per_norm, unit, g0, g1, g2):
    """Gradient of the quaternion from those of the rotation's columns."""
    w, x, y, z = unit
    gw = 2.0 * (x * (g1[2] - g2[1]) + y * (g2[0] - g0[2]) + z * (g0[1] - g1[0]))
    gx = 2.0 * (w * (g1[2] - g2[1]) + y * (g0[1] + g1[0]) + z * (g0[2] + g2[0])) - 4.0 * x * (g1[1] + g2[2])
    gy = 2.0 * (w * (g2[0] - g0[2]) + x * (g0[1] + g1[0]) + z * (g1[2] + g2[1])) - 4.0 * y * (g0[0] + g2[2])
    gz = 2.0 * (w * (g0[1] - g1[0]) + x * (g0[2] + g2[0]) + y * (g1[2] + g2[1])) - 4.0 * z * (g0[0] + g1[1])
    along = fma(gw, w, fma(gx, x, fma(gy, y, gz * z)))  # normalising takes away what points along the quaternion
    return (
        (gw - along * w) * per_norm,
        (gx - along * x) * per_norm,
        (gy - along * y) * per_norm,
        (gz - along * z) * per_norm,
    )


@compiled
def project_back(at, item):
    """Gradients of a chunk of one scene's Gaussians, from those of the group's images that show the scene."""
    frame = words(at)
    chunks, views = frame[fr.CHUNKS], frame[fr.VIEWS]
    first, end = frame[fr.FIRST_IMAGE], frame[fr.FIRST_IMAGE] + frame[fr.IMAGES]
    scene, chunk = first // views + item // chunks, item % chunks
    for image in range(max(scene * views, first), min((scene + 1) * views, end)):
        _project_image_back(frame, image, chunk)
    return True


@compiled
def _project_image_back(frame, image, chunk):
    n, slot, add = frame[fr.GAUSSIANS], image - frame[fr.FIRST_IMAGE], image % frame[fr.VIEWS] > 0
    settings = doubles(frame[fr.SETTINGS])
    eps2d = np.float32(settings[fr.EPS2D])
    antialiased, limits_move = settings[fr.ANTIALIASED] != 0, settings[fr.FOV_CENTRED] == 0
    least = np.float32(settings[fr.COMPENSATION_MIN])
    moved, absgrad = frame[fr.HAS_OFFSET] != 0, settings[fr.ABSGRAD] != 0
    d_offsets = frame[fr.D_OFFSET] + 8 * image * n
    rows, translation, (fx, fy, _, _), limits = load_camera(frame, image)
    zero = splat(0.0)
    d_row0, d_row1, d_row2, d_shift = (zero, zero, zero), (zero, zero, zero), (zero, zero, zero), (zero, zero, zero)
    d_fx, d_fy, d_cx, d_cy = zero, zero, zero, zero
    for first in range(chunk * fr.CHUNK, min((chunk + 1) * fr.CHUNK, n), LANES):
        count = min(LANES, n - first)
        sums = _gather(frame, slot, first)
        # Lanes whose Gaussian is not drawn may hold anything, NaN included, until the end.
        drawn = load(frame[fr.KEYS] + 4 * (slot * frame[fr.PADDED] + first)) > 0.0  # NOT_DRAWN reads as a NaN
        mean, quat, scale, opacity = load_gaussians(frame, image, first, count)
        (x, y, _), per_z, (px, py), (jx, jy), (w1, w2) = to_screen(mean, rows, translation, (fx, fy), limits)
        per_norm, unit = unit_quaternion(quat)
        q0, q1, q2 = rotation_columns(unit)
        a1, a2 = (dot(w1, q0), dot(w1, q1), dot(w1, q2)), (dot(w2, q0), dot(w2, q1), dot(w2, q2))
        k1 = (a1[0] * scale[0], a1[1] * scale[1], a1[2] * scale[2])
        k2 = (a2[0] * scale[0], a2[1] * scale[1], a2[2] * scale[2])
        _, n2, cxy, normal, sharp, det = footprint(k1, k2, eps2d)
        per_det, per_cyy = 1.0 / det, 1.0 / (n2 + eps2d)
        a, s, r = (n2 + eps2d) * per_det, cxy * per_cyy, per_cyy

        # Exponent −½(a·t² + r·dy²), t = dx − s·dy
        t1, dy1 = sums[1], sums[4]
        d_px, d_py = a * t1, r * dy1 - a * s * t1
        if moved:
            by_u = select(drawn, sums[10] * PER_FALLOFF if absgrad else d_px, zero)
            by_v = select(drawn, sums[11] * PER_FALLOFF if absgrad else d_py, zero)
            store_pairs(d_offsets, first, count, (by_u, by_v))
        d_a = -0.5 * sums[2]
        d_s = a * sums[3]
        d_r = -0.5 * sums[5]
        d_cx, d_cy = d_cx + select(drawn, d_px, zero), d_cy + select(drawn, d_py, zero)
        d_opacity = sums[0] / opacity
        # a = cyy/det, s = cxy/cyy, r = 1/cyy
        d_cyy = d_a * per_det - (d_s * s + d_r * r) * per_cyy
        d_cxy = d_s * per_cyy
        d_det = -1.0 * d_a * a * per_det
        d_sharp = d_det
        if antialiased:
            # The compensation √(sharp/det) multiplies the opacity: d log(compensation) = ½(d sharp/sharp − d det/det)
            half = select(sharp > least * least * det, 0.5 * d_opacity * opacity, zero)  # the floor does not move
            d_det = d_det - half * per_det
            d_sharp = d_det + select(sharp > 0.0, half / sharp, zero)
        # det = sharp + eps2d·(n1 + n2) + eps2d²
        d_n1, d_n2 = eps2d * d_det, eps2d * d_det + d_cyy
        d_normal = times(2.0 * d_sharp, normal)
        d_k1 = plus(plus(times(2.0 * d_n1, k1), times(d_cxy, k2)), cross(k2, d_normal))
        d_k2 = plus(plus(times(2.0 * d_n2, k2), times(d_cxy, k1)), cross(d_normal, k1))
        d_scale = (
            fma(d_k1[0], a1[0], d_k2[0] * a2[0]),
            fma(d_k1[1], a1[1], d_k2[1] * a2[1]),
            fma(d_k1[2], a1[2], d_k2[2] * a2[2]),
        )
        d_a1 = (d_k1[0] * scale[0], d_k1[1] * scale[1], d_k1[2] * scale[2])
        d_a2 = (d_k2[0] * scale[0], d_k2[1] * scale[1], d_k2[2] * scale[2])
        d_q0 = plus(times(d_a1[0], w1), times(d_a2[0], w2))
        d_q1 = plus(times(d_a1[1], w1), times(d_a2[1], w2))
        d_q2 = plus(times(d_a1[2], w1), times(d_a2[2], w2))
        d_quat = _rotation_back(quat, per_norm, unit, d_q0, d_q1, d_q2)
        d_w1 = plus(plus(times(d_a1[0], q0), times(d_a1[1], q1)), times(d_a1[2], q2))
        d_w2 = plus(plus(times(d_a2[0], q0), times(d_a2[1], q1)), times(d_a2[2], q2))
        # w1 = fx/z·row0 − jx·row2, jx = clamp(px)/z
        d_jx, d_jy = -1.0 * dot(d_w1, rows[2]), -1.0 * dot(d_w2, rows[2])
        free_x, free_y = (px > limits[0]) & (px < limits[1]), (py > limits[2]) & (py < limits[3])
        d_px = d_px + select(free_x, d_jx * per_z, zero)
        d_py = d_py + select(free_y, d_jy * per_z, zero)
        if limits_move:
            d_cx = d_cx - select(drawn, select(free_x, zero, d_jx * per_z), zero)
            d_cy = d_cy - select(drawn, select(free_y, zero, d_jy * per_z), zero)
        # px = (fx/z)·x
        d_fx_z, d_fy_z = dot(d_w1, rows[0]) + d_px * x, dot(d_w2, rows[1]) + d_py * y
        d_fx, d_fy = d_fx + select(drawn, d_fx_z * per_z, zero), d_fy + select(drawn, d_fy_z * per_z, zero)
        d_z = sums[9]
        d_z = d_z - (d_fx_z * fx + d_fy_z * fy) * per_z * per_z - (d_jx * jx + d_jy * jy) * per_z
        d_center = (
            select(drawn, d_px * fx * per_z, zero),
            select(drawn, d_py * fy * per_z, zero),
            select(drawn, d_z, zero),
        )
        d_row0 = plus(d_row0, plus(_masked(drawn, times(fx * per_z, d_w1)), _masked(drawn, times(d_center[0], mean))))
        d_row1 = plus(d_row1, plus(_masked(drawn, times(fy * per_z, d_w2)), _masked(drawn, times(d_center[1], mean))))
        d_row2 = plus(d_row2, _masked(drawn, times(d_center[2], mean)))
        d_row2 = plus(d_row2, _masked(drawn, plus(times(-1.0 * jx, d_w1), times(-1.0 * jy, d_w2))))
        d_shift = plus(d_shift, d_center)
        d_mean = plus(plus(times(d_center[0], rows[0]), times(d_center[1], rows[1])), times(d_center[2], rows[2]))

        start = image // frame[fr.VIEWS] * n + first
        _three(frame[fr.D_MEANS], start, count, _masked(drawn, d_mean), add)
        _three(frame[fr.D_SCALES], start, count, _masked(drawn, d_scale), add)
        shared = frame[fr.COLOR_VIEWS] == 1
        _three(frame[fr.D_COLORS], color_row(frame, image, first), count, (sums[6], sums[7], sums[8]), add and shared)
        turn = _masked(drawn, (d_quat[0], d_quat[1], d_quat[2]))
        d_quat = (turn[0], turn[1], turn[2], select(drawn, d_quat[3], zero))
        d_opacity = select(drawn, d_opacity, zero)
        if add:
            before = load_fours(frame[fr.D_QUATS], start, count)
            d_quat = (d_quat[0] + before[0], d_quat[1] + before[1], d_quat[2] + before[2], d_quat[3] + before[3])
            d_opacity = d_opacity + load_ones(frame[fr.D_OPACITIES], start, count)[0]
        store_fours(frame[fr.D_QUATS], start, count, d_quat)
        store_ones(frame[fr.D_OPACITIES], start, count, (d_opacity,))
        if frame[fr.EXTRA_CHANNELS] > 0:
            _gather_extra(frame, image, first, count, add)
    matrix_rows = (*d_row0, d_shift[0], *d_row1, d_shift[1], *d_row2, d_shift[2])
    camera = (*matrix_rows, d_fx, d_fy, d_cx, d_cy)
    store(frame[fr.CAMERA_SUMS] + fr.RECORD * (slot * frame[fr.CHUNKS] + chunk), lane_sums(camera))


@compiled
def _masked(mask, value):
    zero = splat(0.0)
    return (select(mask, value[0], zero), select(mask, value[1], zero), select(mask, value[2], zero))
