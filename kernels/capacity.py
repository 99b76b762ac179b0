"""How much room the lists of ``xla`` and ``pallas_triton`` need: guessed, measured, or grown after a miss."""

import functools
import math
from typing import Any

import jax
import numpy as np
from jax import Array

from kernels.constants import TILE
from kernels.types import Camera, Gaussians, Settings

_SMALL = 1 << 16  # pairs that are cheap enough to have room for anyway


def default_capacity(gaussians: int, width: int, height: int) -> int:
    """Room for eight tiles per Gaussian, which heads and captured scenes stay below at their usual image sizes.

    Never more than every Gaussian in every tile; so small scenes and small images cannot overflow.
    """
    everything = max(gaussians * -(-width // TILE) * -(-height // TILE), 1)
    return min(max(_power_of_two(8 * gaussians), _SMALL), everything)


def suggest_capacity(
    gaussians: Gaussians, camera: Camera, *, width: int, height: int, headroom: float = 1.25, **options: Any
) -> int:
    """Measure scenes: a power of two with room for the fullest image's (tile, Gaussian) pairs, and some more.

    Runs on the host's side of ``jit``. ``options`` are those of ``rasterize`` that decide what is drawn: near, far,
    eps2d, antialiased, radius_clip, constants.
    """
    from kernels.api import check_shapes, make_settings

    known = {"near": None, "far": math.inf, "eps2d": 0.3, "antialiased": False, "radius_clip": 0.0, "constants": "3dgs"}
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(f"suggest_capacity: unknown options {unknown}; choose from {sorted(known)}")
    settings = make_settings(width, height, **(known | options), capacity=None)
    check_shapes(gaussians, camera, None)
    most = int(np.max(_pairs(gaussians, camera, settings), initial=0))
    return _power_of_two(math.ceil(most * headroom))


def grow_capacity(capacity: int, overflow: Array | np.ndarray | int) -> int:
    """The next power of two that would have had room, given a ``Rendered.overflow``; unchanged if nothing was lost."""
    lost = int(np.max(np.asarray(overflow), initial=0))
    return _power_of_two(capacity + lost) if lost else capacity


@functools.partial(jax.jit, static_argnames="settings")
def _pairs(gaussians: Gaussians, camera: Camera, settings: Settings) -> Array:
    from kernels.api import to_scene
    from kernels.binning import count_pairs
    from kernels.projection import project

    scene, _ = to_scene(gaussians, camera, None)
    return count_pairs(project(scene, settings), settings)


def _power_of_two(number: int) -> int:
    return 1 << max(number - 1, 0).bit_length()
