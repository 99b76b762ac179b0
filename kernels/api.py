"""The door: ``rasterize``. Conventions and the choice of an implementation; no checks, no rasterising."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from kernels import constants as constant_sets
from kernels.constants import EPS2D, Constants
from kernels.dispatch import run
from kernels.inputs import check_shapes, make_settings, to_scene
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
PLATFORMS: dict[str, tuple[str, ...]] = {"numba": ("cpu",), "pallas_triton": ("cuda",)}  # the others run anywhere
# Tried in turn where nothing is asked for. pallas_triton has never run on a card (docs/kernels.md): by name only.
DEFAULT_ON: dict[str, tuple[Implementation, ...]] = {"cpu": ("numba", "xla")}
DEFAULT: tuple[Implementation, ...] = ("xla",)  # elsewhere


def rasterize(
    gaussians: Gaussians,
    camera: Camera,
    *,
    width: int,
    height: int,
    background: Float[Array, "*image 3"] | None = None,
    extra: Float[Array, "*b N E"] | None = None,
    means2d_offset: Float[Array, "*b V N 2"] | None = None,
    absgrad: bool = False,
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
      background: what is behind everything: [3], [*b, V, 3], or an image [*b, V, H, W, 3]; black if None.
      extra: further channels of each Gaussian, blended in the same walk as colours, over 0: ``Rendered.extra``.
      means2d_offset: added to the Gaussians' centres on the screen, pixels. Give zeros: their gradient is the
        derivative of the loss by each centre in each view, which density control is steered by (3DGS, section 5.2).
      absgrad: that gradient is summed as absolute values of each pixel's share (AbsGS, arXiv:2404.10484), which do not
        cancel. No other gradient changes.
      implementation: one name, or names to try in turn until one does not refuse. One name never falls back. None:
        ``numba`` on a CPU, and ``xla`` where that refuses; ``xla`` elsewhere. Where a program runs is decided when it
        is lowered, not when it is traced.
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
    that is not finite, or that cannot be inverted, skips all its Gaussians; a background (for an image: a pixel of it)
    that is not finite is taken as black and counts as one.

    Raises:
      ValueError: arguments that do not fit together.
      Unsupported: what was asked for cannot run here (an ExceptionGroup of them if several names were given).
    """
    settings = make_settings(width, height, near, far, eps2d, antialiased, radius_clip, constants, capacity, absgrad)
    if depth not in ("accumulated", "expected"):
        raise ValueError(f"depth: must be 'accumulated' or 'expected', got {depth!r}")
    check_shapes(gaussians, camera, background, means2d_offset, extra, (height, width))
    order = (implementation,) if isinstance(implementation, str) else implementation and tuple(implementation)
    if implementation is not None and (not order or any(name not in IMPLEMENTATIONS for name in order)):
        raise ValueError(
            f"rasterize: cannot use implementation {implementation!r}; choose from {sorted(IMPLEMENTATIONS)}"
        )
    arrays = gaussians, camera, background, means2d_offset, extra
    return _rasterize(arrays, settings=settings, order=order, depth=depth)


_Given = tuple[Gaussians, Camera, Array | None, Array | None, Array | None]


@functools.partial(jax.jit, static_argnames=("settings", "order", "depth"))
def _rasterize(given: _Given, *, settings: Settings, order: tuple[str, ...] | None, depth: Depth) -> Rendered:
    gaussians, camera, background, offset, extra = given
    batch = gaussians.means.shape[:-2]
    is_image = background is not None and background.ndim == len(batch) + 4
    scene, back_ok = to_scene(gaussians, camera, None if is_image else background, offset, extra)
    out = _by_platform(scene, settings, order)
    if depth == "expected":
        covered = out.alpha > 0
        out = out._replace(depth=jnp.where(covered, out.depth / jnp.where(covered, out.alpha, 1), 0))
    out = out._replace(skipped=out.skipped + ~back_ok)
    if is_image and background is not None:
        # What is left of a ray is 1 − alpha: nothing inside the implementations needs to know of the picture.
        back = background.reshape(out.image.shape).astype(out.image.dtype)
        ok = jnp.isfinite(back).all(-1, keepdims=True)
        image = out.image + (1 - out.alpha[..., None]) * jnp.where(ok, back, 0)
        out = out._replace(image=image, skipped=out.skipped + jnp.sum(~ok, (2, 3, 4), dtype=jnp.int32))
    rendered = Rendered(*(leaf.reshape(*batch, *leaf.shape[1:]) for leaf in out))
    return rendered if extra is not None else rendered._replace(extra=None)


def _by_platform(scene: Scene, settings: Settings, order: tuple[str, ...] | None) -> Composited:
    """The first of ``order`` that does not refuse, on each platform that the program may be lowered for."""

    def of(names: tuple[str, ...]) -> Callable[[Scene], Composited]:
        return lambda scene: run("rasterize", IMPLEMENTATIONS, names, scene, settings)

    if order is not None and len(order) == 1:
        return of(order)(scene)  # which refuses by itself where it cannot run

    def on(platform: str) -> tuple[str, ...]:
        if order is None:
            return DEFAULT_ON.get(platform, DEFAULT)
        # Where none can run, the first one says why.
        return tuple(name for name in order if platform in PLATFORMS.get(name, (platform,))) or order[:1]

    special = {platform: on(platform) for platform in ("cpu", "cuda") if on(platform) != on("other")}
    if not special:
        return of(on("other"))(scene)
    return lax.platform_dependent(
        scene, default=of(on("other")), **{platform: of(names) for platform, names in special.items()}
    )
