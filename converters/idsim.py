"""Face recognition weights (CurricularFace, InsightFace_Pytorch, insightface) → one safetensors file each.

Batch norms behind a convolution or a linear layer are folded into it; the last linear layer, which sees channels
before rows in PyTorch, is turned to see them last.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from converters import batch_norms
from converters import checkpoint as checkpoints
from converters.checkpoint import Progress
from converters.errors import CheckpointError
from converters.weights import take
from jax_talker.networks.iresnet import FEATURES, FILES, KINDS, STAGES, shapes

EPS = 1e-5  # of all batch norms, as PyTorch's default and insightface's
UNUSED = re.compile(r".+\.num_batches_tracked")
GRID = 7  # px; the last features' side


class UnitNames(NamedTuple):
    """Modules of one residual unit in the original; None where it has none."""

    norm: str
    conv1: str
    norm1: str | None
    slope: str
    conv2: str
    norm2: str
    shortcut: str
    shortcut_norm: str
    squeeze: str
    excite: str


class Names(NamedTuple):
    """Modules of a whole network."""

    stem: str
    stem_norm: str
    stem_slope: str
    units: list[UnitNames]
    out_norm: str
    linear: str
    linear_bias: bool
    embed_norm: str
    embed_affine: bool


def names_of(net: str) -> Names:
    """What the original calls its modules."""
    units = KINDS[net].units
    if net.startswith("iresnet"):
        made = []
        for stage, count in enumerate(units, 1):
            for k in range(count):
                u = f"layer{stage}.{k}."
                parts = ("bn1", "conv1", "bn2", "prelu", "conv2", "bn3", "downsample.0", "downsample.1", "", "")
                made.append(UnitNames(*(u + part for part in parts)))
        return Names("conv1", "bn1", "prelu", made, "bn2", "fc", True, "features", True)
    made = []
    for k in range(sum(units)):
        u = f"body.{k}."
        parts = [f"res_layer.{i}" for i in range(6)]
        made.append(
            UnitNames(
                *(u + parts[0], u + parts[1], None, u + parts[2], u + parts[3], u + parts[4]),
                *(f"{u}shortcut_layer.0", f"{u}shortcut_layer.1", f"{u}{parts[5]}.fc1", f"{u}{parts[5]}.fc2"),
            )
        )
    affine = net == "irse50"  # CurricularFace's last batch norm only standardises
    stem = ("input_layer.0", "input_layer.1", "input_layer.2")
    return Names(*stem, made, "output_layer.0", "output_layer.3", True, "output_layer.4", affine)


def convert(net: str, path: str | Path, progress: Progress | None = None) -> dict[str, np.ndarray]:
    """The arrays of ``networks.iresnet.shapes(net)``.

    Raises CheckpointError for files that are not such checkpoints, and for missing, further, mis-shaped or non-finite
    tensors.
    """
    wanted, names = shapes(net), names_of(net)
    numbers = take(checkpoints.read(path, progress), list(_tensors(names, wanted, net)), UNUSED)
    try:
        found = _convolution(numbers, names.stem, names.stem_norm, "stem", wanted)
        found["stem_slope/slope"] = _vector(numbers, f"{names.stem_slope}.weight", STAGES[0])
        for place, unit in zip(_places(net), names.units, strict=True):
            found |= _unit(numbers, place, unit, wanted)
        found |= _embedding(numbers, names)
        return batch_norms.checked(found, wanted)
    except CheckpointError as error:
        raise CheckpointError(error, Path(path)) from None


def _places(net: str) -> list[str]:
    return [f"stage{stage}_{k}" for stage, count in enumerate(KINDS[net].units, 1) for k in range(count)]


def _tensors(names: Names, wanted: Mapping[str, tuple[int, ...]], net: str) -> Iterator[str]:
    """Every tensor that is read."""
    yield from (f"{names.stem}.weight", f"{names.stem_slope}.weight", *batch_norms.tensors(names.stem_norm))
    for place, unit in zip(_places(net), names.units, strict=True):
        yield from (f"{part}.weight" for part in (unit.conv1, unit.slope, unit.conv2))
        yield from (t for norm in (unit.norm, unit.norm1, unit.norm2) if norm for t in batch_norms.tensors(norm))
        if f"{place}/shortcut/kernel" in wanted:
            yield from (f"{unit.shortcut}.weight", *batch_norms.tensors(unit.shortcut_norm))
        if f"{place}/squeeze/kernel" in wanted:
            yield from (f"{unit.squeeze}.weight", f"{unit.excite}.weight")
    yield from batch_norms.tensors(names.out_norm)
    yield from (f"{names.linear}.weight", f"{names.linear}.bias")
    yield from batch_norms.tensors(names.embed_norm, affine=names.embed_affine)


def _unit(numbers: Mapping, place: str, unit: UnitNames, wanted: Mapping) -> dict[str, np.ndarray]:
    shape = wanted[f"{place}/conv1/kernel"]
    gain, shift = batch_norms.gain_and_shift(numbers, unit.norm, shape[2], EPS)
    found = {f"{place}/norm/gain": gain, f"{place}/norm/shift": shift}
    found |= _convolution(numbers, unit.conv1, unit.norm1, f"{place}/conv1", wanted)
    found[f"{place}/slope/slope"] = _vector(numbers, f"{unit.slope}.weight", shape[3])
    found |= _convolution(numbers, unit.conv2, unit.norm2, f"{place}/conv2", wanted)
    if f"{place}/shortcut/kernel" in wanted:
        found |= _convolution(numbers, unit.shortcut, unit.shortcut_norm, f"{place}/shortcut", wanted)
    for ours, theirs in (("squeeze", unit.squeeze), ("excite", unit.excite)):
        if shape := wanted.get(f"{place}/{ours}/kernel"):
            found[f"{place}/{ours}/kernel"] = batch_norms.kernel_of(numbers, theirs, (1, 1, *shape))[0, 0]
    return found


def _convolution(numbers: Mapping, conv: str, norm: str | None, place: str, wanted: Mapping) -> dict[str, np.ndarray]:
    shape = wanted[f"{place}/kernel"]
    kernel, width = batch_norms.kernel_of(numbers, conv, shape), shape[-1]
    gain, shift = batch_norms.gain_and_shift(numbers, norm, width, EPS) if norm else (np.ones(width), np.zeros(width))
    return {f"{place}/kernel": kernel * gain, f"{place}/bias": shift}


def _vector(numbers: Mapping, name: str, width: int) -> np.ndarray:
    if numbers[name].shape != (width,):
        raise CheckpointError(f"{name} has shape {numbers[name].shape}, expected ({width},); is it another network?")
    return numbers[name]


def _embedding(numbers: Mapping, names: Names) -> dict[str, np.ndarray]:
    """Norm of the features, linear layer and norm of its outputs are one linear layer."""
    width = STAGES[-1]
    weight = batch_norms.kernel_of(numbers, names.linear, (width * GRID**2, FEATURES))
    by_channel = weight.reshape(width, GRID, GRID, FEATURES)
    gain, shift = batch_norms.gain_and_shift(numbers, names.out_norm, width, EPS)
    bias = _vector(numbers, f"{names.linear}.bias", FEATURES) + np.einsum("c,chwf->f", shift, by_channel)
    kernel = (by_channel * gain[:, None, None, None]).transpose(1, 2, 0, 3).reshape(-1, FEATURES)
    gain, shift = batch_norms.gain_and_shift(numbers, names.embed_norm, FEATURES, EPS)
    return {"embed/kernel": kernel * gain, "embed/bias": bias * gain + shift}


__all__ = ["FILES", "convert"]
