"""The checkpoint reader: what it reads, what it refuses, and that nothing in a file is ever executed."""

import collections
import io
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from converters import checkpoint as checkpoints
from converters.budget import LIMITS
from converters.errors import CheckpointError
from converters.pickle_machine import Global, Machine, Record
from converters.tensors import Storage, Tensor
from converters.torch_files import read_modules

sys.path.insert(0, str(Path(__file__).parent))  # the file beside this one; importlib mode knows no packages of tests
from streams import Touch, modules_with_storage, storage_stream

GSGAN_FILES = ("gsgan_mini", "gsgan_mini_cuda0", "gsgan_mini_torch113", "gsgan_mini_torch113_cuda0")


def snapshot(shared, name):
    if name == "gghead":
        return next((shared / "golden" / "gghead" / "run").glob("*/checkpoints/*.pkl"))
    return shared / "golden" / "gsgan" / f"{name}.pkl"


def state_file(shared, name):
    folder = shared / "golden" / ("gghead" if name == "gghead" else "gsgan/mini")
    return dict(np.load(folder / "state_dict.npz"))


class TestGolden:
    @pytest.mark.parametrize("name", ["gghead", *GSGAN_FILES])
    def test_tensors_are_bit_identical(self, shared, name):
        found = checkpoints.read(snapshot(shared, name))
        assert found.layout == "modules"
        assert set(checkpoints.networks(found)) == {"G", "D", "G_ema"}
        arrays = checkpoints.arrays(checkpoints.state(checkpoints.ema_generator(found)), found)
        expected = state_file(shared, name)
        # GGHead's background colours are buffers that its state_dict leaves out.
        assert set(arrays) - set(expected) == ({"_gaussian_bg", "_gaussian_bg_train"} if name == "gghead" else set())
        for key, array in expected.items():
            assert arrays[key].dtype == array.dtype
            np.testing.assert_array_equal(arrays[key], array, err_msg=key)

    def test_the_generator_in_training_is_another(self, shared):
        found = checkpoints.networks(checkpoints.read(snapshot(shared, "gghead")))
        one, two = (checkpoints.state(found[key])["backbone.synthesis.b4.const"].array() for key in ("G", "G_ema"))
        assert np.abs(one - two).max() > 0

    def test_options(self, shared):
        generator = checkpoints.ema_generator(checkpoints.read(snapshot(shared, "gghead")))
        options = checkpoints.plain(generator.state["_config"])
        assert options["uv_attributes"] == ["POSITION", "SCALE", "ROTATION", "COLOR", "OPACITY"]
        assert options["synthesis_network_config"]["channel_max"] == 24

    def test_progress_ends_at_the_length(self, shared):
        seen = []
        found = checkpoints.read(snapshot(shared, "gghead"), lambda done, total: seen.append((done, total)))
        assert seen[-1] == (found.bytes, found.bytes)


