"""LPIPS' heads as they were published: a legacy stream of Python 2."""

import io
import pickle
import pickletools
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from converters import checkpoint as checkpoints
from converters import lpips as converter
from converters.errors import CheckpointError
from jax_talker.networks import lpips

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode knows no packages of tests
import python_two

WIDTHS = [conv.features for conv in lpips.NETWORKS["alex"] if conv.tap]
LONG = "m" * 300  # a module's name, too long for the short form of a string


@pytest.fixture(scope="module")
def heads():
    """By the names of the published alex.pth."""
    rng = np.random.default_rng(0)
    return {f"lin{t}.model.1.weight": rng.random((1, n, 1, 1), np.float32) for t, n in enumerate(WIDTHS)}


@pytest.fixture
def path(heads, tmp_path):
    path = tmp_path / "alex.pth"
    path.write_bytes(python_two.state_dict(heads, ["", "lin0", "lin0.model", LONG]))
    return path


def test_the_stream_is_one(path):
    """Python's own tools find five pickles of protocol 2 with Python 2's opcodes, and the numbers behind them."""
    stream, names = io.BytesIO(path.read_bytes()), set()
    for _ in range(5):
        names |= {opcode.name for opcode, _, _ in pickletools.genops(stream)}
    assert {"SHORT_BINSTRING", "BINSTRING", "LONG1", "BINPERSID", "BUILD"} <= names
    assert not {"BINUNICODE", "SHORT_BINUNICODE", "FRAME"} & names
    assert len(stream.read()) == sum(8 + 4 * width for width in WIDTHS)


def test_read(path, heads):
    found = checkpoints.read(path)
    assert found.layout == "legacy"
    assert list(found.value) == list(heads)
    for name, array in heads.items():
        np.testing.assert_array_equal(found.value[name].array(), array, err_msg=name)


def test_the_converter_takes_the_heads(path, heads, tmp_path):
    rng = np.random.default_rng(1)
    backbone = {}
    for name, shape in lpips.shapes("alex").items():
        layer, _, part = name.partition("/")
        if part:
            place = converter.PLACES["alex"][int(layer.removeprefix("conv"))]
            shape = (shape[3], shape[2], *shape[:2]) if part == "kernel" else shape
            own = "weight" if part == "kernel" else "bias"
            backbone[f"features.{place}.{own}"] = rng.standard_normal(shape, np.float32)
    safetensors.numpy.save_file(backbone, tmp_path / "alexnet.safetensors")
    found = converter.convert("alex", tmp_path / "alexnet.safetensors", path)
    for t, array in enumerate(heads.values()):
        np.testing.assert_array_equal(found[f"linear{t}"], array.ravel())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"U\x07storage", b"U\x07storagf", "persistent id that is no storage"),
        (b"U\x06cuda:0", b"U\x06\xff\xfe\xfd\xfc\xfb\xfa", "key, location or length is damaged"),
        (b"T\x2c\x01\0\0", b"T\xff\xff\xff\xff", "a string of -1 bytes"),
        (b"FloatStorage", b"FloatStorags", r"torch\.FloatStorags"),
        (b"M\xe9\x03.", b"M\xea\x03.", "legacy format 1002"),
    ],
)
def test_damage(path, old, new, message):
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(CheckpointError, match=message):
        checkpoints.read(path)


def test_every_cut_is_refused(path):
    data = path.read_bytes()
    for length in np.linspace(1, len(data) - 1, 40, dtype=int):
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError):
            checkpoints.read(path)


def test_integers_and_strings_are_python_2s():
    """A check of the writer, by Python's own reader."""
    value = {"a": 1, "b": [1001, python_two.Long(1 << 40)], "c" * 300: (True, None), "d": {"a": "d"}}
    found = pickle.loads(python_two.pickled(value))
    assert found == value
