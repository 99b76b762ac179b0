"""The door: ``rasterize``. Checks, conventions and the choice of an implementation; no rasterising."""

import functools
import math
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kernels import constants as constant_sets
from kernels.constants import EPS2D, Constants
from kernels.dispatch import platform, run
from kernels.sharding import vary_alike
from kernels.spherical_harmonics import COEFFICIENTS, view_colors
from kernels.types import Camera, Composited, Gaussians, Rendered, Scene, Settings

Implementation = Literal["reference", "xla", "numba", "pallas_triton"]
Depth = Literal["accumulated", "expected"]


def _reference(scene: Scene, settings: Settings) -> Composited:
    from kernels import reference

    return reference.rasterize(scene, settings)


def _numba(scene: Scene, settings: Settings) -> Composited:
    from kernels import numba_cpu

    return numba_cpu.rasterize(scene, settings)


def _xla(scene: Scene, settings: Settings) -> Composited:
    from kernels import xla

    return xla.rasterize(scene, settings)


def _pallas_triton(scene: Scene, settings: Settings) -> Composited:
    from kernels import pallas_triton

    return pallas_triton.rasterize(scene, settings)


# Imported when first used: a machine without a GPU needs no Triton, one with a GPU no Numba.
IMPLEMENTATIONS = {"reference": _reference, "xla": _xla, "numba": _numba, "pallas_triton": _pallas_triton}
DEFAULTS: dict[str, Implementation] = {"cpu": "numba", "gpu": "pallas_triton"}  # elsewhere: xla


def rasterize(
    gaussians: Gaussians,
    camera: Camera,
    *,
    width: int,
    height: int,
    background: Float[Array, "*image 3"] | None = None,
    implementation: Implementation | Sequence[Implementation] | None = None,
    near: float | None = None,
    far: float = math.inf,
    eps2d: float = EPS2D,
    antialiased: bool = False,
    radius_clip: float = 0.0,
    depth: Depth = "accumulated",
    constants: constant_sets.Name | Constants = constant_sets.DEFAULT,
    capacity: int | None = None,
) -> Rendered:
    """Render 3D Gaussians from V cameras per scene; differentiable in every array, the camera included.

    Shapes, units and frames are those of ``Gaussians``, ``Camera`` and ``Rendered``. Pixel (column i, row j) is sampled
    at its centre (i + 0.5, j + 0.5). Gaussians are blended near to far by the depth z of their centres, equal depths in
    the order given. Works under ``jit``, ``grad``, ``vmap``, ``scan`` and ``shard_map``; everything but the arrays is
    static.

    Args:
      gaussians, camera: float32 (16-bit types are converted), or float64 for ``reference``. All leaves have the same
        batch axes ``*b``.
      width, height: of the image, pixels.
      background: what is behind everything: [3], or [*b, V, 3]; black if None.
      implementation: one name, or names to try in turn until one does not refuse. One name never falls back. None:
        ``numba`` on a CPU, ``pallas_triton`` on a GPU, ``xla`` elsewhere.
      near, far: Gaussians whose centre has z < near or z > far are not drawn, world units. None: ``constants.near``.
      eps2d: added to the diagonal of the screen covariance, px²: the low-pass filter of 3DGS.
      antialiased: keep each Gaussian's integral although eps2d blurs it: opacity · √(det before / det after)
        (Mip-Splatting, arXiv:2311.16493).
      radius_clip: Gaussians of this radius (pixels) or less are not drawn.
      depth: "accumulated" is Σ weight · z, "expected" is that over alpha, and 0 where alpha is 0.
      constants: "3dgs" (what pretrained Gaussian GANs were trained with), "gsplat", "gsplat-1.5", or a ``Constants`` of
        one's own.
      capacity: how many (tile, Gaussian) pairs of one image ``xla`` and ``pallas_triton`` have room for;
        ``suggest_capacity`` measures a scene. None: ``default_capacity`` of the sizes. What finds no place is left out
        and counted in ``overflow``. The other implementations need none.

    Gaussians with a number that is not finite are left out, counted in ``skipped``, and have zero gradients. A camera
    that is not finite skips all its Gaussians; a background that is not finite is taken as black and counts as one.

    Raises:
      ValueError: arguments that do not fit together.
      Unsupported: what was asked for cannot run here (an ExceptionGroup of them if several names were given).
    """
    settings = make_settings(width, height, near, far, eps2d, antialiased, radius_clip, constants, capacity)
    if depth not in ("accumulated", "expected"):
        raise ValueError(f"depth: must be 'accumulated' or 'expected', got {depth!r}")
    check_shapes(gaussians, camera, background)
    if implementation is None:
        implementation = DEFAULTS.get(platform(), "xla")
    order = (implementation,) if isinstance(implementation, str) else tuple(implementation)
    return _rasterize(gaussians, camera, background, settings=settings, order=order, depth=depth)


@functools.partial(jax.jit, static_argnames=("settings", "order", "depth"))
def _rasterize(
    gaussians: Gaussians,
    camera: Camera,
    background: Array | None,
    *,
    settings: Settings,
    order: tuple[str, ...],
    depth: Depth,
) -> Rendered:
    scene, back_ok = to_scene(gaussians, camera, background)
    out: Composited = run("rasterize", IMPLEMENTATIONS, order, scene, settings)
    if depth == "expected":
        covered = out.alpha > 0
        out = out._replace(depth=jnp.where(covered, out.depth / jnp.where(covered, out.alpha, 1), 0))
    out = out._replace(skipped=out.skipped + ~back_ok)
    batch = gaussians.means.shape[:-2]
    return Rendered(*(leaf.reshape(*batch, *leaf.shape[1:]) for leaf in out))


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
