"""World to screen in plain JAX: EWA splatting (Zwicker et al. 2001, doi:10.1145/383259.383300) as 3DGS does it.

The screen covariance is K·Kᵀ + eps2d·1 with K = J·R·(rotation of the Gaussian)·diag(scale), two rows k1, k2. Its
inverse is used in factors: the exponent at (dx, dy) from the centre is −½(a·(dx − s·dy)² + r·dy²). Neither the
determinant (from the cross product of k1 and k2) nor the exponent then cancels for thin Gaussians, as the usual forms
do in float32.
"""

import functools
import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from kernels.constants import ALPHA_MIN, EIGENVALUE_FLOOR, TILE
from kernels.types import Scene, Settings


class Splats(NamedTuple):
    """Gaussians on the screens of B scenes' V cameras. What is not ``drawn`` holds harmless numbers."""

    center: Float[Array, "B V N 2"]  # u, v in pixels
    falloff: Float[Array, "B V N 3"]  # a, s, r, see above
    depth: Float[Array, "B V N"]  # z
    opacity: Float[Array, "B V N"]  # after antialiasing
    color: Float[Array, "B V N 3"]
    bounds: Int[Array, "B V N 4"]  # pixels that can be touched: first column, end column, first row, end row
    drawn: Bool[Array, "B V N"]
    radii: Int[Array, "B V N"]
    skipped: Int[Array, "B V"]
    extra: Float[Array, "B V N E"]
    # With absgrad: zeros whose gradient is Σ over pixels |derivative by the centre|; else [B, V, N, 0]
    pull: Float[Array, "B V N P"]


Vector = tuple[Array, ...]  # three components apart: XLA makes one loop of what is done with them


class _Screen(NamedTuple):
    u: Array
    v: Array
    n1: Array  # squared lengths and product of the rows of K
    n2: Array
    cxy: Array
    sharp: Array  # determinant of K·Kᵀ
    det: Array  # of the screen covariance


def _dot(a: Vector, b: Vector) -> Array:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _cross(a: Vector, b: Vector) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _components(leaf: Array) -> tuple[Array, ...]:
    return tuple(leaf[..., i] for i in range(leaf.shape[-1]))


def quaternion_axes(quat: tuple[Array, ...]) -> tuple[Vector, ...]:
    """The columns of the rotation of a quaternion (w, x, y, z), normalised first: the Gaussian's axes.

    Scaled by its largest component before its length is taken, which would overflow or vanish in float32 otherwise.
    """
    largest = lax.stop_gradient(functools.reduce(jnp.maximum, map(jnp.abs, quat)))
    quat = tuple(q / largest for q in quat)
    norm = jnp.sqrt(sum(q * q for q in quat))
    w, x, y, z = (q / norm for q in quat)
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)),
        (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)),
        (2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)),
    )


def _limits(center: Array, size: int, settings: Settings) -> tuple[Array, Array]:
    """Least and greatest focal·x/z that the Jacobian uses; ``center`` is the principal point's coordinate."""
    before = jnp.full_like(center, size / 2) if settings.constants.fov_centred else center
    margin = settings.constants.fov_margin * size / 2
    return -before - margin, size - before + margin


