"""One function for each opcode of protocols 0 to 5. Extension codes and buffers outside the file are refused."""

import codecs
from collections.abc import Callable
from typing import Any

from converters.errors import CheckpointError
from converters.pickle_stack import Stack
from converters.pickle_values import Global, hashable

LONG_BYTES = 64  # longest integer; PyTorch's magic number has 10 bytes
DIGITS = 160  # of an integer in decimal


def _push(read: Callable[[Stack], Any]) -> Callable[[Stack], None]:
    def handler(m: Stack) -> None:
        value = read(m)  # may change which list the stack is
        m.stack.append(value)

    return handler


def _ignore(count: int) -> Callable[[Stack], None]:
    def handler(m: Stack) -> None:
        m.take(count)

    return handler


def _protocol(m: Stack) -> None:
    if (version := m.number("<B")) > 5:
        raise CheckpointError(f"pickle protocol {version} is unknown")


def _text(form: str) -> Callable[[Stack], None]:
    return _push(lambda m: str(m.take(m.number(form)), "utf-8", "surrogatepass"))


def _bytes(form: str) -> Callable[[Stack], None]:
    return _push(lambda m: m.take(m.number(form)))  # a view: a checkpoint's weights are not copied here


def _long(form: str) -> Callable[[Stack], None]:
    def read(m: Stack) -> int:
        count = m.number(form)
        if not 0 <= count <= LONG_BYTES:
            raise CheckpointError(f"an integer of {count} bytes")
        return int.from_bytes(m.take(count), "little", signed=True)

    return _push(read)


def _integer(m: Stack) -> int | bool:
    """Protocol 0; 00 and 01 are False and True, an L at the end marks Python 2's long."""
    text = m.line()
    if text in (b"00", b"01"):
        return text == b"01"
    if len(text) > DIGITS:
        raise CheckpointError(f"an integer of {len(text)} digits")
    return int(text.removesuffix(b"L"))


def _old_text(data: Any) -> Any:
    """Python 2's str: text where it can be, otherwise bytes (an array's numbers)."""
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        return memoryview(data)


def _quoted(m: Stack) -> Any:
    """Protocol 0: a string as Python writes it in source, escapes and all."""
    text = m.line(len(m.data))
    if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
        raise CheckpointError("a string without its quotation marks")
    return _old_text(codecs.escape_decode(text[1:-1])[0])


def _sized(form: str) -> Callable[[Stack], Any]:
    def read(m: Stack) -> Any:
        count = m.number(form)
        if count < 0:
            raise CheckpointError(f"a string of {count} bytes")
        return _old_text(m.take(count))

    return read


def _dict(m: Stack) -> dict:
    made: dict = {}
    m.set_items(made, m.pop_mark())
    return made


def _named(m: Stack) -> Global:
    return m.name(str(m.line(), "utf-8"), str(m.line(), "utf-8"))


def _instance(m: Stack) -> Any:
    """Protocol 0: a class by its name and arguments since the mark."""
    return m.call(_named(m), tuple(m.pop_mark()))


def _object(m: Stack) -> Any:
    """Protocol 1: a class and its arguments since the mark."""
    found = m.pop_mark()
    return m.call(found[0], tuple(found[1:]))


def _tuple(count: int) -> Callable[[Stack], None]:
    def handler(m: Stack) -> None:
        if len(m.stack) < count:
            raise IndexError
        values = tuple(m.stack[len(m.stack) - count :])
        del m.stack[len(m.stack) - count :]
        m.stack.append(values)

    return handler


def _mark(m: Stack) -> None:
    m.marks.append(m.stack)
    m.stack = []


def _put(index: Callable[[Stack], int]) -> Callable[[Stack], None]:
    def handler(m: Stack) -> None:
        m.memo[index(m)] = m.stack[-1]

    return handler


def _index(m: Stack) -> int:
    return int(m.line(16))


def _reduce(m: Stack) -> None:
    args = m.pop_tuple()
    m.stack.append(m.call(m.stack.pop(), args))


def _new(m: Stack) -> None:
    args, cls = m.pop_tuple(), m.stack.pop()
    if not isinstance(cls, Global):
        raise CheckpointError("an object of a class that is no name")
    m.stack.append(m.call(cls, args))


def _new_with_names(m: Stack) -> None:
    names, args, cls = m.stack.pop(), m.pop_tuple(), m.stack.pop()
    if not isinstance(names, dict) or not isinstance(cls, Global):
        raise CheckpointError("an object of a class that is no name")
    m.stack.append(m.call(cls, (*args, names) if names else args))


def _stack_global(m: Stack) -> None:
    name, module = m.stack.pop(), m.stack.pop()
    m.stack.append(m.name(module, name))


def _persistent(m: Stack) -> None:
    if m.persistent is None:
        raise CheckpointError("a persistent id outside a PyTorch storage")
    m.stack.append(m.persistent(m.stack.pop()))


def _one(method: str) -> Callable[[Stack], None]:
    """Opcodes that put one popped value, as a list, into what lies below."""

    def handler(m: Stack) -> None:
        value = m.stack.pop()
        getattr(m, method)(m.stack[-1], [value])

    return handler


def _many(method: str) -> Callable[[Stack], None]:
    def handler(m: Stack) -> None:
        values = m.pop_mark()
        getattr(m, method)(m.stack[-1], values)

    return handler


def _set_item(m: Stack) -> None:
    value, key = m.stack.pop(), m.stack.pop()
    m.set_items(m.stack[-1], [key, value])


def _build(m: Stack) -> None:
    state = m.stack.pop()
    m.build(m.stack[-1], state)


def _pop(m: Stack) -> None:
    m.stack.pop() if m.stack else m.pop_mark()


def _pop_mark(m: Stack) -> None:
    m.pop_mark()


STOP = ord(".")
HANDLERS: dict[int, Callable[[Stack], None]] = {
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
    0x91: _push(lambda m: {hashable(value) for value in m.pop_mark()}),  # frozenset
    ord("c"): _push(lambda m: _named(m)),
    0x93: _stack_global,
    ord("R"): _reduce,
    0x81: _new,
    ord("b"): _build,
    ord("Q"): _persistent,
    ord("q"): _put(lambda m: m.number("<B")),
    ord("r"): _put(lambda m: m.number("<I")),
    0x94: _put(lambda m: len(m.memo)),
    ord("h"): _push(lambda m: m.memo[m.number("<B")]),
    ord("j"): _push(lambda m: m.memo[m.number("<I")]),
    ord("0"): _pop,
    ord("1"): _pop_mark,
    ord("2"): _push(lambda m: m.stack[-1]),
    0x92: _new_with_names,
    0x96: _bytes("<Q"),  # a bytearray, in the file
    # Python 2, and protocols 0 and 1
    ord("U"): _push(_sized("<B")),
    ord("T"): _push(_sized("<i")),
    ord("S"): _push(_quoted),
    ord("V"): _push(lambda m: str(m.line(len(m.data)), "raw-unicode-escape")),
    ord("I"): _push(_integer),
    ord("L"): _push(_integer),
    ord("F"): _push(lambda m: float(m.line())),
    ord("l"): _push(lambda m: m.pop_mark()),
    ord("d"): _push(_dict),
    ord("i"): _push(_instance),
    ord("o"): _push(_object),
    ord("p"): _put(_index),
    ord("g"): _push(lambda m: m.memo[_index(m)]),
}
