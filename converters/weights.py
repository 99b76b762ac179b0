"""Fixed networks' weights: tensors by name from a state_dict, every one accounted for, into one safetensors file."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import safetensors.numpy

from converters import checkpoint as checkpoints
from converters.checkpoint import Checkpoint
from converters.errors import CheckpointError
from converters.tensors import Tensor
from jax_talker.errors import UserError


def take(source: Checkpoint, names: Iterable[str], unused: re.Pattern[str]) -> dict[str, np.ndarray]:
    """The named tensors. CheckpointError when one is missing, or when there are others but those of ``unused``."""
    stored, names = source.value, set(names)
    if not isinstance(stored, dict):
        raise CheckpointError(f"{source.path}: holds no dictionary of tensors")
    if missing := sorted(name for name in names if not isinstance(stored.get(name), Tensor)):
        raise CheckpointError(f"{source.path}: has no tensor {', '.join(missing[:3])}; is it the right file?")
    if more := sorted(str(n) for n in stored if n not in names and not unused.fullmatch(str(n))):
        raise CheckpointError(f"{source.path}: has tensors that nothing uses: {', '.join(more[:3])}")
    return checkpoints.arrays({name: stored[name] for name in names}, source)


def write(path: Path, arrays: dict[str, np.ndarray], *, overwrite: bool) -> Path:
    """Write a safetensors file, whole or not at all."""
    if path.exists() and not overwrite:
        raise UserError(f"{path}: exists already; remove it, choose another folder or pass --overwrite")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(safetensors.numpy.save(arrays))
    os.replace(partial, path)
    return path
