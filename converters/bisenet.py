"""BiSeNet's face parsing weights (79999_iter.pth of face-parsing.PyTorch) → one safetensors file.

Every batch norm is folded into the convolution before it, in float64; kernels are stored as JAX convolves (height,
width, in, out). What inference does not use is named here and left out.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from converters import batch_norms
from converters import checkpoint as checkpoints
from converters.checkpoint import Progress
from converters.errors import CheckpointError
from converters.finite import finite
from converters.weights import take, write
from jax_talker.networks.bisenet import FILE, STAGES, shapes

EPS = 1e-5  # of PyTorch's batch norms
# Two heads that guide training, and how often each batch norm was updated.
UNUSED = re.compile(r"conv_out(16|32)\..+|.+\.num_batches_tracked")


class Source(NamedTuple):
    """Where a convolution's numbers lie in the checkpoint."""

    conv: str
    norm: str | None  # the batch norm behind it; without one the convolution has no bias either


def sources() -> dict[str, Source]:
    """Path in the Flax network → modules of the original."""
    return dict(_sources())


def _sources() -> Iterator[tuple[str, Source]]:
    yield "resnet/stem", Source("cp.resnet.conv1", "cp.resnet.bn1")
    for i, (_, stride) in enumerate(STAGES, 1):
        for j in range(2):
            block = f"cp.resnet.layer{i}.{j}"
            yield f"resnet/layer{i}_{j}/conv1", Source(f"{block}.conv1", f"{block}.bn1")
            yield f"resnet/layer{i}_{j}/conv2", Source(f"{block}.conv2", f"{block}.bn2")
            if j == 0 and stride != 1:
                yield f"resnet/layer{i}_{j}/shortcut", Source(f"{block}.downsample.0", f"{block}.downsample.1")
    for arm in ("arm16", "arm32"):
        yield f"{arm}/conv", Source(f"cp.{arm}.conv.conv", f"cp.{arm}.conv.bn")
        yield f"{arm}/attention", Source(f"cp.{arm}.conv_atten", f"cp.{arm}.bn_atten")
    modules = {"head16": "cp.conv_head16", "head32": "cp.conv_head32", "average": "cp.conv_avg"}
    for path, module in (modules | {"fusion/conv": "ffm.convblk", "out": "conv_out.conv"}).items():
        yield path, Source(f"{module}.conv", f"{module}.bn")
    yield "fusion/squeeze", Source("ffm.conv1", None)
    yield "fusion/excite", Source("ffm.conv2", None)
    yield "classes", Source("conv_out.conv_out", None)


def convert(path: str | Path, progress: Progress | None = None) -> dict[str, np.ndarray]:
    """The arrays of ``networks.bisenet.shapes()`` from ``79999_iter.pth``, zip or legacy layout.

    Raises CheckpointError for files that are not such checkpoints, and for missing, further, mis-shaped or non-finite
    tensors.
    """
    names = [name for source in sources().values() for name in _tensors(source)]
    numbers = take(checkpoints.read(path, progress), names, UNUSED)
    wanted, found = shapes(), {}
    for place, source in sources().items():
        for name, array in _folded(place, source, numbers, wanted[f"{place}/kernel"]).items():
            if not finite(array).all():
                raise CheckpointError(
                    f"{source.conv} (with its batch norm) holds numbers that are not finite", Path(path)
                )
            found[name] = np.ascontiguousarray(array, np.float32)
    return found


def save(folder: str | Path, arrays: dict[str, np.ndarray], *, overwrite: bool = False) -> Path:
    """Write ``folder``/bisenet.safetensors, whole or not at all."""
    return write(Path(folder) / FILE, arrays, overwrite=overwrite)


def _tensors(source: Source) -> list[str]:
    return [f"{source.conv}.weight", *(batch_norms.tensors(source.norm) if source.norm else ())]


def _folded(
    place: str, source: Source, numbers: dict[str, np.ndarray], shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """One convolution's kernel (and bias) with its batch norm multiplied in."""
    kernel = batch_norms.kernel_of(numbers, source.conv, shape)
    if source.norm is None:
        return {f"{place}/kernel": kernel}
    gain, shift = batch_norms.gain_and_shift(numbers, source.norm, shape[3], EPS)
    return {f"{place}/kernel": kernel * gain, f"{place}/bias": shift}
