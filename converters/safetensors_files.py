"""Safetensors files → tensors by name."""

from typing import Any

import safetensors

from converters.budget import Budget
from converters.errors import CheckpointError
from converters.pickle_machine import Data
from converters.tensors import BFLOAT16, Storage, Tensor, contiguous

KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": BFLOAT16, "I64": "<i8", "I32": "<i4", "I16": "<i2"}
KINDS |= {"I8": "|i1", "U8": "|u1", "BOOL": "|b1"}
LONGEST_HEADER = 16 << 20


def is_safetensors(data: Data) -> bool:
    """Whether it begins as one: the length of a JSON header, then the header."""
    header = int.from_bytes(data[:8], "little")
    return len(data) > 9 and header <= min(len(data) - 8, LONGEST_HEADER) and bytes(data[8:9]) == b"{"


def read_safetensors(data: Data, budget: Budget) -> dict[str, Tensor]:
    """Every tensor; the library checks that they neither overlap nor leave gaps."""
    header = int.from_bytes(data[:8], "little")
    budget.spend("tensors", bytes(data[8 : 8 + header]).count(b'"data_offsets"'))
    try:
        stored: list[tuple[str, Any]] = safetensors.deserialize(bytes(data))
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"damaged safetensors file ({error})") from None
    found = {}
    for name, part in stored:
        budget.spend("characters of names", len(name))
        if part["dtype"] not in KINDS:
            raise CheckpointError(f"tensor {name:.60} is of type {part['dtype']:.20}, which is not read here")
        storage = Storage(KINDS[part["dtype"]], 0)
        storage.count = len(part["data"]) // storage.item_bytes
        storage.fill(memoryview(part["data"]))
        found[name] = contiguous(storage, tuple(part["shape"]))
    return found
