"""What torch.save writes, today's files and hand-damaged ones: storages, legacy streams, zips."""

import pickle
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from converters import checkpoint as checkpoints
from converters.errors import CheckpointError
from converters.torch_files import LegacyStream, read_modules

sys.path.insert(0, str(Path(__file__).parent))  # the file beside this one; importlib mode knows no packages of tests
from streams import Touch, modules_with_storage, storage_stream


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
