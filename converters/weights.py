"""Fixed networks' weights: tensors by name out of whatever they lie in, every one accounted for, into one file."""

import logging
import os
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from converters import checkpoint as checkpoints
from converters.budget import Budget
from converters.checkpoint import Checkpoint
from converters.errors import CheckpointError
from converters.quoting import short
from converters.tensors import Tensor, as_tensor
from jax_talker.errors import UserError

MOST_CUTS = 12  # of a name: what stands before a network's own names has fewer dots


def take(source: Checkpoint, names: Iterable[str], unused: re.Pattern[str]) -> dict[str, np.ndarray]:
    """The named tensors. CheckpointError when one is missing, or when there are others but those of ``unused``.

    They may lie in dictionaries (``state_dict``, ``model``, …) or modules, and all names may begin with the same text
    (``module.`` of DataParallel); what lies beside them, an optimizer or another network, is left alone.
    """
    names = list(names)
    try:
        where, tensors = _choose(list(_candidates(source, set(names))), names, source.budget)
        if missing := sorted(name for name in names if name not in tensors):
            raise CheckpointError(f"has no tensor {', '.join(missing[:3])}; is it the right file?")
        if more := sorted(set(tensors) - set(names)):
            more = [name for name in more if not unused.fullmatch(name)]
            if more:
                raise CheckpointError(f"has tensors that nothing uses: {', '.join(more[:3])}")
        if where:
            logging.info("%s: the network lies in %s", source.path, short(where))
        return checkpoints.arrays({name: tensors[name] for name in names}, source)
    except CheckpointError as error:
        raise CheckpointError(error, source.path) from None


def places(source: Checkpoint) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """(where, tensors by name) of every dictionary and module, from the root down; each is there once.

    ``where`` are the keys that lead there, a dot behind each. All that is walked through is paid for.
    """
    budget = source.budget
    waiting: list[tuple[str, Any, int]] = [("", source.value, 0)]
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
        budget.spend("characters of names", sum(len(where) + len(str(key)) for key in value))
        yield where, {str(key): tensor for key, item in value.items() if (tensor := as_tensor(item)) is not None}
        nested = [(f"{where}{key}.", item, depth + 1) for key, item in value.items() if as_tensor(item) is None]
        waiting += reversed(nested)


def _candidates(source: Checkpoint, wanted: set[str]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """(where, tensors by their names without what all begin with) of every place that has any of the names."""
    for where, tensors in places(source):
        for prefix, inside in _by_prefix(tensors, wanted, source.budget).items():
            yield (f"{where}{prefix}*" if where or prefix else ""), inside


def _by_prefix(tensors: dict[str, Tensor], wanted: set[str], budget: Budget) -> dict[str, dict[str, Tensor]]:
    """The tensors behind each text that stands before a wanted name ("", "module.", "net.model."), the most first.

    Names are cut at their dots and never compared with prefixes: a file may have as many of those as of names.
    """
    count = Counter(prefix for name in tensors for prefix, rest in _cuts(name) if rest in wanted)
    found: dict[str, dict[str, Tensor]] = {prefix: {} for prefix, _ in count.most_common()}
    for name, tensor in tensors.items():
        for prefix, rest in _cuts(name):
            if prefix in found:
                budget.spend("values")  # a tensor may lie behind several
                budget.spend("characters of names", len(rest))
                found[prefix][rest] = tensor
    return found


def _cuts(name: str) -> Iterator[tuple[str, str]]:
    """Beginning and rest of a name: nothing and all, then cut behind each of the first dots."""
    at = 0
    for _ in range(MOST_CUTS):
        yield name[:at], name[at:]
        at = name.find(".", at) + 1
        if not at:
            return


def _choose(
    found: list[tuple[str, dict[str, Tensor]]], names: list[str], budget: Budget
) -> tuple[str, dict[str, Tensor]]:
    """The place that has all names; CheckpointError when two have them, with different numbers."""
    wanted = set(names)
    whole = [(where, tensors) for where, tensors in found if wanted <= tensors.keys()]
    if not whole:
        return max(found, key=lambda item: sum(name in wanted for name in item[1]), default=("", {}))
    first = whole[0]
    for where, tensors in whole[1:]:
        if any(not _same(tensors[name], first[1][name], budget) for name in names):
            raise CheckpointError(
                f"holds this network twice, in {first[0] or 'its root'} and in {where or 'its root'}, with different "
                "numbers; save the one that is meant on its own"
            )
    return first


def _same(a: Tensor, b: Tensor, budget: Budget) -> bool:
    """Whether two tensors hold the same numbers. A storage may have many views; different ones are looked through."""
    if a.shape != b.shape:
        return False
    if a.storage is b.storage and (a.offset, a.strides) == (b.offset, b.strides):
        return True
    budget.spend("bytes read again", a.bytes)
    return np.array_equal(a.array(), b.array())


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
