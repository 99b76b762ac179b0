"""Values of a file in a message or a report: always short, and quick however large or nested the value is."""

import reprlib
from typing import Any

from converters.pickle_machine import Global, Record, describe
from converters.tensors import NumpyArray, Tensor

LONGEST = 100


class _Short(reprlib.Repr):
    """Python's own cut ``repr``; it never looks at more than a few members of a few levels."""

    def __init__(self):
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, 60, 60
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = 8

    def repr_instance(self, x: Any, level: int) -> str:
        return repr(x) if isinstance(x, float | bool | None) else describe(x)


_SHORT = _Short()


def short(value: Any) -> str:
    """``repr`` of a value, cut."""
    text = _SHORT.repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def summary(value: Any) -> str:
    """A value in one line: sizes of containers, never their content."""
    if isinstance(value, dict | list | tuple | set):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, Record):
        return f"object of class {str(value.of)[:LONGEST]}"
    if isinstance(value, Tensor):
        return f"tensor {value.dtype} {value.shape}"
    if isinstance(value, NumpyArray):
        return "array" if value.tensor is None else f"array {value.tensor.dtype} {value.tensor.shape}"
    if isinstance(value, Global):
        return f"name {str(value)[:LONGEST]}"
    return f"{len(value)} bytes" if isinstance(value, memoryview) else short(value)
