"""TensorFlow's frozen graphs (GraphDef) → their constants by name, without TensorFlow.

A graph is a protobuf message; only its wire format is read (protobuf.dev/programming-guides/encoding), and of all nodes
only the constants, four messages deep, so that nothing in a file can nest. Field numbers are those of
tensorflow/core/framework/{graph,node_def,attr_value,tensor,tensor_shape}.proto.
"""

from collections.abc import Iterator

from converters.budget import Budget
from converters.errors import CheckpointError
from converters.pickle_machine import Data
from converters.tensors import BFLOAT16, Storage, Tensor, contiguous

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  # kinds of fields
LONGEST_VARINT = 10  # bytes of 7 bits each
NODE = 1  # of GraphDef
NAME, OP, ATTR = 1, 2, 5  # of NodeDef
KEY, VALUE = 1, 2  # of an entry of NodeDef.attr
TENSOR = 8  # of AttrValue
DTYPE, SHAPE, CONTENT, FLOATS = 1, 2, 4, 5  # of TensorProto
DIM, SIZE = 2, 1  # of TensorShapeProto and of its Dim
KINDS = {1: "<f4", 2: "<f8", 3: "<i4", 4: "|u1", 5: "<i2", 6: "|i1", 9: "<i8", 10: "|b1", 14: BFLOAT16, 19: "<f2"}
FLOAT = 1
LONGEST_NAME = 1000

Value = int | memoryview


def is_graph(data: Data) -> bool:
    """Whether it begins as one: with a node, which begins with its name and goes on with its operation."""
    view = memoryview(data)[: 2 * LONGEST_NAME]
    try:
        if view[:1] != b"\n":
            return False
        length, at = _varint(view, 1)
        if length > len(data) - at or view[at : at + 1] != b"\n":
            return False
        size, at = _varint(view, at + 1)
    except CheckpointError:
        return False
    name = bytes(view[at : at + size])
    return (
        0 < size <= LONGEST_NAME and name.isascii() and name.decode().isprintable() and view[at + size :][:1] == b"\x12"
    )


def read_graph(data: Data, budget: Budget) -> dict[str, Tensor]:
    """Every constant of numbers that a graph spells out; those that repeat one number to fill a shape are left out."""
    found: dict[str, Tensor] = {}
    for number, value in _fields(memoryview(data), budget):
        if number != NODE:
            continue
        name, tensor = _constant(_message(value), budget)
        if tensor is not None:
            budget.spend("tensors")
            budget.spend("characters of names", len(name))
            if name in found:
                raise CheckpointError(f"{name:.60} is there twice")
            found[name] = tensor
    if not found:
        raise CheckpointError("a TensorFlow graph without constants; a frozen one is needed")
    return found


def _constant(node: memoryview, budget: Budget) -> tuple[str, Tensor | None]:
    """A node's name, and what it holds if it is a constant of numbers."""
    name, op, attributes = b"", b"", []
    for number, value in _fields(node, budget):
        if number == NAME:
            name = bytes(_message(value)[: LONGEST_NAME + 1])
        elif number == OP:
            op = bytes(_message(value)[:LONGEST_NAME])
        elif number == ATTR:
            attributes.append(_message(value))
    if op != b"Const":
        return "", None
    if len(name) > LONGEST_NAME:
        raise CheckpointError(f"a node whose name has more than {LONGEST_NAME} bytes")
    for attribute in attributes:
        parts = dict(_fields(attribute, budget))
        if parts.get(KEY) == b"value" and VALUE in parts:
            tensors = [v for n, v in _fields(_message(parts[VALUE]), budget) if n == TENSOR]
            if tensors:
                return str(name, "utf-8", "replace"), _tensor(_message(tensors[-1]), budget)
    return "", None


def _tensor(data: memoryview, budget: Budget) -> Tensor | None:
    kind, shape, content, floats = 0, (), None, []
    for number, value in _fields(data, budget):
        if number == DTYPE and isinstance(value, int):
            kind = value
        elif number == SHAPE:
            shape = _shape(_message(value), budget)
        elif number == CONTENT:
            content = _message(value)
        elif number == FLOATS:
            floats.append(_message(value))  # packed, or one number a field
    if content is None and kind == FLOAT:
        content = floats[0] if len(floats) == 1 else memoryview(b"".join(floats))
    if kind not in KINDS or not content:
        return None
    storage = Storage(KINDS[kind], 0)
    storage.count = len(content) // storage.item_bytes
    storage.fill(content)
    size = 1
    for n in shape:
        size *= n
    return contiguous(storage, shape) if size == storage.count else None


def _shape(data: memoryview, budget: Budget) -> tuple[int, ...]:
    dims = [_message(value) for number, value in _fields(data, budget) if number == DIM]
    sizes = [dict(_fields(dim, budget)).get(SIZE, 0) for dim in dims]  # a size of 0 is not written
    if len(sizes) > 16 or any(not isinstance(n, int) for n in sizes):
        raise CheckpointError("a tensor whose shape is none")
    return tuple(n for n in sizes if isinstance(n, int))


def _fields(data: memoryview, budget: Budget) -> Iterator[tuple[int, Value]]:
    """(number, value) of every field of a message: a number, or bytes."""
    at = 0
    while at < len(data):
        budget.spend("values")
        key, at = _varint(data, at)
        kind = key & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == LENGTH:
            size, at = _varint(data, at)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise CheckpointError(f"a damaged TensorFlow graph: a field of kind {kind}")
        if size > len(data) - at:
            raise CheckpointError("a TensorFlow graph that is damaged or cut off")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """(number, where it ends) of a number in 7 bits a byte, the least first."""
    value = 0
    for i, byte in enumerate(bytes(data[at : at + LONGEST_VARINT])):
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, at + i + 1
    raise CheckpointError("a TensorFlow graph that is damaged or cut off")


def _message(value: Value) -> memoryview:
    if isinstance(value, int):
        raise CheckpointError("a damaged TensorFlow graph: a number where a message was expected")
    return value