class TestRefusals:
    def refused(self, tmp_path, data, match):
        path = tmp_path / "file.pkl"
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=match) as caught:
            checkpoints.read(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    def test_a_call_is_named_and_not_made(self, tmp_path, protocol):
        proof = tmp_path / "executed"
        data = pickle.dumps({"G_ema": Touch(proof)}, protocol)
        self.refused(tmp_path, data, r"global (posix|os)\.system is not one that a checkpoint needs")
        assert not proof.exists()
        pickle.loads(data)  # and the file does what it says when it is loaded carelessly
        assert proof.exists()

    @pytest.mark.parametrize(
        "name",
        [
            "builtins eval",
            "builtins exec",
            "builtins __import__",
            "torch load",
            "torch.hub load",
            "torch.nn.functional __globals__",
            "torch.serialization load",
            "torch_utils.persistence.x y.z",
            "numpy load",
            "numpy.core.multiarray frombuffer",
            "runpy run_path",
            "collections namedtuple",
            "functools partial",
            "operator attrgetter",
        ],
    )
    def test_other_names(self, tmp_path, name):
        module, attribute = name.split(" ")
        data = b"\x80\x02c" + f"{module}\n{attribute}\n".encode() + b")R."
        self.refused(tmp_path, data, r"is not one that a checkpoint needs")

    def test_getattr_looks_nothing_up(self, tmp_path):
        """builtins.getattr(torch.nn.functional.normalize, '__globals__') is how one would get at eval."""
        data = b"\x80\x02cbuiltins\ngetattr\nctorch.nn.functional\nnormalize\nX\x0b\0\0\0__globals__\x86R."
        self.refused(tmp_path, data, "getattr of '__globals__'")
        plain = data.replace(b"X\x0b\0\0\0__globals__", b"X\x04\0\0\0name")
        value = read_modules(plain)
        assert isinstance(value, Record)
        assert value.of == "getattr"

    def test_what_a_call_returns_cannot_be_called(self, tmp_path):
        data = b"\x80\x02cbuiltins\ngetattr\nctorch.nn.functional\nnormalize\nX\x04\0\0\0name\x86R)R."
        self.refused(tmp_path, data, r"a call of <record of getattr>")

    def test_embedded_source_is_ignored(self, tmp_path):
        proof = tmp_path / "executed"
        meta = {
            "type": "class",
            "version": 6,
            "module_src": f"open({str(proof)!r}, 'w')",
            "class_name": "Generator",
            "state": {"_parameters": {}, "_buffers": {}, "_modules": {}},
        }
        body = pickle.dumps(meta, 2)[2:-1]
        call = b"\x80\x02ctorch_utils.persistence\n_reconstruct_persistent_obj\n" + body + b"\x85R."
        found = read_modules(call)
        assert (checkpoints.class_name(found), checkpoints.state(found)) == ("Generator", {})
        assert not proof.exists()

    def test_nested_storages_are_read_with_the_same_care(self, tmp_path):
        proof = tmp_path / "executed"
        inner = pickle.dumps(Touch(proof), 2)
        stream = storage_stream(np.zeros(2, np.float32), replace_object=inner)
        self.refused(tmp_path, modules_with_storage(stream), r"system is not one that")
        assert not proof.exists()

    @pytest.mark.parametrize(
        ("data", "match"),
        [
            (b"", "not a file with anything in it"),
            (b"hello", "neither a pickle nor a zip"),
            (b"\x80\x04N", "the file ends where"),
            (b"\x80\x09N.", "protocol 9"),
            (b"\x80\x04\x82\x01.", "opcode 0x82"),
            (b"\x80\x04.", "in the middle of a value"),
            (b"\x80\x04(N.", "in the middle of a value"),
            (b"\x80\x04N.N.", "2 bytes follow the pickle"),
            (b"\x80\x04h\x05.", r"damaged pickle \(KeyError\)"),
            (b"\x80\x040.", r"damaged pickle \(IndexError\)"),
            (b"\x80\x04R.", r"damaged pickle \(IndexError\)"),
            (b"\x80\x04NNR.", "arguments that are no tuple"),
            (b"\x80\x04N)R.", "a call of a NoneType"),
            (b"\x80\x04NQ.", "persistent id outside"),
            (b"\x80\x04}]Ns.", "a key of type list"),
            (b"\x80\x04}(NNNu.", "items that are not pairs"),
            (b"\x80\x04\x8b\xff\xff\xff\x7f.", "an integer of 2147483647 bytes"),
            (b"\x80\x04X\xff\xff\xff\xff.", "4294967295 more bytes"),
            (b"\x80\x04\x8d" + b"\xff" * 8 + b".", "more bytes should follow"),
            (b"\x80\x04X\x01\0\0\0\xff.", r"damaged pickle \(UnicodeDecodeError\)"),
            (b"\x80\x04NNb.", "a state for NoneType"),
        ],
    )
    def test_damage(self, tmp_path, data, match):
        self.refused(tmp_path, data, match)

    def test_opcode_bombs_end(self, tmp_path, monkeypatch):
        monkeypatch.setitem(LIMITS, "pickle opcodes", 1000)
        self.refused(tmp_path, b"\x80\x04" + b"]" * 2000, "more than 1,000 pickle opcodes")

    def test_a_huge_memo_index_costs_nothing(self):
        assert Machine(b"\x80\x04Nr\xff\xff\xff\xff.").run() is None

    def test_nested_sharing_is_not_walked(self):
        """A billion laughs: ((…), (…)) of the same tuple, 60 deep. Printing, hashing or copying it would never end."""
        laughs = b"]\x94" + b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86\x94" for i in range(60))
        with pytest.raises(CheckpointError, match="a call of a tuple"):
            Machine(b"\x80\x04" + laughs + b")R.").run()
        with pytest.raises(CheckpointError, match="a key of type tuple"):
            Machine(b"\x80\x04" + laughs + b"}h\x3cNs.").run()
        with pytest.raises(CheckpointError, match="more than 200,000 values"):
            checkpoints.plain(deep(60))


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value, value]
    return value


