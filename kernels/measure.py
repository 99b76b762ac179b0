"""How much room the lists of ``xla`` and ``pallas_triton`` need, measured on the scenes that are to be drawn."""

import functools
import math
from typing import Any

import jax
import numpy as np
from jax import Array

from kernels.binning import count_pairs
from kernels.capacity import power_of_two
from kernels.inputs import check_shapes, make_settings, to_scene
from kernels.projection import project
from kernels.types import Camera, Gaussians, Settings


def suggest_capacity(
    gaussians: Gaussians, camera: Camera, *, width: int, height: int, headroom: float = 1.25, **options: Any
) -> int:
    """Measure scenes: a power of two with room for the fullest image's (tile, Gaussian) pairs, and some more.

    Runs on the host's side of ``jit``. ``options`` are those of ``rasterize`` that decide what is drawn: near, far,
    eps2d, antialiased, radius_clip, constants.
    """
    known = {"near": None, "far": math.inf, "eps2d": 0.3, "antialiased": False, "radius_clip": 0.0, "constants": "3dgs"}
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(f"suggest_capacity: unknown options {unknown}; choose from {sorted(known)}")
    settings = make_settings(width, height, **(known | options), capacity=None)
    check_shapes(gaussians, camera, None)
    most = int(np.max(_pairs(gaussians, camera, settings), initial=0))
    return power_of_two(math.ceil(most * headroom))


@functools.partial(jax.jit, static_argnames="settings")
def _pairs(gaussians: Gaussians, camera: Camera, settings: Settings) -> Array:
    scene, _ = to_scene(gaussians, camera, None)
    return count_pairs(project(scene, settings), settings)
