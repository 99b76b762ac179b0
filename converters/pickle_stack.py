"""The state of a pickle that is being read, and what may happen to it."""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from converters.budget import Budget
from converters.errors import CheckpointError
from converters.pickle_values import Data, Global, Record, describe, hashable

NAME = 256  # longest module and name together
LINE = 1024  # longest line that is a name or a number
Call = Callable[[tuple, Budget], Any]


class Stack:
    """One pickle. ``calls`` maps names to what they do here; ``inert`` says which other names may be recorded.

    ``persistent`` turns a persistent id into a value; without it they are refused. All is paid for by ``budget``.
    """

    def __init__(
        self,
        data: Data,
        start: int = 0,
        *,
        calls: Mapping[Global, Call] | None = None,
        inert: Callable[[Global], bool] = lambda name: False,
        persistent: Callable[[Any], Any] | None = None,
        budget: Budget | None = None,
    ):
        self.data = memoryview(data)
        self.position = start
        self.calls = {} if calls is None else calls
        self.inert = inert
        self.persistent = persistent
        self.budget = Budget(len(self.data)) if budget is None else budget
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    # -- reading -----------------------------------------------------------------------------------------------------

    def take(self, count: int) -> memoryview:
        """The next ``count`` bytes, without a copy."""
        if count > len(self.data) - self.position:
            raise CheckpointError(
                f"at byte {self.position}: the file ends where {count} more bytes should follow (truncated?)"
            )
        start, self.position = self.position, self.position + count
        return self.data[start : self.position]

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self, longest: int = LINE) -> bytes:
        """Bytes up to a newline: names, and the numbers and texts of protocol 0."""
        size = min(LINE, longest)
        while True:
            end = bytes(self.data[self.position : self.position + size]).find(b"\n")
            if end >= 0:
                return bytes(self.take(end + 1)[:-1])
            if size >= min(longest, len(self.data) - self.position):
                raise CheckpointError("a line without an end")
            size *= 4

    # -- the stack ---------------------------------------------------------------------------------------------------

    def pop_mark(self) -> list[Any]:
        values, self.stack = self.stack, self.marks.pop()
        return values

    def pop_tuple(self) -> tuple:
        value = self.stack.pop()
        if not isinstance(value, tuple):
            raise CheckpointError(f"arguments that are no tuple but {type(value).__name__}")
        return value

    def name(self, module: Any, name: Any) -> Global:
        """Refuse names that no checkpoint needs as soon as they are mentioned."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise CheckpointError("a global that is not named by two strings")
        if len(module) + len(name) > NAME:
            raise CheckpointError(f"a global whose name has {len(module) + len(name)} characters; refused")
        found = Global(module, name)
        if found not in self.calls and not self.inert(found):
            raise CheckpointError(f"global {found} is not one that a checkpoint needs; refused (nothing was executed)")
        return found

    def call(self, function: Any, args: tuple) -> Any:
        if not isinstance(function, Global):
            raise CheckpointError(f"a call of {describe(function)}, which is no name of the allow-list; refused")
        known = self.calls.get(function)
        return Record(function, args) if known is None else known(args, self.budget)

    def set_items(self, target: Any, pairs: list[Any]) -> None:
        if len(pairs) % 2:
            raise CheckpointError("dictionary items that are not pairs")
        into = target.items if isinstance(target, Record) else target
        if not isinstance(into, dict):
            raise CheckpointError(f"dictionary items for {type(target).__name__}")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            into[hashable(key)] = value

    def extend(self, target: Any, values: list[Any]) -> None:
        into = target.values if isinstance(target, Record) else target
        if not isinstance(into, list):
            raise CheckpointError(f"list items for {type(target).__name__}")
        into.extend(values)

    def add(self, target: Any, values: list[Any]) -> None:
        if not isinstance(target, set):
            raise CheckpointError(f"set items for {type(target).__name__}")
        target.update(hashable(value) for value in values)

    def build(self, target: Any, state: Any) -> None:
        """The state of an object. A dictionary's attributes (PyTorch's ``_metadata``) mean nothing to us."""
        if hasattr(target, "set_state"):
            target.set_state(state)
        elif not isinstance(target, dict):
            raise CheckpointError(f"a state for {type(target).__name__}")
