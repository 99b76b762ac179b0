"""PyTorch's tensors without PyTorch: views (offset, shape, strides) of storages, raw numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.errors import CheckpointError
from converters.pickle_machine import Data

BFLOAT16 = "bfloat16"  # NumPy has none: read as 16-bit integers, widened to float32
STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": BFLOAT16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}
MAX_RANK = 16
LARGEST = 1 << 48  # of offsets, strides and lengths: beyond it NumPy's own arithmetic ends


@dataclass(eq=False)
class Storage:
    """``count`` numbers; ``data`` is filled in later when it lies behind the pickle."""

    kind: str
    count: int
    data: Data | None = None

    @property
    def item_bytes(self) -> int:
        return 2 if self.kind == BFLOAT16 else np.dtype(self.kind).itemsize

    def fill(self, data: Data) -> None:
        if len(data) != self.count * self.item_bytes:
            raise CheckpointError(f"a storage of {self.count} {self.kind} numbers has {len(data)} bytes")
        self.data = data

    def numbers(self) -> np.ndarray:
        """The whole storage, a view of the file's bytes."""
        if self.data is None:
            raise CheckpointError("a storage whose numbers are not in the file")
        return np.frombuffer(self.data, "<u2" if self.kind == BFLOAT16 else self.kind)


@dataclass(frozen=True, eq=False)
class Tensor:
    """A view of a storage, inside its bounds by construction. Offset, shape and strides are natural numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements

    def __post_init__(self):
        if len(self.shape) != len(self.strides) or len(self.shape) > MAX_RANK:
            raise CheckpointError(f"a tensor of {len(self.shape)} axes with {len(self.strides)} strides")
        extent = 1
        for n in self.shape:
            extent *= max(n, 1)
        if max(self.offset, extent, *self.shape, *self.strides) >= LARGEST:
            raise CheckpointError("a tensor whose offset, shape or strides are beyond any memory")
        last = self.offset + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))
        # More elements than numbers (stride 0) would let a short file ask for any amount of memory.
        if self.size and (last >= self.storage.count or self.size > self.storage.count):
            raise CheckpointError(
                f"a tensor of shape {self.shape}, offset {self.offset} reaches outside its storage of "
                f"{self.storage.count} numbers"
            )

    @property
    def size(self) -> int:
        size = 1
        for n in self.shape:
            size *= n
        return size

    @property
    def bytes(self) -> int:
        return self.size * self.storage.item_bytes

    @property
    def dtype(self) -> str:
        kind = self.storage.kind
        return kind if kind == BFLOAT16 else np.dtype(kind).name

    def array(self) -> np.ndarray:
        """A contiguous copy in native byte order; bfloat16 becomes float32."""
        if not self.size:
            return np.zeros(self.shape, np.float32 if self.storage.kind == BFLOAT16 else self.dtype)
        numbers = self.storage.numbers()[self.offset :]
        strides = [stride * numbers.itemsize for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(numbers, self.shape, strides, writeable=False)
        if self.storage.kind == BFLOAT16:
            return (view.astype(np.uint32) << 16).view(np.float32)
        return np.array(view, self.dtype, order="C")


def contiguous(storage: Storage, shape: tuple[int, ...], *, fortran: bool = False) -> Tensor:
    """A storage's numbers as an array of ``shape``, row by row, or column by column."""
    strides, step = [], 1
    for n in shape if fortran else reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return Tensor(storage, 0, shape, tuple(strides if fortran else reversed(strides)))


class NumpyArray:
    """A pickled numpy.ndarray: made empty, given its numbers afterwards. ``tensor`` is None unless it holds numbers."""

    def __init__(self, tensor: Tensor | None = None):
        self.tensor = tensor


def as_tensor(value: Any) -> Tensor | None:
    """A tensor or an array of numbers; None for anything else."""
    if isinstance(value, NumpyArray):
        return value.tensor
    return value if isinstance(value, Tensor) else None
