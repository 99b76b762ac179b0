"""The named workloads of the rasteriser, for benches and tests alike."""

import os
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from kernels.types import Camera, Gaussians

# ``shared/scenes/NAME.npz``; they do not travel with the repository.
SCENES = ("head_6k_128", "head_65k_256", "head_350k_512", "garden", "tiny_300")
SHARED = Path(os.environ.get("JAX_TALKER_SHARED", Path(__file__).resolve().parents[2] / "shared"))
_ARRAYS = ("means", "quats", "scales", "opacities", "colors", "viewmat", "K", "width", "height")


class Workload(NamedTuple):
    """Leaves with a batch axis; one view each."""

    name: str
    gaussians: Gaussians
    camera: Camera
    width: int
    height: int


def path_of(name: str) -> Path:
    """A workload's file; what is no name is taken for a path."""
    return SHARED / "scenes" / f"{name}.npz" if name in SCENES else Path(name)


def load(name: str | Path, batch: int = 1) -> Workload:
    """A workload by name, or a scene file (.npz: means, quats, scales, opacities, colors, viewmat, K, width, height),
    ``batch`` times.

    Raises:
      ValueError: the file is not such a scene.
    """
    path = path_of(str(name))
    try:
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in _ARRAYS}
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{path}: not a scene, which has the arrays {', '.join(_ARRAYS)}: {error}") from None

    def repeated(name: str) -> Array:
        leaf = jnp.asarray(arrays[name], jnp.float32)
        return jnp.tile(leaf[None], (batch,) + (1,) * leaf.ndim)

    gaussians = Gaussians(*(repeated(name) for name in _ARRAYS[:5]))
    camera = Camera(repeated("viewmat")[:, None], repeated("K")[:, None])
    return Workload(path.stem, gaussians, camera, int(arrays["width"]), int(arrays["height"]))
