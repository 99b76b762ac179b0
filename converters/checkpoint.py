"""A checkpoint on disk → what it holds: networks with their tensors by name, and the options they were made with."""

import hashlib
import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import CheckpointError
from converters.pickle_machine import Global, Record
from converters.tensors import Tensor
from converters.torch_files import LegacyStream, is_legacy, read_modules, read_zip

CHUNK = 1 << 22  # bytes hashed between two reports of progress
MAX_MODULES = 100_000
MAX_DEPTH = 60
MAX_OPTIONS = 10_000
Progress = Callable[[int, int], None]  # (bytes done, bytes in all)


@dataclass(frozen=True)
class Checkpoint:
    """An open checkpoint. Tensors are views of the file until they are asked for."""

    path: Path
    layout: str  # modules, legacy or zip
    value: Any
    bytes: int
    sha256: str


def read(path: str | Path, progress: Progress | None = None) -> Checkpoint:
    """Read a file without executing anything from it. CheckpointError when it is not a checkpoint, or unsafe."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            length = os.fstat(file.fileno()).st_size
            if not path.is_file() or length == 0:
                raise CheckpointError(f"{path}: not a file with anything in it")
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from None
    try:
        layout, value = _parse(path, data)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return Checkpoint(path, layout, value, length, _sha256(data, progress))


def _parse(path: Path, data: memoryview) -> tuple[str, Any]:
    if bytes(data[:4]) == b"PK\x03\x04":
        return "zip", read_zip(path)
    if bytes(data[:1]) != b"\x80":
        raise CheckpointError("neither a pickle nor a zip: not a PyTorch checkpoint")
    if is_legacy(data):
        return "legacy", LegacyStream(data).read()
    return "modules", read_modules(data)


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


def state(module: Record) -> dict[str, Tensor]:
    """Parameters and buffers by dotted name, as state_dict() gives them, buffers that are not persistent included."""
    tensors: dict[str, Tensor] = {}
    waiting = [("", module, 0)]
    for _ in range(MAX_MODULES):
        if not waiting:
            return tensors
        prefix, record, depth = waiting.pop()
        if not is_module(record):
            raise CheckpointError(f"{prefix or 'the network'} is no module")
        for kind in ("_parameters", "_buffers"):
            for name, value in record.state[kind].items():
                if value is not None and not isinstance(value, Tensor):
                    raise CheckpointError(f"{prefix}{name} is no tensor")
                if value is not None and tensors.setdefault(f"{prefix}{name}", value) is not value:
                    raise CheckpointError(f"{prefix}{name} is there twice")
        for name, value in record.state["_modules"].items():
            if value is not None:
                waiting.append((f"{prefix}{name}.", value, depth + 1))
        if depth > MAX_DEPTH:
            raise CheckpointError(f"modules are nested more than {MAX_DEPTH} deep")
    raise CheckpointError(f"more than {MAX_MODULES} modules")


def arrays(tensors: dict[str, Tensor], checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """Copies of the tensors. Each number of the file may be used about once: no file can ask for more memory."""
    wanted = sum(tensor.bytes for tensor in tensors.values())
    if wanted > checkpoint.bytes:
        raise CheckpointError(f"tensors of {wanted} bytes in a file of {checkpoint.bytes}")
    return {name: tensor.array() for name, tensor in tensors.items()}


def plain(value: Any) -> Any:
    """Options as plain values: configuration objects become dictionaries, enumeration members their value."""
    left = MAX_OPTIONS

    def convert(value: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if depth > MAX_DEPTH or left < 0:  # nested, or sharing members: both can be endless
            raise CheckpointError("the options are nested too deep or too many")
        if isinstance(value, Record):
            if isinstance(value.state, dict):
                return convert(value.state, depth + 1)
            if value.items:
                return convert(value.items, depth + 1)
            return convert(value.args[0], depth + 1) if len(value.args) == 1 else None
        if isinstance(value, dict):
            return {key: convert(item, depth + 1) for key, item in value.items() if isinstance(key, str)}
        if isinstance(value, list | tuple):
            return [convert(item, depth + 1) for item in value]
        return value if isinstance(value, str | int | float | bool | None) else None

    return convert(value, 0)