def _screen(
    point: Vector,
    quat: tuple[Array, ...],
    scale: Vector,
    rows: tuple[Vector, ...],
    intrinsics: Float[Array, "B V 3 3"],
    settings: Settings,
) -> _Screen:
    x, y, z = point
    fx, fy = intrinsics[..., 0, 0, None], intrinsics[..., 1, 1, None]
    cx, cy = intrinsics[..., 0, 2, None], intrinsics[..., 1, 2, None]
    px, py = fx * x / z, fy * y / z
    jx = jnp.clip(px, *_limits(cx, settings.width, settings)) / z
    jy = jnp.clip(py, *_limits(cy, settings.height, settings)) / z
    # Rows of J·R: how the screen moves with the world
    w1 = tuple(fx / z * a - jx * b for a, b in zip(rows[0], rows[2], strict=True))
    w2 = tuple(fy / z * a - jy * b for a, b in zip(rows[1], rows[2], strict=True))
    axes = quaternion_axes(quat)
    k1 = tuple(_dot(w1, axis) * size for axis, size in zip(axes, scale, strict=True))
    k2 = tuple(_dot(w2, axis) * size for axis, size in zip(axes, scale, strict=True))
    n1, n2, normal = _dot(k1, k1), _dot(k2, k2), _cross(k1, k2)
    sharp = _dot(normal, normal)
    det = sharp + settings.eps2d * (n1 + n2) + settings.eps2d**2
    return _Screen(px + cx, py + cy, n1, n2, _dot(k1, k2), sharp, det)


def project(scene: Scene, settings: Settings) -> Splats:
    """Where the Gaussians are on the cameras' screens, and which of them can be seen.

    First it is decided, without gradients, what can be drawn; whatever cannot is replaced by harmless numbers before
    anything is differentiated, so that no NaN or infinity reaches a gradient.
    """
    camera_ok = jnp.isfinite(scene.cam_from_world).all((-2, -1)) & jnp.isfinite(scene.intrinsics).all((-2, -1))
    identity = jnp.eye(4, dtype=scene.means.dtype)
    pose = jnp.where(camera_ok[..., None, None], scene.cam_from_world, identity[None, None])
    intrinsics = jnp.where(camera_ok[..., None, None], scene.intrinsics, identity[None, None, :3, :3])
    rows = tuple(tuple(pose[..., i, j, None] for j in range(3)) for i in range(3))  # [B, V, 1] each
    shift = tuple(pose[..., i, 3, None] for i in range(3))
    # [B, 1, N] each, and the colours [B, 1 or V, N]
    means, quats, scales = (_components(leaf[:, None]) for leaf in (scene.means, scene.quats, scene.scales))
    opacities, colors = scene.opacities[:, None], _components(scene.colors)
    finite = functools.reduce(operator.and_, map(jnp.isfinite, (*means, *quats, *scales, opacities)))
    finite = finite & functools.reduce(operator.and_, map(jnp.isfinite, colors)) & camera_ok[..., None]  # [B, V, N]
    if scene.offset.shape[2]:
        finite &= jnp.isfinite(scene.offset).all(-1)

    def point_of(keep: Array) -> Vector:
        safe = tuple(jnp.where(keep, mean, 0) for mean in means)
        return tuple(_dot(row, safe) + moved for row, moved in zip(rows, shift, strict=True))

    def screen(keep: Array) -> tuple[_Screen, Array]:
        """Of what is to be kept; the rest is a ball of radius 1 in front of the camera."""
        x, y, z = point_of(keep)
        point = (jnp.where(keep, x, 0), jnp.where(keep, y, 0), jnp.where(keep, z, 1))
        quat = tuple(jnp.where(keep, q, one) for q, one in zip(quats, (1, 0, 0, 0), strict=True))
        scale = tuple(jnp.where(keep, size, 1) for size in scales)
        return _screen(point, quat, scale, rows, intrinsics, settings), point[2]

    here = jax.tree.map(lax.stop_gradient, point_of(finite))
    finite &= functools.reduce(operator.and_, map(jnp.isfinite, here))
    inside = (here[2] >= settings.near) & (here[2] <= settings.far)
    trial, _ = jax.tree.map(lax.stop_gradient, screen(finite & inside))
    sane = functools.reduce(operator.and_, map(jnp.isfinite, trial))
    skipped = jnp.sum(~finite | (inside & ~sane), -1, dtype=jnp.int32)
    visible = finite & inside & sane & (trial.det > 0)

    on_screen, depth = screen(visible)
    cxx, cyy, det = on_screen.n1 + settings.eps2d, on_screen.n2 + settings.eps2d, on_screen.det
    safe_det, safe_cyy = jnp.where(visible, det, 1), jnp.where(visible, cyy, 1)
    falloff = jnp.stack([safe_cyy / safe_det, on_screen.cxy / safe_cyy, 1 / safe_cyy], -1)
    opacity = jnp.where(visible, opacities, 0)
    if settings.antialiased:
        least = settings.constants.compensation_min
        thick = visible & (on_screen.sharp > least * least * safe_det)
        opacity *= jnp.where(thick, jnp.sqrt(jnp.where(thick, on_screen.sharp, 1) / safe_det), least)
    color = jnp.where(visible[..., None], scene.colors, 0)
    center = jnp.stack([on_screen.u, on_screen.v], -1)
    pull = jnp.zeros((*center.shape[:-1], 0), center.dtype)
    if scene.offset.shape[2]:
        moved = jnp.where(visible[..., None], scene.offset, 0)
        if settings.absgrad:
            pull, moved = moved - lax.stop_gradient(moved), lax.stop_gradient(moved)
        center += moved
    reach = _reach(center, cxx, cyy, det, opacity, visible, settings)
    bounds, radii, drawn = jax.tree.map(lax.stop_gradient, reach)
    center = jnp.where(visible[..., None], center, 0)
    extra = jnp.where(visible[..., None], scene.extra[:, None], 0)
    return Splats(center, falloff, depth, opacity, color, bounds, drawn, radii, skipped, extra, pull)


