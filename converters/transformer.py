"""What the converters of speech encoders share: names of an attention's tensors, and how tensors become kernels."""

import re
from typing import NamedTuple

import numpy as np

from converters.checkpoint import Checkpoint
from converters.errors import CheckpointError
from converters.finite import finite
from converters.weights import places
from jax_talker.networks.transformer import MOST_LAYERS

LONGEST_NAME = 200  # characters that are looked at


def attention(stored: str) -> dict[str, str]:
    """Path in networks.transformer.TransformerLayer → name in Hugging Face's, which begin with ``stored``."""
    names = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "out_proj"}
    parts = {"kernel": "weight", "bias": "bias"}
    return {f"attention/{o}/{p}": f"{stored}.{n}.{s}" for o, n in names.items() for p, s in parts.items()}


class Found(NamedTuple):
    """An encoder in a file: how many layers it has, and the names of all tensors that lie beside them."""

    layers: int
    names: set[str]


def find_encoder(source: Checkpoint, own: str, what: str) -> Found:
    """The encoder whose layers have a tensor ``encoder.layers.N.{own}``, wherever ``weights.take`` finds tensors.

    CheckpointError when there is none, when layers are missing, and when there are several of different sizes.
    """
    pattern = re.compile(rf"(?:^|\.)encoder\.layers\.(\d+)\.{re.escape(own)}\Z")
    found: dict[str, set[int]] = {}  # by what stands before
    names: set[str] = set()
    try:
        for where, tensors in places(source):
            # Searched at the end alone: a name may be as long as the file.
            ends = ((where[-LONGEST_NAME:] + name[-LONGEST_NAME:])[-LONGEST_NAME:] for name in tensors)
            matches = [match for end in ends if (match := pattern.search(end))]
            for match in matches:
                found.setdefault(match.string[: match.start()], set()).add(int(match[1][:6]))
            names |= tensors.keys() if matches else set()
        return Found(_count(list(found.values()), what), names)
    except CheckpointError as error:
        raise CheckpointError(error, source.path) from None


def _count(found: list[set[int]], what: str) -> int:
    """How many layers they all have; part of an encoder, as an optimizer may hold it, may lie beside a whole one."""
    if not found:
        raise CheckpointError(f"has no encoder as {what} has it; is it the right file?")
    whole = sorted({n for layers in found if (n := len(layers)) <= MOST_LAYERS and layers == set(range(n))})
    if not whole:
        layers = found[0]
        raise CheckpointError(f"has layers {min(layers)} … {max(layers)}, {len(layers)} in all; {what} has others")
    if len(whole) > 1:
        raise CheckpointError(
            f"holds encoders of {whole[0]} and of {whole[-1]} layers; save the one that is meant on its own"
        )
    return whole[0]


def as_kernels(
    arrays: dict[str, np.ndarray], wanted: dict[str, tuple[int, ...]], source: Checkpoint
) -> dict[str, np.ndarray]:
    """PyTorch's arrays (out, in, width) as JAX uses them (width, in, out), attention's divided into heads.

    CheckpointError unless shapes and numbers are in order. Half precision stays half, all else becomes float32.
    """
    found = {}
    for path, shape in wanted.items():
        array = arrays[path].T if path.endswith("/kernel") else arrays[path]
        flat = _without_heads(path, shape)
        if array.shape != flat:
            raise CheckpointError(
                f"{path} has shape {array.shape}, {flat} was expected; is it another network?", source.path
            )
        if not finite(array).all():
            raise CheckpointError(f"{path} holds numbers that are not finite", source.path)
        found[path] = np.ascontiguousarray(array, np.float16 if array.dtype == np.float16 else np.float32).reshape(
            shape
        )
    return found


def _without_heads(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """As PyTorch has it: heads and their channels are one axis."""
    if "attention/" not in path or len(shape) == 1:
        return shape
    if path.endswith("bias"):
        return (shape[0] * shape[1],)
    return (shape[0] * shape[1], shape[2]) if "/out/" in path else (shape[0], shape[1] * shape[2])
