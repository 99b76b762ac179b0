"""LPIPS weights: torchvision's backbone and the package's linear heads → one safetensors file.

Kernels are stored as JAX convolves (height, width, in, out); what the comparison does not use (the classifier) is
named here and left out.
"""

import re
from pathlib import Path

import numpy as np

from converters import checkpoint as checkpoints
from converters.checkpoint import Checkpoint, Progress
from converters.errors import CheckpointError
from converters.weights import take, write
from jax_talker.errors import UserError
from jax_talker.networks.lpips import NETWORKS, shapes

FILE = "lpips.safetensors"
# Where torchvision's ``features`` has its convolutions, between ReLUs and pools.
PLACES = {"alex": (0, 3, 6, 8, 10), "vgg": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)}
UNUSED = re.compile(r"classifier\.\d+\.(weight|bias)")


def convert(
    net: str, backbone: str | Path, linear: str | Path, progress: Progress | None = None
) -> dict[str, np.ndarray]:
    """The arrays of ``networks.lpips.shapes(net)`` from torchvision's ``.pth`` and LPIPS' ``weights/v0.1/{net}.pth``.

    Raises CheckpointError for files that are not such checkpoints, and for missing, further, mis-shaped or non-finite
    tensors.
    """
    if net not in NETWORKS:
        raise UserError(f"LPIPS network {net!r}: choose from {', '.join(NETWORKS)}")
    names = {}
    for k, place in enumerate(PLACES[net]):
        names[f"features.{place}.weight"] = f"conv{k}/kernel"
        names[f"features.{place}.bias"] = f"conv{k}/bias"
    found = _take(checkpoints.read(backbone, progress), names)
    heads = {f"lin{t}.model.1.weight": f"linear{t}" for t in range(sum(conv.tap for conv in NETWORKS[net]))}
    found |= _take(checkpoints.read(linear, progress), heads)
    for name, shape in shapes(net).items():
        array = found[name]
        array = array.transpose(2, 3, 1, 0) if array.ndim == 4 and name.endswith("kernel") else array
        if name.startswith("linear") and array.ndim == 4 and array.shape[0] == array.shape[2] == array.shape[3] == 1:
            array = array.reshape(-1)  # a 1 × 1 convolution to one channel
        if array.shape != shape:
            raise CheckpointError(
                f"{name} has shape {array.shape}, LPIPS with {net} has {shape}; is it another network?"
            )
        if not np.isfinite(array).all():
            raise CheckpointError(f"{name} holds numbers that are not finite")
        found[name] = np.ascontiguousarray(array, np.float32)
    return found


def _take(source: Checkpoint, names: dict[str, str]) -> dict[str, np.ndarray]:
    """The tensors under the names that they have here."""
    return {names[name]: array for name, array in take(source, names, UNUSED).items()}


def save(folder: str | Path, arrays: dict[str, np.ndarray], *, overwrite: bool = False) -> Path:
    """Write ``folder``/lpips.safetensors, whole or not at all."""
    return write(Path(folder) / FILE, arrays, overwrite=overwrite)
