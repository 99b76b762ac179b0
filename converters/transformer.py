"""What the converters of speech encoders share: names of an attention's tensors, and how tensors become kernels."""

import re

import numpy as np

from converters.checkpoint import Checkpoint
from converters.errors import CheckpointError
from jax_talker.networks.transformer import MOST_LAYERS


def attention(stored: str) -> dict[str, str]:
    """Path in networks.transformer.TransformerLayer → name in Hugging Face's, which begin with ``stored``."""
    names = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "out_proj"}
    parts = {"kernel": "weight", "bias": "bias"}
    return {f"attention/{o}/{p}": f"{stored}.{n}.{s}" for o, n in names.items() for p, s in parts.items()}


def count_layers(source: Checkpoint, pattern: str, what: str) -> int:
    """How many layers a file's names speak of; ``pattern`` matches a name of each, its group is the number."""
    names = source.value if isinstance(source.value, dict) else {}
    found = {int(match[1][:6]) for name in names if (match := re.fullmatch(pattern, str(name)[:200]))}
    if not found:
        raise CheckpointError(f"has no encoder as {what} has it; is it the right file?", source.path)
    if found != set(range(len(found))) or len(found) > MOST_LAYERS:
        raise CheckpointError(
            f"has layers {min(found)} … {max(found)}, {len(found)} in all; {what} has others", source.path
        )
    return len(found)


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
        if not np.isfinite(array).all():
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
