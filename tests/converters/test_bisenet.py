"""Face parsing weights: files laid out as 79999_iter.pth is, made here with random numbers."""

import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from converters import bisenet as converter
from converters.errors import CheckpointError
from jax_talker.errors import UserError
from jax_talker.networks import bisenet

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
# The whole of the original: every convolution with its shape, in the order of its state_dict, whether a batch norm
# follows, and that one's name.
RESNET = [("cp.resnet.conv1", (64, 3, 7, 7), "cp.resnet.bn1")]
for layer, (wide, narrow) in enumerate(((64, 64), (128, 64), (256, 128), (512, 256)), 1):
    for block in range(2):
        name = f"cp.resnet.layer{layer}.{block}"
        RESNET.append((f"{name}.conv1", (wide, narrow if block == 0 else wide, 3, 3), f"{name}.bn1"))
        RESNET.append((f"{name}.conv2", (wide, wide, 3, 3), f"{name}.bn2"))
        if layer > 1 and block == 0:
            RESNET.append((f"{name}.downsample.0", (wide, narrow, 1, 1), f"{name}.downsample.1"))
CONVOLUTIONS = [
    *RESNET,
    ("cp.arm16.conv.conv", (128, 256, 3, 3), "cp.arm16.conv.bn"),
    ("cp.arm16.conv_atten", (128, 128, 1, 1), "cp.arm16.bn_atten"),
    ("cp.arm32.conv.conv", (128, 512, 3, 3), "cp.arm32.conv.bn"),
    ("cp.arm32.conv_atten", (128, 128, 1, 1), "cp.arm32.bn_atten"),
    ("cp.conv_head32.conv", (128, 128, 3, 3), "cp.conv_head32.bn"),
    ("cp.conv_head16.conv", (128, 128, 3, 3), "cp.conv_head16.bn"),
    ("cp.conv_avg.conv", (128, 512, 1, 1), "cp.conv_avg.bn"),
    ("ffm.convblk.conv", (256, 256, 1, 1), "ffm.convblk.bn"),
    ("ffm.conv1", (64, 256, 1, 1), None),
    ("ffm.conv2", (256, 64, 1, 1), None),
    ("conv_out.conv.conv", (256, 256, 3, 3), "conv_out.conv.bn"),
    ("conv_out.conv_out", (19, 256, 1, 1), None),
    ("conv_out16.conv.conv", (64, 128, 3, 3), "conv_out16.conv.bn"),
    ("conv_out16.conv_out", (19, 64, 1, 1), None),
    ("conv_out32.conv.conv", (64, 128, 3, 3), "conv_out32.conv.bn"),
    ("conv_out32.conv_out", (19, 64, 1, 1), None),
]


def fake(seed=0):
    """A state_dict with every tensor of the original; statistics are such that activations keep their size."""
    generator = torch.Generator().manual_seed(seed)
    state = OrderedDict()
    for conv, shape, norm in CONVOLUTIONS:
        spread = (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        state[f"{conv}.weight"] = torch.randn(shape, generator=generator) * spread
        if norm:
            width = shape[0]
            state[f"{norm}.weight"] = 0.5 + torch.rand(width, generator=generator)
            state[f"{norm}.bias"] = 0.3 * torch.randn(width, generator=generator)
            state[f"{norm}.running_mean"] = 0.3 * torch.randn(width, generator=generator)
            state[f"{norm}.running_var"] = 0.5 + torch.rand(width, generator=generator)
            state[f"{norm}.num_batches_tracked"] = torch.tensor(80_000)
    return state


def converted(tmp_path, state):
    torch.save(state, tmp_path / "79999_iter.pth")
    bisenet_folder = tmp_path / "out"
    converter.save(bisenet_folder, converter.convert(tmp_path / "79999_iter.pth"))
    return bisenet_folder


@pytest.mark.parametrize("zipped", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_program_converts_and_the_network_opens_it(tmp_path, zipped):
    state = fake()
    torch.save(state, tmp_path / "79999_iter.pth", _use_new_zipfile_serialization=zipped)
    command = [sys.executable, "-m", "converters", "bisenet", "79999_iter.pth", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "--parsing out" in done.stdout
    weights = bisenet.load(tmp_path / "out")
    np.testing.assert_array_equal(
        weights["classes"]["kernel"][0, 0], state["conv_out.conv_out.weight"][:, :, 0, 0].T.numpy()
    )
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT, timeout=600)
    assert again.returncode == 2
    assert "exists already" in again.stderr


def test_every_tensor_is_used_once_or_left_out_on_purpose():
    used = [name for source in converter.sources().values() for name in converter._tensors(source)]
    assert len(used) == len(set(used))
    left = [name for name in fake() if name not in set(used)]
    assert all(converter.UNUSED.fullmatch(name) for name in left)
    assert not any(converter.UNUSED.fullmatch(name) for name in used)
    assert {name.split(".")[0] for name in left if "num_batches" not in name} == {"conv_out16", "conv_out32"}


def test_equals_torch(tmp_path):
    """Batch norms folded and kernels turned, the scores are PyTorch's with the batch norms as they are."""
    from converters.torch_reference import bisenet as reference

    state, size = fake(), 96
    weights = bisenet.load(converted(tmp_path, state))
    image = np.random.default_rng(1).random((2, size, size, 3), np.float32) * 4 - 2
    with torch.no_grad():
        want = reference.scores(state, torch.from_numpy(image).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    got = bisenet.enlarge(jnp.asarray(bisenet.BiSeNet().apply({"params": weights}, jnp.asarray(image))), size)
    assert want.std() > 0.1
    # float32 sums of up to 4608 products, 24 layers deep, taken in another order
    np.testing.assert_allclose(got, want, atol=3e-5 * np.abs(want).max())


def test_the_parser_sees_what_torch_sees(tmp_path):
    """From 8-bit pixels to classes: standardisation, enlargement and the choice of the highest score."""
    from converters.torch_reference import bisenet as reference

    state, size = fake(), 64
    folder = converted(tmp_path, state)
    picture = np.random.default_rng(2).integers(0, 256, (size, size, 3), np.uint8)
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        want = reference.scores(state, (pixels - mean) / std)[0].argmax(0).numpy()
    got = bisenet.load_parser(folder, size=size)(picture)
    assert got.dtype == np.uint8
    assert len(np.unique(want)) > 3
    assert (got != want).mean() < 1e-3  # two scores may be equal to the last bits


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.pop("ffm.conv1.weight"), "has no tensor ffm.conv1.weight"),
        (lambda s: s.update({"sp.conv1.conv.weight": torch.zeros(3)}), "nothing uses: sp.conv1.conv.weight"),
        (lambda s: s.update({"conv_out.conv_out.weight": torch.zeros(11, 256, 1, 1)}), "has shape"),
        (lambda s: s["cp.conv_avg.bn.bias"].fill_(float("nan")), "not finite"),
        (lambda s: s["cp.conv_avg.bn.running_var"].fill_(-1), "negative variances"),
    ],
)
def test_other_files_are_refused(tmp_path, spoil, message):
    state = fake()
    spoil(state)
    torch.save(state, tmp_path / "79999_iter.pth")
    with pytest.raises(CheckpointError, match=message):
        converter.convert(tmp_path / "79999_iter.pth")


def test_the_originals_file_is_not_taken_for_converted_weights(tmp_path):
    (tmp_path / "79999_iter.pth").write_bytes(b"PK")
    with pytest.raises(UserError, match="python -m converters bisenet"):
        bisenet.load(tmp_path / "79999_iter.pth")
