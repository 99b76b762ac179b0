"""A pickle reader that cannot execute anything: it knows the opcodes, and builds plain values and inert records.

``pickle.load`` imports names and calls them; whoever writes the file chooses both. Here a name in the file is only a
:class:`Global`, two strings. A call of one is either one of the few functions that :class:`Machine` was given, or it
becomes a :class:`Record` of its arguments when its name is on the allow-list, or the file is refused. Nothing is ever
imported, no attribute is looked up, and the result of a call can never be called.

Work and memory are bounded by the length of the data: every opcode costs a bounded amount, the memo is a dictionary
(the C unpickler allocates an array as long as the file says), and hashing never descends into containers.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from converters.errors import CheckpointError

LONG_BYTES = 64  # longest integer; PyTorch's magic number has 10 bytes
MAX_OPCODES = 2_000_000  # a full-size checkpoint has about 80,000; an opcode may cost 200 bytes of memory
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

    def __repr__(self) -> str:
        return f"<record of {self.of}>"


Call = Callable[[tuple], Any]


class Machine:
    """One pickle. ``calls`` maps names to what they do here; ``inert`` says which other names may be recorded.

    ``persistent`` turns a persistent id into a value; without it they are refused.
    """

    def __init__(
        self,
        data: Data,
        start: int = 0,
        *,
        calls: Mapping[Global, Call] | None = None,
        inert: Callable[[Global], bool] = lambda name: False,
        persistent: Callable[[Any], Any] | None = None,
    ):
        self.data = memoryview(data)
        self.position = start
        self.calls = calls or {}
        self.inert = inert
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The value of the pickle that starts here; afterwards ``position`` is the byte behind it."""
        for _ in range(MAX_OPCODES):
            offset = self.position
            opcode = self.take(1)[0]
            handler = HANDLERS.get(opcode)
            try:
                if opcode == STOP:
                    if len(self.stack) != 1 or self.marks:
                        raise CheckpointError("the pickle ends in the middle of a value")
                    return self.stack.pop()
                if handler is None:
                    raise CheckpointError(f"pickle opcode 0x{opcode:02x}, which no PyTorch checkpoint uses")
                handler(self)
            except CheckpointError as error:
                raise CheckpointError(f"at byte {offset}: {error}") from None
            except (IndexError, KeyError, UnicodeDecodeError, struct.error) as error:
                raise CheckpointError(f"at byte {offset}: damaged pickle ({type(error).__name__})") from None
        raise CheckpointError(f"at byte {self.position}: more than {MAX_OPCODES} pickle opcodes")

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

    def line(self) -> str:
        """Text up to a newline (protocol 2 writes names so)."""
        end = bytes(self.data[self.position : self.position + 1024]).find(b"\n")
        if end < 0:
            raise CheckpointError("a name without an end")
        return str(self.take(end + 1)[:-1], "utf-8")

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
        found = Global(module, name)
        if found not in self.calls and not self.inert(found):
            raise CheckpointError(f"global {found} is not one that a checkpoint needs; refused (nothing was executed)")
        return found

    def call(self, function: Any, args: tuple) -> Any:
        if not isinstance(function, Global):
            raise CheckpointError(f"a call of {describe(function)}, which is no name of the allow-list; refused")
        known = self.calls.get(function)
        return Record(function, args) if known is None else known(args)

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
        if isinstance(target, Record):
            target.state = state
        elif not isinstance(target, dict):
            raise CheckpointError(f"a state for {type(target).__name__}")


def describe(value: Any) -> str:
    """A value in an error message. Printing a nested value may take time exponential in the file's length."""
    if isinstance(value, str | int | Global | Record):
        return f"{value!s:.60}" if isinstance(value, Global) else f"{value!r:.60}"
    return f"a {type(value).__name__}"


def hashable(key: Any) -> Any:
    """Keys are text, None, small integers or records, which hash by identity (enumeration members).

    Hashing nested tuples may take time exponential in their depth, and large integers and floats can be chosen to
    collide.
    """
    if not (key is None or isinstance(key, str | Record) or (isinstance(key, int) and abs(key) < 1 << 60)):
        raise CheckpointError(f"a key of type {type(key).__name__}")
    return key


# ---------------------------------------------------------------------------------------------------------------------
# One function for each opcode. Text opcodes of protocol 0 and 1, which PyTorch does not write, are absent: refused.


def _push(read: Callable[[Machine], Any]) -> Callable[[Machine], None]:
    def handler(m: Machine) -> None:
        value = read(m)  # may change which list the stack is
        m.stack.append(value)

    return handler


def _ignore(count: int) -> Callable[[Machine], None]:
    def handler(m: Machine) -> None:
        m.take(count)

    return handler


def _protocol(m: Machine) -> None:
    if (version := m.number("<B")) > 5:
        raise CheckpointError(f"pickle protocol {version} is unknown")