class TestModules:
    def module(self, **state):
        empty = {"_parameters": {}, "_buffers": {}, "_modules": {}}
        return Record(Global("torch.nn.modules.linear", "Linear"), state=empty | state)

    def test_wrong_root(self, tmp_path):
        path = tmp_path / "list.pkl"
        path.write_bytes(pickle.dumps([1, 2], 4))
        with pytest.raises(CheckpointError, match="holds list at its root"):
            checkpoints.ema_generator(checkpoints.read(path))

    def test_no_generator(self, tmp_path):
        path = tmp_path / "empty.pkl"
        path.write_bytes(pickle.dumps({"G": None, "training_set_kwargs": {}}, 4))
        with pytest.raises(CheckpointError, match=r"has no module G_ema \(its root has G, training_set_kwargs\)"):
            checkpoints.ema_generator(checkpoints.read(path))

    def test_modules_that_contain_themselves(self):
        module = self.module()
        module.state["_modules"]["again"] = module
        with pytest.raises(CheckpointError, match="deep"):
            checkpoints.state(module)

    def test_modules_that_share_exponentially(self, monkeypatch):
        monkeypatch.setitem(LIMITS, "modules", 1000)
        module = self.module()
        for _ in range(40):
            module = self.module(_modules={"a": module, "b": module})
        with pytest.raises(CheckpointError, match="more than 1,000 modules"):
            checkpoints.state(module)

    def test_parameters_that_are_no_tensors(self):
        with pytest.raises(CheckpointError, match="weight is no tensor"):
            checkpoints.state(self.module(_parameters={"weight": 3}))

    def test_more_bytes_than_the_file(self, tmp_path):
        tensor = Tensor(Storage("<f4", 10, bytes(40)), 0, (10,), (1,))
        file = checkpoints.Checkpoint(tmp_path, "modules", {}, 100, "")
        assert len(checkpoints.arrays({"a": tensor, "b": tensor}, file)) == 2
        with pytest.raises(CheckpointError, match="tensors of 120 bytes in a file of 100"):
            checkpoints.arrays({"a": tensor, "b": tensor, "c": tensor}, file)


def test_reading_needs_no_torch(shared, tmp_path):
    """A process that cannot import torch reads and converts."""
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from converters.__main__ import main\n"
        f"sys.exit(main(['gghead', {str(snapshot(shared, 'gghead'))!r}, {str(tmp_path / 'out')!r}]))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert (tmp_path / "out" / "params.safetensors").is_file()


def test_ordered_dictionaries_and_sets():
    value = collections.OrderedDict(a={1, 2}, b=[{"x"}])
    buffer = io.BytesIO()
    pickle.Pickler(buffer, 4).dump(value)
    assert read_modules(buffer.getvalue()) == {"a": {1, 2}, "b": [{"x"}]}
