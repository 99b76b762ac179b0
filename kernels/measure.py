"""How much room the lists of ``xla`` and ``pallas_triton`` need, measured on the scenes that are to be drawn."""

import functools
import math
from typing import Any

import jax
import numpy as np
from jax import Array

from kernels.binning import count_pairs, shapes_of
from kernels.capacity import roomy
from kernels.inputs import check_shapes, make_settings, to_scene
from kernels.projection import project
from kernels.types import Camera, Gaussians, Settings


def suggest_capacity(
    gaussians: Gaussians, camera: Camera, *, width: int, height: int, headroom: float = 1.25, **options: Any
) -> int:
    """Measure scenes: room for the fullest image's (tile, Gaussian) pairs and some more, rounded up by an eighth.

    Runs on the host's side of ``jit``. ``options`` are those of ``rasterize`` that decide what is drawn: near, far,
    eps2d, antialiased, radius_clip, constants. More than 2³¹ − 1 pairs count as that many: what comes out is then more
    than any list can hold, and refused by ``rasterize``.
    """
    known = {"near": None, "far": math.inf, "eps2d": 0.3, "antialiased": False, "radius_clip": 0.0, "constants": "3dgs"}
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(f"suggest_capacity: unknown options {unknown}; choose from {sorted(known)}")
    settings = make_settings(width, height, **(known | options), capacity=None)
    check_shapes(gaussians, camera, None)
    if gaussians.means.size == 0:
        return 1
    most = int(np.max(_pairs(gaussians, camera, settings), initial=0))
    return roomy(math.ceil(most * headroom))


@functools.partial(jax.jit, static_argnames="settings")
def _pairs(gaussians: Gaussians, camera: Camera, settings: Settings) -> Array:
    scene, _ = to_scene(gaussians, camera, None)
    return count_pairs(shapes_of(project(scene, settings)), settings)
