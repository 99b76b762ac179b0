"""The three ways in which PyTorch objects lie in files, read without PyTorch and without executing anything.

Storages lie inside the pickle (modules pickled whole, as EG3D's snapshots), behind it (``torch.save`` before 1.6) or as
files of a zip (``torch.save`` since).
"""

import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.budget import Budget
from converters.errors import CheckpointError
from converters.names import MODULE_CALLS, STORAGE_GLOBALS, TENSOR_CALLS, allowed
from converters.pickle_machine import Call, Data, Global, Machine, describe
from converters.tensors import STORAGES, Storage

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


def is_legacy(data: Data) -> bool:
    """Whether a legacy ``torch.save`` stream begins here: a pickle of PyTorch's magic number."""
    header = bytes(data[:2]) + b"\x8a\x0a" + MAGIC.to_bytes(10, "little") + b"."
    return bytes(data[: len(header)]) == header


def read_modules(data: Data, budget: Budget | None = None) -> Any:
    """A pickle of whole modules, whose storages are legacy streams inside it, or of NumPy arrays."""
    calls = MODULE_CALLS | {Global("torch.storage", "_load_from_bytes"): _bytes_storage}
    machine = Machine(data, calls=calls, inert=allowed, budget=budget)
    value = machine.run()
    if machine.position != len(data):
        raise CheckpointError(f"{len(data) - machine.position} bytes follow the pickle")
    return value


def _bytes_storage(args: tuple, budget: Budget) -> Storage:
    if len(args) != 1 or not isinstance(args[0], memoryview):
        raise CheckpointError("_load_from_bytes of something that is not bytes")
    budget.spend("bytes read again", len(args[0]))  # a file may name the same bytes many times
    value = LegacyStream(args[0], calls={}, inert=STORAGE_GLOBALS.__contains__, budget=budget).read()
    if not isinstance(value, Storage):
        raise CheckpointError("_load_from_bytes of something that is no storage")
    return value


@dataclass
class _Storages:
    """Storages of a file by their key."""

    by_key: dict[str, Storage] = field(default_factory=dict)

    def persistent(self, identity: Any) -> Storage | Global:
        """('storage', type, key, location, count, view): a storage, its location (cpu, cuda:0) ignored.

        ('module', class, file, source): how the legacy layout names a class; the source text is ignored.
        """
        if isinstance(identity, tuple) and len(identity) == 4 and identity[0] == "module":
            if not isinstance(identity[1], Global):
                raise CheckpointError("a module class that is no name")
            return identity[1]
        if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] != "storage":
            raise CheckpointError("a persistent id that is no storage")
        kind, key, location, count = list(identity)[1:5]
        if len(identity) == 6 and identity[5] is not None:
            raise CheckpointError("a storage that is a view of another, a form that PyTorch gave up in 2017")
        if not isinstance(kind, Global) or kind not in STORAGE_GLOBALS:
            raise CheckpointError(f"storage type {describe(kind)} is not supported")
        if not isinstance(key, str) or not isinstance(location, str) or type(count) is not int or count < 0:
            raise CheckpointError("a storage whose key, location or length is damaged")
        storage = self.by_key.setdefault(key, Storage(STORAGES[kind.name], count))
        if (storage.kind, storage.count) != (STORAGES[kind.name], count):
            raise CheckpointError(f"storage {key!r:.20} is described twice, differently")
        return storage


