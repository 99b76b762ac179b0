"""What a pickle's names and objects are here: two strings, and a record of what the file says about them."""

from dataclasses import dataclass, field
from typing import Any

from converters.errors import CheckpointError

Data = bytes | memoryview


@dataclass(frozen=True)
class Global:
    """A name in the file, never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, repr=False)  # repr could be exponential in the file's length: records share members
class Record:
    """An object of the file that we did not make: what it was called with and what it was given."""

    of: Global | str
    args: tuple = ()
    state: Any = None
    items: dict = field(default_factory=dict)
    values: list = field(default_factory=list)

    def set_state(self, state: Any) -> None:
        self.state = state

    def __repr__(self) -> str:
        return f"<record of {self.of!s:.80}>"  # cut: a file may use a record as key, and its class as name, many times


def describe(value: Any) -> str:
    """A value in an error message, cut. Printing a nested value may take time exponential in the file's length."""
    if isinstance(value, Global | Record):
        return f"{value!s:.60}"
    if isinstance(value, str):
        return f"{value[:60]!r:.60}"
    return f"{value!r:.60}" if isinstance(value, int) else f"a {type(value).__name__}"


def hashable(key: Any) -> Any:
    """Keys are text, None, small integers, names, or records, which hash by identity (enumeration members).

    Hashing nested tuples may take time exponential in their depth, and large integers and floats can be chosen to
    collide.
    """
    if not (key is None or isinstance(key, str | Record | Global) or (isinstance(key, int) and abs(key) < 1 << 60)):
        raise CheckpointError(f"a key of type {type(key).__name__}")
    return key
