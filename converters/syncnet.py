"""SyncNet (syncnet_v2.model of syncnet_python) → one safetensors file. Batch norms are folded into their layers."""

import re
from pathlib import Path

import numpy as np

from converters import batch_norms
from converters import checkpoint as checkpoints
from converters.checkpoint import Progress
from converters.errors import CheckpointError
from converters.weights import take
from jax_talker.networks.syncnet import FILE, shapes

EPS = 1e-5  # of PyTorch's batch norms
UNUSED = re.compile(r".+\.num_batches_tracked")
PLACES = (0, 4, 8, 11, 14, 18)  # of the six convolutions in both sequences; each one's batch norm comes next


def sources() -> dict[str, tuple[str, str | None]]:
    """Module of the Flax networks → (layer, batch norm behind it) of the original."""
    out: dict[str, tuple[str, str | None]] = {}
    for ours, theirs in (("lip", "lip"), ("sound", "aud")):
        for k, place in enumerate(PLACES):
            out[f"{ours}{k}"] = (f"netcnn{theirs}.{place}", f"netcnn{theirs}.{place + 1}")
        out[f"{ours}_hidden"] = (f"netfc{theirs}.0", f"netfc{theirs}.1")
        out[f"{ours}_embed"] = (f"netfc{theirs}.3", None)
    return out


def convert(path: str | Path, progress: Progress | None = None) -> dict[str, np.ndarray]:
    """The arrays of ``networks.syncnet.shapes()``.

    Raises CheckpointError for files that are not such checkpoints, and for missing, further, mis-shaped or non-finite
    tensors.
    """
    wanted, names = shapes(), []
    for layer, norm in sources().values():
        names += [f"{layer}.weight", f"{layer}.bias", *(batch_norms.tensors(norm) if norm else ())]
    numbers = take(checkpoints.read(path, progress), names, UNUSED)
    found = {}
    try:
        for place, (layer, norm) in sources().items():
            shape = wanted[f"{place}/kernel"]
            kernel, bias = batch_norms.kernel_of(numbers, layer, shape), numbers[f"{layer}.bias"].astype(np.float64)
            if bias.shape != shape[-1:]:
                raise CheckpointError(f"{layer}.bias has shape {bias.shape}, expected {shape[-1:]}")
            if norm:
                gain, shift = batch_norms.gain_and_shift(numbers, norm, shape[-1], EPS)
                kernel, bias = kernel * gain, bias * gain + shift
            found |= {f"{place}/kernel": kernel, f"{place}/bias": bias}
        return batch_norms.checked(found, wanted)
    except CheckpointError as error:
        raise CheckpointError(error, Path(path)) from None


__all__ = ["FILE", "convert"]