def _reach(
    center: Array, cxx: Array, cyy: Array, det: Array, opacity: Array, visible: Array, settings: Settings
) -> tuple[Array, Array, Array]:
    """(bounds, radii, drawn) of ``Splats``."""
    constants = settings.constants
    above = jnp.log(jnp.maximum(opacity, 1e-30)) - jnp.log(ALPHA_MIN)
    drawn = visible & (above >= 0)
    reach = jnp.sqrt(2 * jnp.maximum(above, 0))  # standard deviations to where alpha is ALPHA_MIN
    sigmas = jnp.full_like(reach, constants.radius_sigmas)
    if constants.opacity_aware:
        sigmas = jnp.minimum(sigmas, reach)
        visible &= drawn
    middle = (cxx + cyy) / 2
    radius = jnp.ceil(sigmas * jnp.sqrt(middle + jnp.sqrt(jnp.maximum(middle * middle - det, EIGENVALUE_FLOOR))))
    size = jnp.asarray([settings.width, settings.height], center.dtype)[None, None, None]
    tiles = jnp.ceil(size / TILE)
    at = center - 0.5  # the original's pixel coordinates: integers at the pixels' centres
    first_tile = jnp.clip(jnp.floor((at - radius[..., None]) / TILE), 0, tiles)
    end_tile = jnp.clip(jnp.floor((at + radius[..., None] + TILE - 1) / TILE), 0, tiles)
    visible &= (radius > settings.radius_clip) & (end_tile > first_tile).all(-1)
    # 0.002 pixels are more than rounding can be wrong by; the alpha test has the last word.
    half = reach[..., None] * jnp.sqrt(jnp.stack([cxx, cyy], -1)) + 0.002
    first, end = jnp.clip(jnp.ceil(at - half), 0, size), jnp.clip(jnp.floor(at + half) + 1, 0, size)
    if constants.tile_cutoff:
        first, end = jnp.maximum(first, first_tile * TILE), jnp.minimum(end, end_tile * TILE)
    drawn &= visible & (end > first).all(-1)
    bounds = jnp.stack([first[..., 0], end[..., 0], first[..., 1], end[..., 1]], -1)
    radii = jnp.where(visible, jnp.minimum(radius, 2.0**30), 0).astype(jnp.int32)
    return jnp.where(drawn[..., None], bounds, 0).astype(jnp.int32), radii, drawn
