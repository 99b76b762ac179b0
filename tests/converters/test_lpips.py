"""LPIPS weights: files as torchvision and the LPIPS package save them, made here with random numbers."""

import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from converters import lpips as converter
from converters.errors import CheckpointError
from jax_talker.networks import lpips

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}


def fake(net="alex", seed=0):
    """(backbone, linear) state dicts with the names and shapes of the real files."""
    generator = torch.Generator().manual_seed(seed)
    backbone, linear, taps, width = OrderedDict(), OrderedDict(), 0, 3
    for place, conv in zip(converter.PLACES[net], lpips.NETWORKS[net], strict=True):
        shape = (conv.features, width, conv.size, conv.size)
        backbone[f"features.{place}.weight"] = torch.randn(shape, generator=generator)
        backbone[f"features.{place}.bias"] = torch.randn(conv.features, generator=generator)
        width = conv.features
        if conv.tap:
            linear[f"lin{taps}.model.1.weight"] = torch.rand((1, width, 1, 1), generator=generator)
            taps += 1
    backbone["classifier.6.bias"] = torch.zeros(1000)
    return backbone, linear


@pytest.mark.parametrize("zipped", [True, False])
def test_program_converts_and_the_network_opens_it(tmp_path, zipped):
    backbone, linear = fake()
    for name, tensors in (("backbone.pth", backbone), ("linear.pth", linear)):
        torch.save(tensors, tmp_path / name, _use_new_zipfile_serialization=zipped)
    command = [sys.executable, "-m", "converters", "lpips", "alex", "backbone.pth", "linear.pth", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT, timeout=600)
    assert done.returncode == 0, done.stderr
    net, arrays = lpips.load(tmp_path / "out")
    assert net == "alex"
    np.testing.assert_array_equal(arrays["conv1/kernel"], backbone["features.3.weight"].permute(2, 3, 1, 0).numpy())
    np.testing.assert_array_equal(arrays["linear4"], linear["lin4.model.1.weight"].flatten().numpy())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda b: b.pop("features.3.bias"), "has no tensor features.3.bias"),
        (lambda b: b.update({"features.99.weight": torch.zeros(3)}), "nothing uses: features.99.weight"),
        (lambda b: b.update({"features.3.bias": torch.zeros(3)}), "has shape"),
        (lambda b: b["features.3.bias"].fill_(float("nan")), "not finite"),
        (lambda b: b.update({"features.3.bias": b["features.3.bias"].double().fill_(1e300)}), "not finite"),
    ],
)
def test_other_files_are_refused(tmp_path, spoil, message):
    backbone, linear = fake()
    spoil(backbone)
    torch.save(backbone, tmp_path / "backbone.pth")
    torch.save(linear, tmp_path / "linear.pth")
    with pytest.raises(CheckpointError, match=message):
        converter.convert("alex", tmp_path / "backbone.pth", tmp_path / "linear.pth")