def _text(form: str) -> Callable[[Machine], None]:
    return _push(lambda m: str(m.take(m.number(form)), "utf-8", "surrogatepass"))


def _bytes(form: str) -> Callable[[Machine], None]:
    return _push(lambda m: m.take(m.number(form)))  # a view: a checkpoint's weights are not copied here


def _long(form: str) -> Callable[[Machine], None]:
    def read(m: Machine) -> int:
        count = m.number(form)
        if not 0 <= count <= LONG_BYTES:
            raise CheckpointError(f"an integer of {count} bytes")
        return int.from_bytes(m.take(count), "little", signed=True)

    return _push(read)


def _tuple(count: int) -> Callable[[Machine], None]:
    def handler(m: Machine) -> None:
        if len(m.stack) < count:
            raise IndexError
        values = tuple(m.stack[len(m.stack) - count :])
        del m.stack[len(m.stack) - count :]
        m.stack.append(values)

    return handler


def _mark(m: Machine) -> None:
    m.marks.append(m.stack)
    m.stack = []


def _put(form: str | None) -> Callable[[Machine], None]:
    def handler(m: Machine) -> None:
        m.memo[len(m.memo) if form is None else m.number(form)] = m.stack[-1]

    return handler


def _reduce(m: Machine) -> None:
    args = m.pop_tuple()
    m.stack.append(m.call(m.stack.pop(), args))


def _new(m: Machine) -> None:
    args, cls = m.pop_tuple(), m.stack.pop()
    if not isinstance(cls, Global):
        raise CheckpointError("an object of a class that is no name")
    m.stack.append(m.call(cls, args))


def _stack_global(m: Machine) -> None:
    name, module = m.stack.pop(), m.stack.pop()
    m.stack.append(m.name(module, name))


def _persistent(m: Machine) -> None:
    if m.persistent is None:
        raise CheckpointError("a persistent id outside a PyTorch storage")
    m.stack.append(m.persistent(m.stack.pop()))


def _one(method: str) -> Callable[[Machine], None]:
    """Opcodes that put one popped value, as a list, into what lies below."""

    def handler(m: Machine) -> None:
        value = m.stack.pop()
        getattr(m, method)(m.stack[-1], [value])

    return handler


def _many(method: str) -> Callable[[Machine], None]:
    def handler(m: Machine) -> None:
        values = m.pop_mark()
        getattr(m, method)(m.stack[-1], values)

    return handler


def _set_item(m: Machine) -> None:
    value, key = m.stack.pop(), m.stack.pop()
    m.set_items(m.stack[-1], [key, value])


def _build(m: Machine) -> None:
    state = m.stack.pop()
    m.build(m.stack[-1], state)


def _pop(m: Machine) -> None:
    m.stack.pop() if m.stack else m.pop_mark()


STOP = ord(".")
HANDLERS: dict[int, Callable[[Machine], None]] = {
    0x80: _protocol,
    0x95: _ignore(8),  # FRAME: lengths that a reader of memory does not need
    ord("N"): _push(lambda m: None),
    0x88: _push(lambda m: True),
    0x89: _push(lambda m: False),
    ord("K"): _push(lambda m: m.number("<B")),
    ord("M"): _push(lambda m: m.number("<H")),
    ord("J"): _push(lambda m: m.number("<i")),
    ord("G"): _push(lambda m: m.number(">d")),
    0x8A: _long("<B"),
    0x8B: _long("<i"),
    0x8C: _text("<B"),
    ord("X"): _text("<I"),
    0x8D: _text("<Q"),
    ord("C"): _bytes("<B"),
    ord("B"): _bytes("<I"),
    0x8E: _bytes("<Q"),
    ord("("): _mark,
    ord(")"): _push(lambda m: ()),
    0x85: _tuple(1),
    0x86: _tuple(2),
    0x87: _tuple(3),
    ord("t"): _push(lambda m: tuple(m.pop_mark())),
    ord("]"): _push(lambda m: []),
    ord("}"): _push(lambda m: {}),
    0x8F: _push(lambda m: set()),
    ord("a"): _one("extend"),
    ord("e"): _many("extend"),
    ord("s"): _set_item,
    ord("u"): _many("set_items"),
    0x90: _many("add"),
    ord("c"): _push(lambda m: m.name(m.line(), m.line())),
    0x93: _stack_global,
    ord("R"): _reduce,
    0x81: _new,
    ord("b"): _build,
    ord("Q"): _persistent,
    ord("q"): _put("<B"),
    ord("r"): _put("<I"),
    0x94: _put(None),
    ord("h"): _push(lambda m: m.memo[m.number("<B")]),
    ord("j"): _push(lambda m: m.memo[m.number("<I")]),
    ord("0"): _pop,
}
