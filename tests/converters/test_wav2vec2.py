"""wav2vec2 and HuBERT as people keep them, with random numbers; beside PyTorch in tests/audio/test_wav2vec2.py."""

import pickle

import numpy as np
import pytest

from converters import wav2vec2 as converter
from converters.errors import CheckpointError
from jax_talker.networks.wav2vec2 import KERNELS, Wav2Vec2, shapes

WIDTH, HIDDEN, LAYERS, CHANNELS, TAPS, GROUPS = 128, 96, 2, 32, 16, 4


def fake(large=False, layers=LAYERS):
    """Tensors by the names of Hugging Face's encoder: large has the weight norm's new names."""
    rng = np.random.default_rng(layers)
    names = converter.NORMED[large]
    found = {f"{converter.CONV}.{i}.conv.weight": (CHANNELS, CHANNELS if i else 1, k) for i, k in enumerate(KERNELS)}
    for i in range(len(KERNELS)):
        found |= {f"{converter.CONV}.{i}.conv.bias": (CHANNELS,)} if large else {}
        if large or i == 0:
            found |= {f"{converter.CONV}.{i}.layer_norm.{part}": (CHANNELS,) for part in ("weight", "bias")}
    found |= {f"feature_projection.layer_norm.{part}": (CHANNELS,) for part in ("weight", "bias")}
    found |= {"feature_projection.projection.weight": (WIDTH, CHANNELS), "feature_projection.projection.bias": (WIDTH,)}
    found |= {f"{converter.POSITIONS}.{names[0]}": (1, 1, TAPS), f"{converter.POSITIONS}.bias": (WIDTH,)}
    found |= {f"{converter.POSITIONS}.{names[1]}": (WIDTH, WIDTH // GROUPS, TAPS)}
    found |= {f"encoder.layer_norm.{part}": (WIDTH,) for part in ("weight", "bias")}
    inner = {"intermediate_dense.weight": (HIDDEN, WIDTH), "intermediate_dense.bias": (HIDDEN,)}
    inner |= {"output_dense.weight": (WIDTH, HIDDEN)}
    for i in range(layers):
        for name in converter.LAYER_PLACES.values():
            shape = (WIDTH, WIDTH) if name.endswith("proj.weight") else (WIDTH,)
            found[f"encoder.layers.{i}.{name}"] = inner.get(name.removeprefix("feed_forward."), shape)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in found.items()}


def behind(prefix, tensors):
    return {f"{prefix}{name}": array for name, array in tensors.items()}


def converted(tmp_path, value):
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(value, 4))
    return converter.convert(tmp_path / "pytorch_model.bin")


KEPT = {
    "plain": lambda s: s,
    "DataParallel": lambda s: behind("module.", s),
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "both": lambda s: {"model": behind("module.wav2vec2.", s) | {"module.lm_head.weight": np.zeros(3, np.float32)}},
    "two levels down": lambda s: {"checkpoint": {"model": behind("hubert.", s)}, "args": {"lr": 0.1}},
    "twice, the same": lambda s: {"model": s, "ema": dict(s)},
    "beside part of it": lambda s: {
        "model": s,
        "optimizer": {"exp_avg": dict(list(behind("module.", s).items())[-1:])},
    },
}


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("kept", KEPT.values(), ids=KEPT.keys())
def test_found_wherever_it_lies(tmp_path, kept, large):
    """Its variant, too, is read off the names beside the layers."""
    found = converted(tmp_path, kept(fake(large)))
    wanted = shapes(Wav2Vec2(WIDTH, LAYERS, HIDDEN, WIDTH // converter.HEAD, CHANNELS, large, large, TAPS, GROUPS))
    assert {name: array.shape for name, array in found.items()} == wanted
    up = fake(large)["encoder.layers.1.feed_forward.intermediate_dense.weight"]
    np.testing.assert_array_equal(found["layer1/up/kernel"], up.T)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": fake(), "b": fake(layers=3)}, "holds encoders of 2 and of 3 layers; save the one that is meant"),
        ({"a": fake(), "b": fake(large=True)}, "has no tensor encoder.pos_conv_embed"),
        ({"a": fake(), "b": {n: 2 * a for n, a in fake().items()}}, r"twice, in a\.\* and in b\.\*"),
        ({"state_dict": {}}, "has no encoder as wav2vec2 or HuBERT"),
        ([fake()], "has no encoder"),
        (np.zeros(3, np.float32), "has no encoder"),
    ],
)
def test_other_files_are_refused(tmp_path, value, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        converted(tmp_path, value)
    assert "pytorch_model.bin" in str(caught.value)