class LegacyStream:
    """``torch.save`` before 1.6: five pickles (magic, version, system, object, keys), then each storage's numbers."""

    def __init__(
        self,
        data: Data,
        calls: Mapping[Global, Call] = TENSOR_CALLS,
        inert: Callable[[Global], bool] = allowed,
        budget: Budget | None = None,
    ):
        self.data = memoryview(data)
        self.budget = Budget(len(self.data)) if budget is None else budget
        self.calls = calls
        self.inert = inert
        self.position = 0

    def read(self) -> Any:
        storages = _Storages()
        if (magic := self._pickle()) != MAGIC:
            raise CheckpointError(f"PyTorch's magic number expected, found {describe(magic)}")
        if (version := self._pickle()) != PROTOCOL:
            raise CheckpointError(f"legacy format {describe(version)}, {PROTOCOL} expected")
        system = self._pickle()
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise CheckpointError("written on a big-endian machine, or a damaged header")
        value = self._pickle(storages)
        keys = self._pickle()
        if not isinstance(keys, list) or len(keys) != len(storages.by_key):
            raise CheckpointError("the list of storages does not match the tensors")
        for key in keys:
            storage = storages.by_key.get(key) if isinstance(key, str) else None
            if storage is None or storage.data is not None:
                raise CheckpointError("the list of storages does not match the tensors")
            (count,) = struct.unpack("<q", self._take(8))
            if count != storage.count:
                raise CheckpointError(f"storage {key!r:.20} has {count} numbers, {storage.count} announced")
            storage.fill(self._take(count * storage.item_bytes))
        if self.position != len(self.data):
            raise CheckpointError(f"{len(self.data) - self.position} bytes follow the last storage")
        return value

    def _pickle(self, storages: _Storages | None = None) -> Any:
        if storages is None:  # a header: plain values only
            machine = Machine(self.data, self.position, budget=self.budget)
        else:
            machine = Machine(
                self.data,
                self.position,
                calls=self.calls,
                inert=self.inert,
                persistent=storages.persistent,
                budget=self.budget,
            )
        value = machine.run()
        self.position = machine.position
        return value

    def _take(self, count: int) -> memoryview:
        if not 0 <= count <= len(self.data) - self.position:
            raise CheckpointError(f"at byte {self.position}: the file ends inside a storage (truncated?)")
        start, self.position = self.position, self.position + count
        return self.data[start : self.position]


def read_zip(path: Path, budget: Budget | None = None) -> Any:
    """``torch.save`` since 1.6: a zip of data.pkl and one stored (never compressed) file for each storage."""
    try:
        with zipfile.ZipFile(path) as archive:
            length = path.stat().st_size
            return _read_archive(archive, length, Budget(length) if budget is None else budget)
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(f"damaged zip ({error})") from None
    except (ValueError, OverflowError, OSError, UnicodeError, IndexError) as error:
        raise CheckpointError(f"damaged zip ({type(error).__name__}: {error})") from None


def _read_archive(archive: zipfile.ZipFile, length: int, budget: Budget) -> Any:
    budget.spend("values", len(archive.infolist()))
    entries = {entry.filename: entry for entry in archive.infolist()}
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
        raise CheckpointError("a zip with compressed parts; torch.save writes none, so this may be a bomb")
    if sum(entry.file_size for entry in entries.values()) > length or len(entries) != len(archive.infolist()):
        raise CheckpointError("a zip whose parts overlap or repeat")
    pickles = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise CheckpointError(f"a zip without exactly one data.pkl: {_what_zip(list(entries), len(pickles))}")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
        raise CheckpointError("written on a big-endian machine")
    storages = _Storages()
    data = archive.read(pickles[0])
    machine = Machine(data, calls=TENSOR_CALLS, inert=allowed, persistent=storages.persistent, budget=budget)
    value = machine.run()
    for key, storage in storages.by_key.items():
        name = f"{root}data/{key}"
        if name not in entries:
            raise CheckpointError(f"storage {key!r:.20} is not in the zip")
        storage.fill(archive.read(name))
    return value


def _what_zip(names: list[str], pickles: int) -> str:
    """What a zip is that torch.save did not write."""
    inside = [name for name in names if name.lower().endswith((".pth", ".pt", ".pkl", ".ckpt", ".safetensors"))]
    if not pickles and inside:
        return f"it holds {inside[0]:.60}; unpack it and give that file"
    if any(name.endswith(".npy") for name in names):
        return "it is NumPy's (npz)"
    return "not written by torch.save"
