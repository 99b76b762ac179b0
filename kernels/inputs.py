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

# A pose whose axes span less than this share of the box of their lengths stands nowhere: float32 cannot invert it.
_SINGULAR = 1e-6


def to_scene(
    gaussians: Gaussians,
    camera: Camera,
    background: Array | None,
    offset: Array | None = None,
    extra: Array | None = None,
) -> tuple[Scene, Array]:
    """What implementations take, and which images [B, V] have a background that is finite.

    What cannot be used is made NaN here, in one place, for implementations to skip and count: all of a singular camera,
    and the mean of a Gaussian whose extra channels are not finite.
    """
    batch, views = gaussians.means.shape[:-2], camera.intrinsics.shape[-3]
    given = (gaussians, camera, background, offset, extra)
    dtype = jnp.result_type(jnp.float32, *jax.tree.leaves(given))

    def one_batch_axis(leaf: Array) -> Array:
        return jnp.asarray(leaf, dtype).reshape(math.prod(batch), *leaf.shape[len(batch) :])

    if background is None:
        background = jnp.zeros(3, dtype)
    if background.ndim == 1:
        background = jnp.broadcast_to(background.reshape((1,) * (len(batch) + 1) + (3,)), (*batch, views, 3))
    (means, quats, scales, opacities, rgb, sh), (poses, intrinsics) = jax.tree.map(one_batch_axis, (gaussians, camera))
    scenes, count = means.shape[:2]
    poses = jnp.where(singular(poses)[..., None, None], jnp.nan, poses)
    colors = view_colors(sh, means, poses) if rgb is None else rgb if rgb.ndim == 4 else rgb[:, None]
    channels = jnp.zeros((scenes, count, 0), dtype) if extra is None else one_batch_axis(extra)
    usable = jnp.isfinite(channels).all(-1, keepdims=True)
    means, channels = jnp.where(usable, means, jnp.nan), jnp.where(usable, channels, 0)
    moved = jnp.zeros((scenes, views, 0, 2), dtype) if offset is None else one_batch_axis(offset)
    back = one_batch_axis(background)
    back_ok = jnp.isfinite(back).all(-1)
    back = jnp.where(back_ok[..., None], back, 0)
    scene = Scene(means, quats, scales, opacities, colors, poses, intrinsics, back, moved, channels)
    return vary_alike(scene), back_ok


def singular(cam_from_world: Array) -> Array:
    """Which poses [*b, 4, 4] cannot be inverted, as an all-zero one that pads a batch. NaN is left alone."""
    axes = jax.lax.stop_gradient(cam_from_world)[..., :3, :3]
    lengths = jnp.sqrt(jnp.sum(axes * axes, -1))
    first, second, third = (axes[..., i, :] / jnp.maximum(lengths[..., i, None], 1e-30) for i in range(3))
    volume = jnp.abs(jnp.sum(first * jnp.cross(second, third), -1))
    return jnp.isfinite(cam_from_world).all((-2, -1)) & ~(volume > _SINGULAR)


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
    absgrad: bool = False,
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
    size = int(width), int(height)
    return Settings(*size, float(near), far, eps2d, bool(antialiased), radius_clip, resolved, capacity, bool(absgrad))


def check_shapes(
    gaussians: Gaussians,
    camera: Camera,
    background: Array | None,
    offset: Array | None = None,
    extra: Array | None = None,
    size: tuple[int, int] | None = None,
) -> None:
    """Raise a ValueError that names the first leaf whose shape does not fit. ``size`` is (height, width)."""
    if (gaussians.colors is None) == (gaussians.sh is None):
        raise ValueError("gaussians: give exactly one of colors and sh")
    if gaussians.means.ndim < 2 or gaussians.means.shape[-1] != 3:
        raise ValueError(f"gaussians.means must be [*b, N, 3], got {gaussians.means.shape}")
    *batch, count, _ = gaussians.means.shape
    for name, inner in {"quats": (count, 4), "scales": (count, 3), "opacities": (count,)}.items():
        leaf = getattr(gaussians, name)
        if leaf.shape != (*batch, *inner):
            raise ValueError(f"gaussians.{name} must be {[*batch, *inner]}, as means says, got {leaf.shape}")
    poses, intrinsics = camera.cam_from_world.shape, camera.intrinsics.shape
    if len(poses) != len(batch) + 3 or poses[:-3] != tuple(batch) or poses[-2:] != (4, 4):
        raise ValueError(f"camera.cam_from_world must be {[*batch]} + [V, 4, 4], got {poses}")
    if intrinsics != (*poses[:-2], 3, 3):
        raise ValueError(f"camera.intrinsics must be {[*poses[:-2], 3, 3]}, got {intrinsics}")
    views = poses[-3]
    if gaussians.colors is not None:
        want = [*batch, count, 3], [*batch, views, count, 3]
        if gaussians.colors.shape not in map(tuple, want):
            raise ValueError(f"gaussians.colors must be {want[0]} or {want[1]}, got {gaussians.colors.shape}")
    if gaussians.sh is not None:
        sh = gaussians.sh.shape
        if len(sh) != len(batch) + 3 or sh[:-2] != (*batch, count) or sh[-1] != 3 or sh[-2] not in COEFFICIENTS:
            raise ValueError(f"gaussians.sh must be {[*batch, count]} + [K, 3] with K in {COEFFICIENTS}, got {sh}")
    if background is not None:
        images = [] if size is None else [(*poses[:-2], *size, 3)]
        fits = [(3,), (*poses[:-2], 3), *images]
        if background.shape not in fits:
            told = " or ".join(str(list(shape)) for shape in fits[:2])
            picture = "".join(f"; a picture is {list(shape)}" for shape in images)
            raise ValueError(f"background must be {told}, got {background.shape}{picture}")
    if offset is not None and offset.shape != (*batch, views, count, 2):
        raise ValueError(f"means2d_offset must be {[*batch, views, count, 2]}, got {offset.shape}")
    if extra is not None and (extra.ndim != len(batch) + 2 or extra.shape[:-1] != (*batch, count)):
        raise ValueError(f"extra must be {[*batch, count]} + [E], got {extra.shape}")
