"""Whisper's encoder out of files laid out as Hugging Face publishes them, made here with random numbers."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from converters import whisper as converter
from converters.errors import CheckpointError
from jax_talker.audio.whisper import Whisper
from jax_talker.networks.whisper import WhisperEncoder, shapes

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
WIDTH, HIDDEN, LAYERS = 128, 96, 2


def fake(prefix="model.", dtype=np.float32):
    """Encoder and the beginning of a decoder, of two layers."""
    rng = np.random.default_rng(0)
    layer = {
        **{f"self_attn.{n}_proj.weight": (WIDTH, WIDTH) for n in ("q", "k", "v", "out")},
        **{f"self_attn.{n}_proj.bias": (WIDTH,) for n in ("q", "v", "out")},
        **{f"{n}.{p}": (WIDTH,) for n in ("self_attn_layer_norm", "final_layer_norm") for p in ("weight", "bias")},
        **{"fc1.weight": (HIDDEN, WIDTH), "fc1.bias": (HIDDEN,), "fc2.weight": (WIDTH, HIDDEN), "fc2.bias": (WIDTH,)},
    }
    encoder = {
        **{"conv1.weight": (WIDTH, 80, 3), "conv1.bias": (WIDTH,), "conv2.weight": (WIDTH, WIDTH, 3)},
        **{"conv2.bias": (WIDTH,), "embed_positions.weight": (100, WIDTH)},
        **{"layer_norm.weight": (WIDTH,), "layer_norm.bias": (WIDTH,)},
        **{f"layers.{i}.{name}": shape for i in range(LAYERS) for name, shape in layer.items()},
    }
    decoder = {f"layers.{i}.{name}": shape for i in range(LAYERS) for name, shape in layer.items()}
    both = {
        f"{prefix}{half}.{n}": s for half, part in (("encoder", encoder), ("decoder", decoder)) for n, s in part.items()
    }
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in both.items()}


def saved(tmp_path, state):
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(state, path, metadata={"format": "pt"})
    return path


def test_program_converts_and_the_extractor_opens_it(tmp_path):
    saved(tmp_path, state := fake())
    command = [sys.executable, "-m", "converters", "whisper", "model.safetensors", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "--config.data.features=whisper --config.data.features_weights=out" in done.stdout
    own = Whisper(tmp_path / "out")
    assert own.num_features == WIDTH
    assert own.extract(np.zeros(16_000, np.float32)).shape == (50, WIDTH)
    up = own._weights["layer1"]["up"]["kernel"]
    np.testing.assert_array_equal(up, state["model.encoder.layers.1.fc1.weight"].T)
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT, timeout=600)
    assert again.returncode == 2
    assert "exists already" in again.stderr


@pytest.mark.parametrize(("prefix", "dtype"), [("", np.float32), ("model.", np.float16), ("module.model.", np.float32)])
def test_names_may_begin_with_anything_and_half_stays_half(tmp_path, prefix, dtype):
    found = converter.convert(saved(tmp_path, fake(prefix, dtype)))
    wanted = shapes(WhisperEncoder(WIDTH, LAYERS, HIDDEN, 2, 80, 100))
    assert {name: array.shape for name, array in found.items()} == wanted
    assert {array.dtype for array in found.values()} == {np.dtype(dtype)}


def encoder(state):
    return {name.removeprefix("model.encoder."): a for name, a in state.items() if name.startswith("model.encoder.")}


KEPT = {
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "DataParallel": lambda s: {"model": {f"module.{name}": a for name, a in s.items()}, "args": {"lr": 0.1}},
    "halves apart": lambda s: {"encoder": encoder(s), "decoder": {"layers.0.fc1.weight": np.zeros(3, np.float32)}},
    "two levels down": lambda s: {"checkpoint": {"model": s}},
    "beside part of it": lambda s: {"model": s, "exp_avg": {"model.encoder.layers.1.fc1.weight": np.zeros(3)}},
}


@pytest.mark.parametrize("kept", KEPT.values(), ids=KEPT.keys())
def test_found_wherever_it_lies(tmp_path, kept):
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(pickle.dumps(kept(fake()), 4))
    found, plain = converter.convert(path), converter.convert(saved(tmp_path, fake()))
    assert found.keys() == plain.keys()
    for name, array in plain.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_encoders_of_two_sizes_are_refused(tmp_path):
    smaller = {name: a for name, a in fake().items() if ".layers.1." not in name}
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(pickle.dumps({"base": fake(), "tiny": smaller}, 4))
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin: holds encoders of 1 and of 2 layers"):
        converter.convert(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.pop("model.encoder.conv2.bias"), "has no tensor conv2.bias"),
        (lambda s: s.update({"model.encoder.extra.weight": np.zeros(3)}), "nothing uses: extra.weight"),
        (lambda s: s.update({"model.encoder.conv1.weight": np.zeros((WIDTH, 80, 5))}), "has shape"),
        (lambda s: s.update({"model.encoder.conv1.weight": np.zeros((100, 80, 3))}), "has shape"),
        (lambda s: s.update({"model.encoder.layers.0.fc1.bias": np.zeros(0)}), r"layers\.0\.fc1\.bias \(0,\)"),
        (lambda s: s["model.encoder.layer_norm.bias"].fill(np.nan), "not finite"),
        (lambda s: s.update({"model.encoder.layer_norm.bias": np.full(WIDTH, 1e300)}), "not finite"),
        (lambda s: [s.pop(n) for n in list(s) if "encoder.layers.0." in n], "has layers 1 … 1"),
        (lambda s: [s.pop(n) for n in list(s) if "encoder" in n], "has no encoder as Whisper"),
    ],
)
def test_other_files_are_refused(tmp_path, spoil, message):
    state = fake()
    spoil(state)
    with pytest.raises(CheckpointError, match=message):
        converter.convert(saved(tmp_path, state))
