"""DeepSpeech 0.1.0's frozen graph (deepspeech-0_1_0-b90017e8.pb) → one safetensors file.

Its constants are named after the variables that they were; everything else in the graph (what it computes) is known.
"""

import hashlib
import logging
from pathlib import Path

import numpy as np

from converters import checkpoint as checkpoints
from converters.checkpoint import Checkpoint, Progress
from converters.errors import CheckpointError
from converters.finite import finite
from converters.tensors import Tensor
from converters.weights import write
from jax_talker.networks.deepspeech import DENSE, DIRECTIONS, FILE, shapes, sizes_of

SHA1 = "b90017e816572ddce84f5843f1fa21e6a377975e"  # of the published file
PREFIX = "deepspeech/"  # before all names where the graph was imported once
CELL = "bidirectional_rnn/{}/basic_lstm_cell/{}"
# Path in the network → name in the graph.
PLACES = {
    **{f"{name}/kernel": f"h{name[-1]}" for name in DENSE},
    **{f"{name}/bias": f"b{name[-1]}" for name in DENSE},
    **{
        f"{ours}/{part}": CELL.format(theirs, part)
        for ours, theirs in zip(DIRECTIONS, ("fw", "bw"), strict=True)
        for part in ("kernel", "bias")
    },
}


def convert(path: str | Path, progress: Progress | None = None) -> dict[str, np.ndarray]:
    """The arrays of ``networks.deepspeech.shapes`` for the sizes that the graph has.

    Another file than the published one is said, with both SHA-1. CheckpointError for files that are no such graphs, and
    for missing, mis-shaped or non-finite tensors.
    """
    source = checkpoints.read(path, progress)
    if source.layout != "graph":
        raise CheckpointError("is no TensorFlow graph; deepspeech-0_1_0-b90017e8.pb is expected", source.path)
    with source.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha1").hexdigest()
    if digest != SHA1:
        logging.warning("%s: SHA-1 %s, the published file has %s", source.path, digest, SHA1)
    try:
        return _checked(_constants(source))
    except CheckpointError as error:
        raise CheckpointError(error, source.path) from None


def _constants(source: Checkpoint) -> dict[str, np.ndarray]:
    named: dict[str, Tensor] = {str(name).removeprefix(PREFIX): tensor for name, tensor in source.value.items()}
    if missing := [name for name in PLACES.values() if name not in named]:
        raise CheckpointError(f"has no constant {', '.join(missing[:3])}; is it the graph of another release?")
    return checkpoints.arrays({path: named[name] for path, name in PLACES.items()}, source)


def _checked(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    sizes = sizes_of({path: array.shape for path, array in arrays.items()})
    if sizes is None:
        raise CheckpointError("has kernels that are no matrices; is it another network?")
    for path, shape in shapes(sizes).items():
        if arrays[path].shape != shape:
            raise CheckpointError(
                f"{PLACES[path]} has shape {arrays[path].shape}, {shape} was expected; is it another network?"
            )
        if not finite(arrays[path]).all():
            raise CheckpointError(f"{PLACES[path]} holds numbers that are not finite")
    return {path: np.ascontiguousarray(array, np.float32) for path, array in arrays.items()}


def save(folder: str | Path, arrays: dict[str, np.ndarray], *, overwrite: bool = False) -> Path:
    """Write ``folder``/deepspeech.safetensors, whole or not at all."""
    return write(Path(folder) / FILE, arrays, overwrite=overwrite)
