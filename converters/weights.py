"""Fixed networks' weights: tensors by name out of whatever they lie in, every one accounted for, into one file."""

import logging
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from converters import checkpoint as checkpoints
from converters.budget import Budget
from converters.checkpoint import Checkpoint
from converters.errors import CheckpointError
from converters.tensors import Tensor, as_tensor
from jax_talker.errors import UserError


def take(source: Checkpoint, names: Iterable[str], unused: re.Pattern[str]) -> dict[str, np.ndarray]:
    """The named tensors. CheckpointError when one is missing, or when there are others but those of ``unused``.

    They may lie in dictionaries (``state_dict``, ``model``, …) or modules, and all names may begin with the same text
    (``module.`` of DataParallel); what lies beside them, an optimizer or another network, is left alone.
    """
    names = list(names)
    try:
        found = list(_candidates(source.value, names, source.budget))
        where, tensors = _choose(found, names)
        if missing := sorted(name for name in names if name not in tensors):
            raise CheckpointError(f"has no tensor {', '.join(missing[:3])}; is it the right file?")
        if more := sorted(set(tensors) - set(names)):
            more = [name for name in more if not unused.fullmatch(name)]
            if more:
                raise CheckpointError(f"has tensors that nothing uses: {', '.join(more[:3])}")
        if where:
            logging.info("%s: the network lies in %s", source.path, where)
        return checkpoints.arrays({name: tensors[name] for name in names}, source)
    except CheckpointError as error:
        raise CheckpointError(error, source.path) from None


def _candidates(root: Any, names: list[str], budget: Budget) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """(where, tensors by their names without what all begin with) of every place that has any of the names."""
    waiting: list[tuple[str, Any, int]] = [("", root, 0)]
    seen: set[int] = set()
    while waiting:
        where, value, depth = waiting.pop()
        if id(value) in seen or depth > checkpoints.MAX_DEPTH:
            continue
        seen.add(id(value))
        if checkpoints.is_module(value):
            value = checkpoints.state(value, budget)
        if not isinstance(value, dict):
            continue
        budget.spend("values", len(value))
        budget.spend("characters of names", len(where) * len(value))
        tensors = {str(key): tensor for key, item in value.items() if (tensor := as_tensor(item)) is not None}
        budget.spend("characters of names", sum(map(len, tensors)))
        for prefix in _prefixes(tensors, names):
            inside = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
            yield (f"{where}{prefix}*" if where or prefix else ""), inside
        nested = [(f"{where}{key}.", item, depth + 1) for key, item in value.items() if as_tensor(item) is None]
        waiting += reversed(nested)


def _prefixes(tensors: dict[str, Tensor], names: list[str]) -> list[str]:
    """Texts before which one of the names stands, that with the most of them first: "", "module.", "net.model."."""
    wanted = set(names)
    count: dict[str, int] = {}
    for name in tensors:
        parts = name.split(".")
        for i in range(min(len(parts), 12)):
            if ".".join(parts[i:]) in wanted:
                prefix = ".".join(parts[:i]) + "." * (i > 0)
                count[prefix] = count.get(prefix, 0) + 1
    return sorted(count, key=lambda prefix: -count[prefix])


def _choose(found: list[tuple[str, dict[str, Tensor]]], names: list[str]) -> tuple[str, dict[str, Tensor]]:
    """The place that has all names; CheckpointError when two have them, with different numbers."""
    whole = [(where, tensors) for where, tensors in found if all(name in tensors for name in names)]
    if not whole:
        return max(found, key=lambda item: sum(name in item[1] for name in names), default=("", {}))
    first = whole[0]
    for where, tensors in whole[1:]:
        if any(not _same(tensors[name], first[1][name]) for name in names):
            raise CheckpointError(
                f"holds this network twice, in {first[0] or 'its root'} and in {where or 'its root'}, with different "
                "numbers; save the one that is meant on its own"
            )
    return first


def _same(a: Tensor, b: Tensor) -> bool:
    return a is b or (a.shape == b.shape and np.array_equal(a.array(), b.array()))


def check_file(path: Path, *, overwrite: bool) -> None:
    """UserError when ``path`` cannot be written, before any work is done."""
    folder = path.parent
    try:
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder}: is a file, a folder is needed; choose another one")
        if path.is_dir():
            raise UserError(f"{path}: is a folder; choose another one")
        if os.path.lexists(path) and not overwrite:
            raise UserError(f"{path}: exists already; remove it, choose another folder or pass --overwrite")
        there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
        if not os.access(there, os.W_OK):
            raise UserError(f"{there}: cannot write there; choose another folder")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from None


def write(path: Path, arrays: dict[str, np.ndarray], *, overwrite: bool) -> Path:
    """Write a safetensors file, whole or not at all; a link is written through."""
    check_file(path, overwrite=overwrite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        target = path.resolve()
        partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
        try:
            partial.write_bytes(safetensors.numpy.save(arrays))
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from None
    return path
