"""TensorFlow's GraphDef, written field by field, as hostile or as sound as a test wants it."""

import numpy as np

TYPES = {"float32": 1, "float64": 2, "int32": 3, "float16": 19}


def varint(value):
    out = bytearray()
    while True:
        out.append(value & 127 | (128 if value > 127 else 0))
        value >>= 7
        if not value:
            return bytes(out)


def field(number, value):
    """A field with a number, or with bytes (a message, a text)."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def shape(sizes):
    return b"".join(field(2, field(1, n)) for n in sizes)


def tensor(array, *, content=True, sizes=None):
    array = np.asarray(array)
    sizes = array.shape if sizes is None else sizes
    return field(1, TYPES[array.dtype.name]) + field(2, shape(sizes)) + field(4 if content else 5, array.tobytes())


def attribute(name, value):
    return field(5, field(1, name) + field(2, value))


def node(name, op, *inputs, attributes=b""):
    made = field(1, name) + field(2, op) + b"".join(field(3, i) for i in inputs) + attributes
    return field(1, made)


def constant(name, array, **how):
    """As TensorFlow freezes a variable: a Const, and an Identity that reads it."""
    own = attribute("dtype", field(6, 1)) + attribute("value", field(8, tensor(array, **how)))
    return node(name, "Const", attributes=own) + node(f"{name}/read", "Identity", name)


def graph(arrays):
    """A frozen graph that holds these constants among other nodes, and its versions behind them."""
    begin = node("input_node", "Placeholder", attributes=attribute("shape", field(7, shape((1, 16, 19, 26)))))
    text = node("alphabet", "Const", attributes=attribute("value", field(8, field(1, 7) + field(8, "a"))))
    filled = constant("zeros/Const", np.zeros(1, np.float32), content=False, sizes=(1, 2048))
    own = b"".join(constant(name, array) for name, array in arrays.items())
    return begin + text + filled + own + node("logits", "Reshape", "add") + field(4, field(1, 26))
