"""World to screen in plain JAX: EWA splatting (Zwicker et al. 2001, doi:10.1145/383259.383300) as 3DGS does it.

The screen covariance is K·Kᵀ + eps2d·1 with K = J·R·(rotation of the Gaussian)·diag(scale), two rows k1, k2. Its
inverse is used in factors: the exponent at (dx, dy) from the centre is −½(a·(dx − s·dy)² + r·dy²). Neither the
determinant (from the cross product of k1 and k2) nor the exponent then cancels for thin Gaussians, as the usual forms
do in float32.
"""

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


class _Screen(NamedTuple):
    u: Array
    v: Array
    n1: Array  # squared lengths and product of the rows of K
    n2: Array
    cxy: Array
    sharp: Array  # determinant of K·Kᵀ
    det: Array  # of the screen covariance


def quaternion_axes(quat: Float[Array, "*b 4"]) -> Float[Array, "*b 3 3"]:
    """Rotation matrix of a quaternion (w, x, y, z), which is normalised first; its columns are the Gaussian's axes."""
    w, x, y, z = jnp.moveaxis(quat / jnp.sqrt(jnp.sum(quat * quat, -1, keepdims=True)), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2)


def _dot(a: Array, b: Array) -> Array:
    return jnp.sum(a * b, -1)


def _limits(center: Array, size: int, settings: Settings) -> tuple[Array, Array]:
    """Least and greatest focal·x/z that the Jacobian uses; ``center`` is the principal point's coordinate."""
    before = jnp.full_like(center, size / 2) if settings.constants.fov_centred else center
    margin = settings.constants.fov_margin * size / 2
    return -before - margin, size - before + margin


def _screen(
    point: Float[Array, "B V N 3"],
    quat: Float[Array, "B V N 4"],
    scale: Float[Array, "B V N 3"],
    rotation: Float[Array, "B V 3 3"],
    intrinsics: Float[Array, "B V 3 3"],
    settings: Settings,
) -> _Screen:
    x, y, z = point[..., 0], point[..., 1], point[..., 2]
    fx, fy = intrinsics[..., 0, 0, None], intrinsics[..., 1, 1, None]
    cx, cy = intrinsics[..., 0, 2, None], intrinsics[..., 1, 2, None]
    px, py = fx * x / z, fy * y / z
    jx = jnp.clip(px, *_limits(cx, settings.width, settings)) / z
    jy = jnp.clip(py, *_limits(cy, settings.height, settings)) / z
    row0, row1, row2 = (rotation[..., None, i, :] for i in range(3))  # [B, V, 1, 3]
    w1 = (fx / z)[..., None] * row0 - jx[..., None] * row2
    w2 = (fy / z)[..., None] * row1 - jy[..., None] * row2
    axes = quaternion_axes(quat)
    k1 = jnp.sum(w1[..., None] * axes, -2) * scale
    k2 = jnp.sum(w2[..., None] * axes, -2) * scale
    n1, n2, normal = _dot(k1, k1), _dot(k2, k2), jnp.cross(k1, k2)
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
    own = (scene.means, scene.quats, scene.scales, scene.opacities[..., None])
    finite = jnp.all(jnp.stack([jnp.isfinite(leaf).all(-1) for leaf in own]), 0)
    finite = finite[:, None] & jnp.isfinite(scene.colors).all(-1) & camera_ok[..., None]  # [B, V, N]

    def point_of(means: Array) -> Array:
        return jnp.einsum("bvij,bvnj->bvni", pose[..., :3, :3], means, precision="highest") + pose[..., None, :3, 3]

    def screen(keep: Array, means: Array, quats: Array, scales: Array) -> tuple[_Screen, Array]:
        one = jnp.asarray([1, 0, 0, 0], quats.dtype)[None, None, None]
        ahead = jnp.asarray([0, 0, 1], means.dtype)[None, None, None]
        safe_means = jnp.where(keep[..., None], means[:, None], 0)
        point = jnp.where(keep[..., None], point_of(safe_means), ahead)
        quat = jnp.where(keep[..., None], quats[:, None], one)
        scale = jnp.where(keep[..., None], scales[:, None], 1)
        return _screen(point, quat, scale, pose[..., :3, :3], intrinsics, settings), point[..., 2]

    z = lax.stop_gradient(point_of(jnp.where(finite[..., None], scene.means[:, None], 0)))
    finite &= jnp.isfinite(z).all(-1)
    inside = (z[..., 2] >= settings.near) & (z[..., 2] <= settings.far)
    trial, _ = jax.tree.map(lax.stop_gradient, screen(finite & inside, scene.means, scene.quats, scene.scales))
    sane = jnp.all(jnp.stack([jnp.isfinite(number) for number in trial]), 0)
    skipped = jnp.sum(~finite | (inside & ~sane), -1, dtype=jnp.int32)
    visible = finite & inside & sane & (trial.det > 0)

    on_screen, depth = screen(visible, scene.means, scene.quats, scene.scales)
    cxx, cyy, det = on_screen.n1 + settings.eps2d, on_screen.n2 + settings.eps2d, on_screen.det
    safe_det, safe_cyy = jnp.where(visible, det, 1), jnp.where(visible, cyy, 1)
    falloff = jnp.stack([safe_cyy / safe_det, on_screen.cxy / safe_cyy, 1 / safe_cyy], -1)
    opacity = jnp.where(visible, scene.opacities[:, None], 0)
    if settings.antialiased:
        thick = visible & (on_screen.sharp > 0)
        opacity *= jnp.where(thick, jnp.sqrt(jnp.where(thick, on_screen.sharp, 1) / safe_det), 0)
    color = jnp.where(visible[..., None], scene.colors, 0)

    center = jnp.stack([on_screen.u, on_screen.v], -1)
    bounds, radii, drawn = jax.tree.map(lax.stop_gradient, _reach(center, cxx, cyy, det, opacity, visible, settings))
    center = jnp.where(visible[..., None], center, 0)
    return Splats(center, falloff, depth, opacity, color, bounds, drawn, radii, skipped)


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
