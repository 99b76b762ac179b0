"""What users give, checked, and turned into what implementations take. The only reader of ``rasterize``'s arguments."""

import math

import jax
import jax.numpy as jnp
from jax import Array

from kernels import constants as constant_sets
from kernels.constants import Constants
from kernels.sharding import vary_alike
from kernels.spherical_harmonics import COEFFICIENTS, view_colors
from kernels.types import Camera, Gaussians, Scene, Settings


def to_scene(gaussians: Gaussians, camera: Camera, background: Array | None) -> tuple[Scene, Array]:
    """What implementations take, and which images [B, V] have a background that is finite."""
    batch, views = gaussians.means.shape[:-2], camera.intrinsics.shape[-3]
    dtype = jnp.result_type(jnp.float32, *jax.tree.leaves((gaussians, camera, background)))

    def one_batch_axis(leaf: Array) -> Array:
        return jnp.asarray(leaf, dtype).reshape(math.prod(batch), *leaf.shape[len(batch) :])

    if background is None:
        background = jnp.zeros(3, dtype)
    if background.ndim == 1:
        background = jnp.broadcast_to(background.reshape((1,) * (len(batch) + 1) + (3,)), (*batch, views, 3))
    (means, quats, scales, opacities, rgb, sh), (poses, intrinsics) = jax.tree.map(one_batch_axis, (gaussians, camera))
    colors = rgb[:, None] if sh is None else view_colors(sh, means, poses)
    back = one_batch_axis(background)
    back_ok = jnp.isfinite(back).all(-1)
    back = jnp.where(back_ok[..., None], back, 0)
    return vary_alike(Scene(means, quats, scales, opacities, colors, poses, intrinsics, back)), back_ok


def make_settings(
    width: int,
    height: int,
    near: float | None,
    far: float,
    eps2d: float,
    antialiased: bool,
    radius_clip: float,
    constants: constant_sets.Name | Constants,
    capacity: int | None,
) -> Settings:
    """The checked static arguments of ``rasterize``."""
    resolved = constant_sets.resolve(constants)
    near = resolved.near if near is None else near
    if width < 1 or height < 1:
        raise ValueError(f"width and height must be at least 1, got {width} × {height}")
    if not 0 < near < far:
        raise ValueError(f"need 0 < near < far, got near={near}, far={far}")
    if not (0 <= eps2d < math.inf and 0 <= radius_clip < math.inf):
        raise ValueError(f"eps2d and radius_clip must be finite and not negative, got {eps2d} and {radius_clip}")
    if capacity is not None and capacity < 1:
        raise ValueError(f"capacity must be at least 1, got {capacity}")
    far, eps2d, radius_clip = float(far), float(eps2d), float(radius_clip)
    return Settings(
        int(width), int(height), float(near), far, eps2d, bool(antialiased), radius_clip, resolved, capacity
    )


def check_shapes(gaussians: Gaussians, camera: Camera, background: Array | None) -> None:
    """Raise a ValueError that names the first leaf whose shape does not fit."""
    if (gaussians.colors is None) == (gaussians.sh is None):
        raise ValueError("gaussians: give exactly one of colors and sh")
    if gaussians.means.ndim < 2 or gaussians.means.shape[-1] != 3:
        raise ValueError(f"gaussians.means must be [*b, N, 3], got {gaussians.means.shape}")
    *batch, count, _ = gaussians.means.shape
    want = {"quats": (count, 4), "scales": (count, 3), "opacities": (count,), "colors": (count, 3)}
    for name, inner in want.items():
        leaf = getattr(gaussians, name)
        if leaf is not None and leaf.shape != (*batch, *inner):
            raise ValueError(f"gaussians.{name} must be {[*batch, *inner]}, as means says, got {leaf.shape}")
    if gaussians.sh is not None:
        sh = gaussians.sh.shape
        if len(sh) != len(batch) + 3 or sh[:-2] != (*batch, count) or sh[-1] != 3 or sh[-2] not in COEFFICIENTS:
            raise ValueError(f"gaussians.sh must be {[*batch, count]} + [K, 3] with K in {COEFFICIENTS}, got {sh}")
    poses, intrinsics = camera.cam_from_world.shape, camera.intrinsics.shape
    if len(poses) != len(batch) + 3 or poses[:-3] != tuple(batch) or poses[-2:] != (4, 4):
        raise ValueError(f"camera.cam_from_world must be {[*batch]} + [V, 4, 4], got {poses}")
    if intrinsics != (*poses[:-2], 3, 3):
        raise ValueError(f"camera.intrinsics must be {[*poses[:-2], 3, 3]}, got {intrinsics}")
    if background is not None and background.shape not in ((3,), (*poses[:-2], 3)):
        raise ValueError(f"background must be [3] or {[*poses[:-2], 3]}, got {background.shape}")
