"""A checkpoint on disk → what it holds: networks with their tensors by name, and the options they were made with."""

import hashlib
import mmap
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from converters.budget import Budget
from converters.errors import CheckpointError
from converters.file_kinds import HEAD, may_be_old_pickle, what_it_is
from converters.graphdef import is_graph, read_graph
from converters.names import PATHS
from converters.pickle_machine import Global, Record
from converters.safetensors_files import is_safetensors, read_safetensors
from converters.tensors import NumpyArray, Tensor, as_tensor
from converters.torch_files import LegacyStream, is_legacy, read_modules, read_zip

CHUNK = 1 << 22  # bytes hashed between two reports of progress
MAX_DEPTH = 60
LARGEST_OPTION = 1000  # numbers of an array among the options
Progress = Callable[[int, int], None]  # (bytes done, bytes in all)


@dataclass(frozen=True)
class Checkpoint:
    """An open checkpoint. Tensors are views of the file until they are asked for."""

    path: Path
    layout: str  # modules, legacy, zip, safetensors or graph
    value: Any
    bytes: int
    sha256: str
    budget: Budget = field(default_factory=Budget, compare=False)


def read(path: str | Path, progress: Progress | None = None) -> Checkpoint:
    """Read a file without executing anything from it. CheckpointError when it is not a checkpoint, or unsafe."""
    path = Path(path)
    data = _open(path)
    budget = Budget(len(data))
    try:
        layout, value = _parse(path, data, budget)
    except CheckpointError as error:
        raise CheckpointError(error, path) from None
    return Checkpoint(path, layout, value, len(data), _sha256(data, progress), budget)


def _open(path: Path) -> memoryview:
    try:
        # Without waiting: a pipe that nobody writes to would never open.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            found = os.fstat(descriptor)
            if stat.S_ISDIR(found.st_mode):
                raise CheckpointError("cannot be read: a folder, where a file was expected", path)
            if not stat.S_ISREG(found.st_mode):
                raise CheckpointError("not a file (a pipe or a device)", path)
            if found.st_size == 0:
                raise CheckpointError("not a file with anything in it", path)
            return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise CheckpointError(f"cannot be read ({getattr(error, 'strerror', None) or error})", path) from None


def _parse(path: Path, data: memoryview, budget: Budget) -> tuple[str, Any]:
    head = bytes(data[:HEAD])
    if head[:4] == b"PK\x03\x04":
        return "zip", read_zip(path, budget)
    if is_safetensors(data):
        return "safetensors", read_safetensors(data, budget)
    if what := what_it_is(head, len(data)):
        raise CheckpointError(f"not a checkpoint but {what}")
    if is_graph(data):
        return "graph", read_graph(data, budget)
    if head[:1] != b"\x80" and not may_be_old_pickle(head, bytes(data[-1:])):
        raise CheckpointError("neither a pickle nor a zip: not a PyTorch checkpoint")
    if is_legacy(data):
        return "legacy", LegacyStream(data, budget=budget).read()
    return "modules", read_modules(data, budget)


def _sha256(data: memoryview, progress: Progress | None) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(data), CHUNK):
        digest.update(data[start : start + CHUNK])
        if progress:
            progress(min(start + CHUNK, len(data)), len(data))
    return digest.hexdigest()


# ---------------------------------------------------------------------------------------------------------------------
# Inside


def networks(checkpoint: Checkpoint) -> dict[str, Record]:
    """The modules of an EG3D-style snapshot by their key: G, D, G_ema, …"""
    root = checkpoint.value
    if not isinstance(root, dict):
        raise CheckpointError(f"holds {type(root).__name__} at its root, a dictionary with G_ema was expected")
    return {str(key): value for key, value in root.items() if is_module(value)}


def ema_generator(checkpoint: Checkpoint) -> Record:
    """G_ema, the generator that snapshots are used with."""
    found = networks(checkpoint)
    if "G_ema" not in found:
        has = ", ".join(sorted(str(key) for key in checkpoint.value)) or "nothing"
        raise CheckpointError(f"has no module G_ema (its root has {has:.200})")
    return found["G_ema"]


def is_module(value: Any) -> bool:
    """A recorded torch.nn.Module: its state has parameters, buffers and submodules."""
    return (
        isinstance(value, Record)
        and isinstance(value.state, dict)
        and all(isinstance(value.state.get(name), dict) for name in ("_parameters", "_buffers", "_modules"))
    )


