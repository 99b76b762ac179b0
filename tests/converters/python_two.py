"""What ``torch.save`` of PyTorch 0.4 wrote under Python 2, byte by byte: the layout of LPIPS' published heads."""

import struct

MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
SYSTEM = {"protocol_version": 1001, "type_sizes": {"int": 4, "short": 2, "long": 4}, "little_endian": True}


class Long(int):
    """Python 2's long: a tensor's number of elements."""


class Ordered(list):
    """An OrderedDict: its members, [[name, value], …]. Python 2 hands them to the constructor."""


class Pickle:
    """Protocol 2 as cPickle writes it: strings are no unicode, and what may come again is remembered, from 1 on."""

    def __init__(self):
        self.data = b"\x80\x02"
        self.memo = {}

    def remember(self, what, opcodes):
        """These opcodes, or, the second time, where they were remembered."""
        if what in self.memo:
            self.place(b"h", b"j", self.memo[what])
        else:
            self.data += opcodes
            self.keep(what)

    def keep(self, what=None):
        place = len(self.memo) + 1
        self.memo[place if what is None else what] = place
        self.place(b"q", b"r", place)

    def place(self, near, far, place):
        self.data += near + bytes([place]) if place < 256 else far + struct.pack("<I", place)

    def text(self, value):
        data = value.encode()
        short = len(data) < 256
        opcodes = (b"U" + bytes([len(data)]) if short else b"T" + struct.pack("<i", len(data))) + data
        if len(data) < 2:  # not worth it
            self.data += opcodes
        else:
            self.remember(("text", value), opcodes)

    def name(self, module, name):
        self.remember(("name", module, name), f"c{module}\n{name}\n".encode())

    def write(self, value):
        match value:
            case str():
                self.text(value)
            case bool() | None:
                self.data += {True: b"\x88", False: b"\x89", None: b"N"}[value]
            case Long():
                data = value.to_bytes(value.bit_length() // 8 + 1, "little")
                self.data += b"\x8a" + bytes([len(data)]) + data
            case int():
                self.data += b"K" + bytes([value]) if value < 256 else b"M" + struct.pack("<H", value)
            case tuple():
                self.data += b"("
                self.all(value)
                self.data += b"t"
            case Ordered():
                self.name("collections", "OrderedDict")
                self.write([[name, item] for name, item in value])
                self.data += b"\x85R"
                self.keep()
            case list():
                self.container(b"]", value, (b"a", b"e"))
            case dict():
                self.container(b"}", value.items(), (b"s", b"u"))
            case _:
                self.tensor(value)

    def all(self, values):
        for value in values:
            self.write(value)

    def container(self, empty, values, ends):
        """Of one member without a mark, of several with one."""
        self.data += empty
        self.keep()
        self.data += b"(" if len(values) > 1 else b""
        for value in values:
            self.all(value) if empty == b"}" else self.write(value)
        self.data += ends[len(values) > 1] if values else b""

    def tensor(self, stored):
        """A key and an array: a contiguous tensor, its storage by a persistent id."""
        key, array = stored.key, stored.array
        self.name("torch._utils", "_rebuild_tensor_v2")
        self.data += b"(("
        self.text("storage")
        self.name("torch", "FloatStorage")
        self.all([key, "cuda:0", Long(array.size), None])
        self.data += b"tQ"
        strides = tuple(step // array.itemsize for step in array.strides)
        self.all([0, array.shape, strides, False, None])
        self.data += b"tR"
        self.keep()


class Stored:
    """An array under its storage's key, which was an address in memory."""

    def __init__(self, key, array):
        self.key, self.array = key, array


def pickled(value):
    made = Pickle()
    made.write(value)
    return made.data + b"."


def state_dict(arrays, modules):
    """A file of these float32 arrays by name, whose ``_metadata`` speaks of these modules.

    Storages lie behind the pickles in the order of their keys, as texts.
    """
    stored = {name: Stored(str(1933719376 - 7 * 10**6 * i), array) for i, (name, array) in enumerate(arrays.items())}
    made = Pickle()
    made.write(Ordered(stored.items()))
    made.write({"_metadata": Ordered((module, {"version": 1}) for module in modules)})
    by_key = {item.key: item.array for item in stored.values()}
    numbers = b"".join(struct.pack("<q", by_key[key].size) + by_key[key].tobytes() for key in sorted(by_key))
    return MAGIC + pickled(1001) + pickled(SYSTEM) + made.data + b"b." + pickled(sorted(by_key)) + numbers
