"""Face recognition weights: files laid out as the three originals', made here with random numbers, against PyTorch."""

import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from networks.random_state import RandomState  # noqa: E402

from converters import idsim as converter  # noqa: E402
from converters.errors import CheckpointError  # noqa: E402
from jax_talker.networks import iresnet, weights_file  # noqa: E402

pytestmark = pytest.mark.torch
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
UNITS = {"curricularface": (3, 13, 30, 3), "irse50": (3, 4, 14, 3), "iresnet50": (3, 4, 14, 3)}
UNITS["iresnet100"] = UNITS["curricularface"]


def fake(net, seed=0):
    """Every tensor of the original; residual branches are weak, so that the sums of dozens of them stay in range."""
    return insightface(net, seed) if net.startswith("iresnet") else backbone(net, seed)


def backbone(net, seed):
    s = RandomState(seed)
    s.layer("input_layer.0", 64, 3, 3, 3)
    s.norm("input_layer.1", 64)
    s.slopes("input_layer.2", 64)
    k, inputs = 0, 64
    for width, count in zip((64, 128, 256, 512), UNITS[net], strict=True):
        for _ in range(count):
            u = f"body.{k}"
            if inputs != width:
                s.layer(f"{u}.shortcut_layer.0", width, inputs, 1, 1, gain=1)
                s.norm(f"{u}.shortcut_layer.1", width)
            s.norm(f"{u}.res_layer.0", inputs)
            s.layer(f"{u}.res_layer.1", width, inputs, 3, 3)
            s.slopes(f"{u}.res_layer.2", width)
            s.layer(f"{u}.res_layer.3", width, width, 3, 3, gain=0.1)
            s.norm(f"{u}.res_layer.4", width)
            if net == "irse50":
                s.layer(f"{u}.res_layer.5.fc1", width // 16, width, 1, 1)
                s.layer(f"{u}.res_layer.5.fc2", width, width // 16, 1, 1)
            k, inputs = k + 1, width
    s.norm("output_layer.0", 512)
    s.layer("output_layer.3", 512, 512 * 49, bias=True)
    s.norm("output_layer.4", 512, affine=net == "irse50")
    return s


def insightface(net, seed):
    s = RandomState(seed)
    s.layer("conv1", 64, 3, 3, 3)
    s.norm("bn1", 64)
    s.slopes("prelu", 64)
    inputs = 64
    for layer, (width, count) in enumerate(zip((64, 128, 256, 512), UNITS[net], strict=True), 1):
        for k in range(count):
            u = f"layer{layer}.{k}"
            s.norm(f"{u}.bn1", inputs)
            s.layer(f"{u}.conv1", width, inputs, 3, 3)
            s.norm(f"{u}.bn2", width)
            s.slopes(f"{u}.prelu", width)
            s.layer(f"{u}.conv2", width, width, 3, 3, gain=0.1)
            s.norm(f"{u}.bn3", width)
            if k == 0:
                s.layer(f"{u}.downsample.0", width, inputs, 1, 1, gain=1)
                s.norm(f"{u}.downsample.1", width)
            inputs = width
    s.norm("bn2", 512)
    s.layer("fc", 512, 512 * 49, bias=True)
    s.norm("features", 512)
    return s


@pytest.mark.parametrize(
    "net", ["curricularface", "irse50", "iresnet50", pytest.param("iresnet100", marks=pytest.mark.slow)]
)
def test_equals_torch(tmp_path, net):
    from converters.torch_reference import iresnet as reference

    state = fake(net)
    torch.save(state, tmp_path / "weights.pth")
    command = [sys.executable, "-m", "converters", "idsim", net, "weights.pth", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT, timeout=600)
    assert done.returncode == 0, done.stderr
    params = weights_file.load(tmp_path / "out" / iresnet.FILES[net], iresnet.shapes(net), net)
    faces = np.random.default_rng(1).random((2, 112, 112, 3), np.float32) * 2 - 1
    with torch.no_grad():
        want = reference.embedding(state, torch.from_numpy(faces).permute(0, 3, 1, 2)).numpy()
    got = iresnet.network(net).apply({"params": params}, jnp.asarray(faces))
    assert want.std() > 0.1
    assert np.abs(want[0] - want[1]).max() > 0.1
    # float32 sums over up to 25,088 products, about 100 layers deep, taken in another order
    np.testing.assert_allclose(np.asarray(got), want, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("net", list(UNITS))
def test_every_tensor_is_read_once(net):
    names = list(converter._tensors(converter.names_of(net), iresnet.shapes(net), net))
    assert len(names) == len(set(names))
    assert {name for name in fake(net) if not name.endswith("num_batches_tracked")} == set(names)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.pop("fc.bias"), "has no tensor fc.bias"),
        (lambda s: s.update({"body.0.res_layer.0.weight": torch.zeros(64)}), "nothing uses: body.0"),
        (lambda s: s.update({"prelu.weight": torch.zeros(32)}), "prelu.weight has shape"),
        (lambda s: s.update({"layer4.2.conv2.weight": torch.zeros(512, 512, 1, 1)}), "has shape"),
        (lambda s: s["bn2.bias"].fill_(float("inf")), "not finite"),
    ],
)
def test_other_files_are_refused(tmp_path, spoil, message):
    state = fake("iresnet50")
    spoil(state)
    torch.save(state, tmp_path / "backbone.pth")
    with pytest.raises(CheckpointError, match=message):
        converter.convert("iresnet50", tmp_path / "backbone.pth")


def test_another_familys_file_is_refused(tmp_path):
    torch.save(fake("irse50"), tmp_path / "model_ir_se50.pth")
    with pytest.raises(CheckpointError, match="has no tensor"):
        converter.convert("curricularface", tmp_path / "model_ir_se50.pth")