def class_name(record: Record) -> str:
    """The class that an object was of, without its module."""
    return record.of.name if isinstance(record.of, Global) else record.of


def state(module: Record, budget: Budget | None = None) -> dict[str, Tensor]:
    """Parameters and buffers by dotted name, as state_dict() gives them, buffers that are not persistent included."""
    budget = budget or Budget()
    tensors: dict[str, Tensor] = {}
    waiting = [("", module, 0)]
    while waiting:
        prefix, record, depth = waiting.pop()
        budget.spend("modules")
        if not is_module(record):
            raise CheckpointError(f"{prefix[:60] or 'the network'} is no module")
        if depth > MAX_DEPTH:
            raise CheckpointError(f"modules are nested more than {MAX_DEPTH} deep")
        for kind in ("_parameters", "_buffers"):
            for name, value in record.state[kind].items():
                if value is not None:
                    _keep(tensors, _joined(prefix, name, budget), value, budget)
        for name, value in record.state["_modules"].items():
            if value is not None:
                waiting.append((f"{_joined(prefix, name, budget)}.", value, depth + 1))
    return tensors


def _joined(prefix: str, name: Any, budget: Budget) -> str:
    name = str(name)
    budget.spend("characters of names", len(prefix) + len(name))
    return prefix + name


def _keep(tensors: dict[str, Tensor], name: str, value: Any, budget: Budget) -> None:
    budget.spend("tensors")
    tensor = as_tensor(value)
    if tensor is None:
        raise CheckpointError(f"{name} is no tensor")
    if tensors.setdefault(name, tensor) is not tensor:
        raise CheckpointError(f"{name} is there twice")


def flat(value: Any, budget: Budget, name: str = "", joint: str = ".") -> Iterator[tuple[str, Tensor]]:
    """(path, tensor) of every tensor in plain dictionaries, in their order; all else in them is passed over.

    ``name`` stands before all paths. Dictionaries may share members and hold each other: every path is paid for.
    """
    waiting = [(name, value, 0)]
    while waiting:
        path, item, depth = waiting.pop()
        tensor = as_tensor(item)
        if tensor is not None:
            budget.spend("tensors")
            yield path, tensor
        elif isinstance(item, dict) and depth < MAX_DEPTH:
            budget.spend("values", len(item))
            budget.spend("characters of names", sum(len(path) + len(str(key)) for key in item))
            before = path + joint if path else ""
            waiting += [(f"{before}{key}", part, depth + 1) for key, part in reversed(item.items())]


def arrays(tensors: dict[str, Tensor], checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """Copies of the tensors. Each number of the file may be used about once: no file can ask for more memory."""
    wanted = sum(tensor.bytes for tensor in tensors.values())
    if wanted > checkpoint.bytes:
        raise CheckpointError(f"tensors of {wanted} bytes in a file of {checkpoint.bytes}")
    return {name: tensor.array() for name, tensor in tensors.items()}


def plain(value: Any, budget: Budget | None = None) -> Any:
    """Options as plain values: configuration objects become dictionaries, enumeration members their value, paths text,
    arrays lists of numbers."""
    budget = budget or Budget()

    def convert(value: Any, depth: int) -> Any:
        budget.spend("values")
        if depth > MAX_DEPTH:  # members of themselves
            raise CheckpointError(f"options are nested more than {MAX_DEPTH} deep")
        if isinstance(value, Record):
            return convert(_content(value, budget), depth + 1)
        if isinstance(value, dict):
            return {key: convert(item, depth + 1) for key, item in value.items() if isinstance(key, str)}
        if isinstance(value, list | tuple):
            return [convert(item, depth + 1) for item in value]
        if isinstance(value, NumpyArray):
            few = value.tensor is not None and value.tensor.size <= LARGEST_OPTION
            return value.tensor.array().tolist() if few and value.tensor is not None else None
        return value if isinstance(value, str | int | float | bool | None) else None

    return convert(value, 0)


def _content(record: Record, budget: Budget) -> Any:
    """What an object stands for: its attributes, its members, or what it was made from."""
    if isinstance(record.of, Global) and record.of.name in PATHS and all(isinstance(a, str) for a in record.args):
        budget.spend("characters of names", sum(map(len, record.args)) + len(record.args))
        return "/".join(part.rstrip("/\\") for part in record.args)
    if isinstance(record.state, dict):
        return record.state
    if record.items:
        return record.items
    return record.args[0] if len(record.args) == 1 else None
