"""The checkpoint reader: what it reads, what it refuses, and that nothing in a file is ever executed."""

import collections
import io
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest

from converters import checkpoint as checkpoints
from converters.errors import CheckpointError
from converters.pickle_machine import Global, Machine, Record
from converters.tensors import Storage, Tensor
from converters.torch_files import LegacyStream, read_modules

GSGAN_FILES = ("gsgan_mini", "gsgan_mini_cuda0", "gsgan_mini_torch113", "gsgan_mini_torch113_cuda0")


def snapshot(shared, name):
    if name == "gghead":
        return next((shared / "golden" / "gghead" / "run").glob("*/checkpoints/*.pkl"))
    return shared / "golden" / "gsgan" / f"{name}.pkl"


def state_file(shared, name):
    folder = shared / "golden" / ("gghead" if name == "gghead" else "gsgan/mini")
    return dict(np.load(folder / "state_dict.npz"))


class Touch:
    """Unpickled by pickle, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


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


@pytest.mark.torch
class TestTorchFiles:
    """What torch.save writes today, in both layouts."""

    @pytest.fixture(params=[True, False], ids=["zip", "legacy"])
    def save(self, request, tmp_path):
        torch = pytest.importorskip("torch")

        def save(value):
            path = tmp_path / "file.pth"
            torch.save(value, path, _use_new_zipfile_serialization=request.param)
            return path

        return save

    def test_state_dict(self, save):
        torch = pytest.importorskip("torch")
        module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
        found = checkpoints.read(save(module.state_dict()))
        for name, tensor in module.state_dict().items():
            np.testing.assert_array_equal(found.value[name].array(), tensor.numpy(), err_msg=name)

    def test_views_types_and_plain_values(self, save):
        torch = pytest.importorskip("torch")
        base = torch.arange(24.0).reshape(4, 6)
        value = {
            "transposed": base.T,
            "slice": base[1:3, ::2],
            "half": base.half(),
            "bfloat16": torch.tensor([1.0, -2.5, 1e30]).bfloat16(),
            "double": base.double(),
            "bytes": torch.tensor([1, 2, 255], dtype=torch.uint8),
            "bools": torch.tensor([True, False]),
            "scalar": torch.tensor(3),
            "empty": torch.zeros(0, 5),
            "parameter": torch.nn.Parameter(base),
            "nested": {"list": [1, 2.5, None, True, "text", (1, 2)], "big": 1 << 100},
        }
        found = checkpoints.read(save(value)).value
        for name, tensor in value.items():
            if isinstance(tensor, torch.Tensor):
                wanted = tensor.detach().float() if tensor.dtype == torch.bfloat16 else tensor.detach()
                np.testing.assert_array_equal(found[name].array(), wanted.numpy(), err_msg=name)
        assert found["nested"] == value["nested"]

    def test_whole_modules_are_recorded_not_made(self, save):
        torch = pytest.importorskip("torch")
        module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.GELU())
        found = checkpoints.read(save({"G_ema": module}))
        tensors = checkpoints.state(checkpoints.ema_generator(found))
        np.testing.assert_array_equal(tensors["0.weight"].array(), module[0].weight.detach().numpy())

    def test_an_expanded_tensor_is_refused(self, save):
        """Stride 0: a few bytes that claim to be terabytes."""
        torch = pytest.importorskip("torch")
        with pytest.raises(CheckpointError, match="reaches outside its storage"):
            checkpoints.read(save({"bomb": torch.zeros(1).expand(1 << 40)}))


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
            (b"\x80\x04I1\n.", "opcode 0x49"),
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
        monkeypatch.setattr("converters.pickle_machine.MAX_OPCODES", 1000)
        self.refused(tmp_path, b"\x80\x04" + b"]" * 2000, "more than 1000 pickle opcodes")

    def test_a_huge_memo_index_costs_nothing(self):
        assert Machine(b"\x80\x04Nr\xff\xff\xff\xff.").run() is None

    def test_nested_sharing_is_not_walked(self):
        """A billion laughs: ((…), (…)) of the same tuple, 60 deep. Printing, hashing or copying it would never end."""
        laughs = b"]\x94" + b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86\x94" for i in range(60))
        with pytest.raises(CheckpointError, match="a call of a tuple"):
            Machine(b"\x80\x04" + laughs + b")R.").run()
        with pytest.raises(CheckpointError, match="a key of type tuple"):
            Machine(b"\x80\x04" + laughs + b"}h\x3cNs.").run()
        with pytest.raises(CheckpointError, match="too deep or too many"):
            checkpoints.plain(deep(60))


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value, value]
    return value


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


class TestStorages:
    numbers = np.array([1.5, -2.0], np.float32)

    def test_round_trip(self):
        got = read_modules(modules_with_storage(storage_stream(self.numbers)))
        np.testing.assert_array_equal(got.array(), self.numbers)

    @pytest.mark.parametrize(
        ("layout", "match"),
        [
            (b"K\0K\x03\x85K\x01\x85", "reaches outside"),  # longer
            (b"K\x01K\x02\x85K\x01\x85", "reaches outside"),  # shifted
            (b"K\0K\x02\x85K\x02\x85", "reaches outside"),  # strided
            (b"K\0K\x64\x85K\0\x85", "reaches outside"),  # broadcast
            (b"J\xff\xff\xff\xffK\x02\x85K\x01\x85", "not natural numbers"),  # before the start
            (b"K\0K\x02\x85J\xff\xff\xff\xff\x85", "not natural numbers"),  # backwards
            (b"K\0G\0\0\0\0\0\0\0\0\x85K\x01\x85", "not natural numbers"),
            (b"K\0K\x02\x85)", "axes with 0 strides"),
            (b"K\0NK\x01\x85", "no storage with a shape"),
        ],
    )
    def test_views_beyond_the_numbers(self, layout, match):
        with pytest.raises(CheckpointError, match=match):
            read_modules(modules_with_storage(storage_stream(self.numbers), layout))

    @pytest.mark.parametrize(
        ("stream", "match"),
        [
            (storage_stream(numbers, kind="QInt8Storage"), "global torch.QInt8Storage"),
            (storage_stream(numbers, count=3), "ends inside a storage"),
            (storage_stream(numbers, count=1), "4 bytes follow the last storage"),
            (storage_stream(numbers, kind="DoubleStorage"), "ends inside a storage"),
            (storage_stream(numbers).replace(b"\x8a\nl", b"\x8a\nm"), "magic number"),
            (storage_stream(numbers).replace(b"M\xe9\x03.", b"M\xea\x03.", 1), "legacy format 1002"),
            (storage_stream(numbers).replace(b"\x88", b"\x89", 1), "big-endian"),
            (storage_stream(numbers, replace_object=b"\x80\x02N."), "does not match the tensors"),
            (b"", "the file ends"),
        ],
    )
    def test_damaged_streams(self, stream, match):
        with pytest.raises(CheckpointError, match=match):
            read_modules(modules_with_storage(stream))

    def test_legacy_file_with_a_call(self, tmp_path):
        proof = tmp_path / "executed"
        with pytest.raises(CheckpointError, match="system is not one"):
            LegacyStream(storage_stream(self.numbers, replace_object=pickle.dumps(Touch(proof), 2))).read()
        assert not proof.exists()


class TestZip:
    def archive(self, tmp_path, parts, compression=zipfile.ZIP_STORED):
        path = tmp_path / "file.pth"
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, data in parts:
                archive.writestr(name, data)
        return path

    def pickled(self, key=b"0", count=2):
        identity = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX" + struct.pack("<I", len(key)) + key
        identity += b"X\x03\0\0\0cpuJ" + struct.pack("<i", count) + b"tQ"
        return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + identity + b"K\0K\x02\x85K\x01\x85\x89NtR."

    def test_reads(self, tmp_path):
        data = np.array([1, 2], np.float32)
        path = self.archive(tmp_path, [("a/data.pkl", self.pickled()), ("a/data/0", data.tobytes())])
        np.testing.assert_array_equal(checkpoints.read(path).value.array(), data)

    @pytest.mark.parametrize(
        ("parts", "match"),
        [
            ([("a/other.pkl", b"")], "without exactly one data.pkl"),
            ([("a/data.pkl", None), ("b/data.pkl", None)], "without exactly one data.pkl"),
            ([("a/data.pkl", None)], "storage '0' is not in the zip"),
            ([("a/data.pkl", None), ("a/data/0", b"1234")], "has 4 bytes"),
            ([("a/data.pkl", None), ("a/data/0", bytes(8)), ("a/byteorder", b"big")], "big-endian"),
            ([("a/data.pkl", b"\x80\x02cos\nsystem\n.")], "global os.system"),
            ([("a/data.pkl", b"\x80\x02")], "the file ends"),
        ],
    )
    def test_damage(self, tmp_path, parts, match):
        parts = [(name, self.pickled() if data is None else data) for name, data in parts]
        with pytest.raises(CheckpointError, match=match):
            checkpoints.read(self.archive(tmp_path, parts))

    def test_names_that_climb_are_only_names(self, tmp_path):
        """A storage key is looked up among the parts, never on the disk."""
        path = self.archive(tmp_path, [("a/data.pkl", self.pickled(b"../../etc/passwd"))])
        with pytest.raises(CheckpointError, match="is not in the zip"):
            checkpoints.read(path)

    def test_compressed_parts_are_refused(self, tmp_path):
        parts = [("a/data.pkl", self.pickled()), ("a/data/0", bytes(1 << 20))]
        with pytest.raises(CheckpointError, match="compressed"):
            checkpoints.read(self.archive(tmp_path, parts, zipfile.ZIP_DEFLATED))

    def test_truncated(self, tmp_path):
        path = self.archive(tmp_path, [("a/data.pkl", self.pickled()), ("a/data/0", bytes(8))])
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(CheckpointError, match="damaged zip"):
            checkpoints.read(path)


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
        monkeypatch.setattr(checkpoints, "MAX_MODULES", 1000)
        module = self.module()
        for _ in range(40):
            module = self.module(_modules={"a": module, "b": module})
        with pytest.raises(CheckpointError, match="more than 1000 modules"):
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
