"""From named tensors of a checkpoint to Flax variables: every tensor used once, every leaf filled once."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from flax.traverse_util import unflatten_dict

from converters.errors import CheckpointError
from converters.finite import finite
from jax_talker.priors.base import leaves

LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "same": lambda t: t,
    "dense": lambda t: t.T,  # [out, in] → [in, out]
    "conv": lambda t: t.transpose(2, 3, 1, 0),  # [out, in, kh, kw] → [kh, kw, in, out]
    "conv1x1": lambda t: t[:, :, 0, 0].T,  # [out, in, 1, 1] → [in, out]
    "table": lambda t: t[:, :, 0, t.shape[3] // 2 - 1 : t.shape[3] // 2 + 1],  # the two middle columns
    "image": lambda t: t.transpose(1, 2, 0),  # [channels, height, width] → [height, width, channels]
}
LONGEST_NAME = 80  # in messages
RANK = {"dense": 2, "conv": 4, "conv1x1": 4, "image": 3, "table": 4}


@dataclass(frozen=True)
class Source:
    """Where a leaf comes from: the tensor's name in the checkpoint, and how its axes are laid out there."""

    name: str
    layout: str = "same"


@dataclass(frozen=True)
class Constant:
    """A tensor that holds no information: checked, then dropped. ``value`` None checks the shape alone."""

    shape: tuple[int, ...]
    value: np.ndarray | float | None = None


def assemble(
    shapes: Mapping[str, Any],
    sources: Mapping[str, Source],
    tensors: Mapping[str, np.ndarray],
    *,
    constants: Mapping[str, Constant],
    optional: Iterable[str] = (),
) -> dict[str, Any]:
    """Variables with the structure of ``shapes`` (leaves have ``.shape``), float32.

    ``sources`` names each leaf's tensor by the leaf's path ("params/mapping/fc0/kernel"); ``constants`` are tensors of
    the checkpoint that no leaf takes, those in ``optional`` need not be there. Anything else is a CheckpointError.
    """
    wanted = {path: leaf.shape for path, leaf in leaves(shapes).items()}
    if set(wanted) != set(sources):  # our own table is wrong, not the checkpoint
        raise ValueError(f"name table and network disagree on {sorted(set(wanted) ^ set(sources))}")
    used = {source.name for source in sources.values()} | set(constants)
    if missing := sorted(used - set(tensors) - set(optional)):
        raise CheckpointError(f"{len(missing)} tensors missing: {_few(missing)}")
    if extra := sorted(set(tensors) - used):
        guess = difflib.get_close_matches(extra[0][:LONGEST_NAME], used, 1)
        hint = f"; did the options say otherwise? (close to {guess[0]})" if guess else ""
        raise CheckpointError(f"{len(extra)} tensors that this network does not have: {_few(extra)}{hint}")
    for name, constant in constants.items():
        if name in tensors:
            _check_constant(name, tensors[name], constant)
    filled = {path: _leaf(source, tensors[source.name], wanted[path]) for path, source in sources.items()}
    return unflatten_dict(filled, sep="/")


def _leaf(source: Source, tensor: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    check_values(source.name, tensor)
    rank = RANK.get(source.layout)
    laid_out = LAYOUTS[source.layout](tensor) if rank is None or tensor.ndim == rank else tensor
    same_leading_ones = source.layout == "same" and _strip(tensor.shape) == _strip(shape)
    if laid_out.shape != shape and not same_leading_ones:
        raise CheckpointError(
            f"{source.name}: shape {tensor.shape} does not fit {shape} ({source.layout} layout) of these options"
        )
    return np.array(laid_out, np.float32, order="C").reshape(shape)


def laid_out(layout: str, tensor: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor of the original as its leaf of ``shape`` lies here; as it is where it does not fit."""
    rank = RANK.get(layout)
    turned = LAYOUTS[layout](tensor) if rank is None or tensor.ndim == rank else tensor
    return turned.reshape(shape) if _strip(turned.shape) == _strip(shape) else turned


def check_values(name: str, tensor: np.ndarray) -> None:
    """Refuse tensors that are not finite floating-point numbers."""
    if tensor.dtype.kind != "f":
        raise CheckpointError(f"{name}: has dtype {tensor.dtype}, floating point expected")
    if not (good := finite(tensor)).all():
        raise CheckpointError(f"{name}: {int((~good).sum())} of {tensor.size} values are not finite")


def _check_constant(name: str, tensor: np.ndarray, constant: Constant) -> None:
    if tensor.shape != constant.shape:
        raise CheckpointError(f"{name}: shape {tensor.shape}, expected {constant.shape}")
    if tensor.dtype.kind == "f":
        check_values(name, tensor)
    if constant.value is not None and not np.allclose(tensor, constant.value, rtol=1e-5, atol=1e-6):
        raise CheckpointError(f"{name}: is not the constant that this network is defined with")


def _strip(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without its axes of length 1, which the original keeps for broadcasting."""
    return tuple(n for n in shape if n != 1)


def _few(names: list[str]) -> str:
    return ", ".join(name[:LONGEST_NAME] for name in names[:3]) + (", …" if len(names) > 3 else "")
