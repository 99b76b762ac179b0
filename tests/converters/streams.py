"""Hand-made pieces of checkpoints for the reader's tests, byte by byte."""

import os
import pickle
import struct


class Touch:
    """Unpickled by pickle, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def storage_stream(numbers, *, kind="FloatStorage", count=None, replace_object=None):
    """A legacy stream as torch writes it for one storage."""
    count = numbers.size if count is None else count
    identity = b"(X\x07\0\0\0storagectorch\n" + kind.encode() + b"\nX\x01\0\0\x000X\x03\0\0\0cpu"
    identity += b"J" + struct.pack("<i", count) + b"NtQ."
    parts = [
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
        pickle.dumps(1001, 2),
        pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {}}, 2),
        b"\x80\x02" + identity if replace_object is None else replace_object,
        pickle.dumps(["0"], 2),
        struct.pack("<q", count),
        numbers.tobytes(),
    ]
    return b"".join(parts)


def modules_with_storage(stream, layout=b"K\0K\x02\x85K\x01\x85"):
    """A pickle of one tensor with that storage; ``layout`` are the opcodes of offset, shape and strides."""
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(ctorch.storage\n_load_from_bytes\n"
    call += b"B" + struct.pack("<I", len(stream)) + stream + b"\x85R" + layout + b"\x89ccollections\nOrderedDict\n)RtR."
    return b"\x80\x04" + call
