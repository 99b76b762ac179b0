"""Pickles and their containers written opcode by opcode, as hostile or as sound as a test wants them."""

import io
import json
import pickle
import struct
import zipfile

HEAD, STOP = b"\x80\x04", b"."


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value):
    data = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def put(index, opcodes):
    return opcodes + b"r" + struct.pack("<I", index)


def get(index):
    return b"j" + struct.pack("<I", index)


def many(opcodes):
    return b"](" + b"".join(opcodes) + b"e"


def pairs(items):
    """A dictionary of (opcodes of a key, opcodes of its value)."""
    return b"}(" + b"".join(key + value for key, value in items) + b"u"


def named(**items):
    return pairs((text(key), value) for key, value in items.items())


def call(module, name, *args):
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(args) + b"tR"


def module(parameters=b"}", modules=b"}", **more):
    state = named(_parameters=parameters, _buffers=b"}", _modules=modules, **more)
    return b"ctorch.nn.modules.module\nModule\n)\x81" + state + b"b"


def plain(value):
    """Opcodes of a plain value; no memo, so that pieces can be put together."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, 2)
    pickler.fast = True
    pickler.dump(value)
    return buffer.getvalue()[2:-1]


def file(root):
    return HEAD + root + STOP


def snapshot(generator):
    return file(named(G_ema=generator))


def again(opcodes, times, *, memo=b""):
    """The same opcodes many times, results dropped; ``memo`` makes what they share."""
    return file(memo + (opcodes + b"0") * times + b"N")


# -- tensors ----------------------------------------------------------------------------------------------------------


def storage(count=2, kind=b"FloatStorage"):
    identity = b"(X\x07\0\0\0storagectorch\n" + kind + b"\nX\x01\0\0\x000X\x03\0\0\0cpu" + number(count) + b"NtQ."
    magic = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
    header = pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    return (
        magic + header + b"\x80\x02" + identity + pickle.dumps(["0"], 2) + struct.pack("<q", count) + bytes(4 * count)
    )


def stored(stream):
    return b"B" + struct.pack("<I", len(stream)) + stream


def tensor(shape=b"K\x02\x85", strides=b"K\x01\x85", offset=b"K\0", data=None):
    data = call("torch.storage", "_load_from_bytes", stored(storage()) if data is None else data)
    return call("torch._utils", "_rebuild_tensor_v2", data, offset, shape, strides, b"\x89", b"}")


def ndarray(shape, code="f4", data=b""):
    kind = (
        call("numpy", "dtype", text(code), b"\x89", b"\x88") + b"(" + b"K\x03" + text("<") + b"NNNJ\xff\xff\xff\xff" * 1
    )
    kind += b"J\xff\xff\xff\xffK\0tb"
    made = call("numpy.core.multiarray", "_reconstruct", b"cnumpy\nndarray\n", b"K\0\x85", b"C\x01b")
    return made + b"(K\x01" + shape + kind + b"\x89" + b"B" + struct.pack("<I", len(data)) + data + b"tb"


def chain(levels, key, inner, wrap):
    """``inner`` inside ``levels`` dictionaries, all under one long key that the file has once."""
    value = inner
    for _ in range(levels):
        value = wrap(pairs([(get(0), value)]))
    return put(0, text(key)) + b"0" + value


def laughs(levels=40):
    made = put(100, b"]")
    for i in range(levels):
        made += b"0" + put(101 + i, b"](" + get(100 + i) * 2 + b"e")
    return made


# -- containers ------------------------------------------------------------------------------------------------------


def zipped(parts, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in parts:
            archive.writestr(name, data)
    return buffer.getvalue()


def overlapping():
    """Two names for the same megabyte: more bytes come out than went in."""
    data = bytearray(zipped([("a/data.pkl", file(b"N")), ("a/data/0", bytes(1_000_000)), ("a/data/1", b"")]))
    first, second = data.find(b"a/data/0"), data.rfind(b"a/data/1")
    entry, source = second - 46, data.rfind(b"a/data/0") - 46
    data[entry + 16 : entry + 28] = data[source + 16 : source + 28]
    data[entry + 42 : entry + 46] = struct.pack("<I", first - 30)
    return bytes(data)


def safetensors_file(header, data=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + data
