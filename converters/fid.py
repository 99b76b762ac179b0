"""FID's Inception (pytorch-fid's pt_inception-2015-12-05-6726825d.pth) → one safetensors file.

Batch norms are folded into the convolutions before them; the classifier of 1008 classes is left out.
"""

import re
from pathlib import Path

import numpy as np

from converters import batch_norms
from converters import checkpoint as checkpoints
from converters.checkpoint import Progress
from converters.errors import CheckpointError
from converters.weights import take
from jax_talker.networks.inception import FILE, shapes

EPS = 1e-3  # of its batch norms
UNUSED = re.compile(r"fc\.(weight|bias)|.+\.num_batches_tracked")


def convert(path: str | Path, progress: Progress | None = None) -> dict[str, np.ndarray]:
    """The arrays of ``networks.inception.shapes()``.

    Raises CheckpointError for files that are not such checkpoints, and for missing, further, mis-shaped or non-finite
    tensors.
    """
    wanted = shapes()
    units = [name.removesuffix("/conv/kernel") for name in wanted if name.endswith("/kernel")]
    names = [n for unit in map(_dotted, units) for n in (f"{unit}.conv.weight", *batch_norms.tensors(f"{unit}.bn"))]
    numbers = take(checkpoints.read(path, progress), names, UNUSED)
    found = {}
    try:
        for unit in units:
            shape = wanted[f"{unit}/conv/kernel"]
            gain, shift = batch_norms.gain_and_shift(numbers, f"{_dotted(unit)}.bn", shape[-1], EPS)
            found[f"{unit}/conv/kernel"] = batch_norms.kernel_of(numbers, f"{_dotted(unit)}.conv", shape) * gain
            found[f"{unit}/conv/bias"] = shift
        return batch_norms.checked(found, wanted)
    except CheckpointError as error:
        raise CheckpointError(error, Path(path)) from None


def _dotted(unit: str) -> str:
    return unit.replace("/", ".")


__all__ = ["FILE", "convert"]
