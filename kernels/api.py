"""The door: ``rasterize``. Conventions and the choice of an implementation; no checks, no rasterising."""

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
