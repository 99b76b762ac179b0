"""DeepSpeech's coefficients, context, network and lengths, each beside the original's way to do it."""

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from audio.conftest import SMALL_DEEPSPEECH, random_deepspeech
from jax_talker.audio import deepspeech
from jax_talker.audio.deepspeech import DeepSpeech, as_int16, standardised, with_context
from jax_talker.audio.extractor import Extractor
from jax_talker.audio.mfcc import mfcc
from jax_talker.data.read.audio import load_sound
from jax_talker.errors import UserError
from jax_talker.networks import deepspeech as network

SMALL = SMALL_DEEPSPEECH


@pytest.fixture(scope="module")
def folder(tiny_deepspeech):
    return tiny_deepspeech


@pytest.fixture
def noise():
    return (0.1 * np.random.default_rng(3).standard_normal(48_000)).astype(np.float32)


@pytest.mark.parametrize("name", ["Obama_5s.wav", "RD_Radio31_000.wav"])
def test_coefficients_are_python_speech_features(shared, name):
    reference = pytest.importorskip("python_speech_features", reason="needs the test extra")
    sound = as_int16(load_sound(shared / "clips" / name))
    np.testing.assert_allclose(mfcc(sound), reference.mfcc(sound, 16_000, numcep=26), atol=1e-5)


@settings(max_examples=30)
@given(st.integers(1, 3000), st.booleans())
def test_coefficients_of_any_length_and_of_silence(samples, silent):
    reference = pytest.importorskip("python_speech_features", reason="needs the test extra")
    sound = np.random.default_rng(samples).integers(-3000, 3000, samples).astype(np.int16) * (not silent)
    sound = sound.astype(np.int16)
    np.testing.assert_allclose(mfcc(sound), reference.mfcc(sound, 16_000, numcep=26), atol=1e-5)


@pytest.mark.parametrize("steps", [1, 5, 19, 100])
def test_context_and_standardisation_are_adnerfs(steps):
    coefficients = 5 * np.random.default_rng(0).standard_normal((steps, 26)) + 3
    padded = np.concatenate([np.zeros((9, 26)), coefficients, np.zeros((9, 26))])
    stacked = np.stack([padded[i : i + 19].ravel() for i in range(steps)])
    want = (stacked - stacked.mean()) / stacked.std()
    got = standardised(coefficients)
    np.testing.assert_allclose(with_context(got, 0, steps), want, atol=1e-5)  # float32
    np.testing.assert_array_equal(with_context(got, steps // 2, steps), with_context(got, 0, steps)[steps // 2 :])


@pytest.mark.torch
def test_the_network_is_tensorflows(folder, noise):
    """Beside torch's own LSTM: gates reordered from i, j, f, o to i, f, g, o, one added to the forget gate's bias."""
    torch = pytest.importorskip("torch")
    own = DeepSpeech(folder)
    weights = {name: torch.from_numpy(array) for name, array in random_deepspeech().items()}
    inputs = with_context(standardised(mfcc(as_int16(noise))[::2]), 0, 150)

    def dense(name, x):
        return x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]

    lstm = torch.nn.LSTM(SMALL.third, SMALL.cell, bidirectional=True)
    for name, suffix in (("forward", ""), ("backward", "_reverse")):
        kernel, bias = weights[f"{name}/kernel"].T, weights[f"{name}/bias"]
        i, j, f, o = (torch.arange(n * SMALL.cell, (n + 1) * SMALL.cell) for n in range(4))
        order = torch.cat([i, f, j, o])
        forget = torch.zeros(4 * SMALL.cell)
        forget[SMALL.cell : 2 * SMALL.cell] = 1
        with torch.no_grad():
            getattr(lstm, f"weight_ih_l0{suffix}").copy_(kernel[order, : SMALL.third])
            getattr(lstm, f"weight_hh_l0{suffix}").copy_(kernel[order, SMALL.third :])
            getattr(lstm, f"bias_ih_l0{suffix}").copy_(bias[order] + forget)
            getattr(lstm, f"bias_hh_l0{suffix}").zero_()
    with torch.no_grad():
        x = torch.from_numpy(inputs)
        for name in ("dense1", "dense2", "dense3"):
            x = dense(name, x).clamp(0, 20)
        want = dense("dense6", dense("dense5", lstm(x)[0]).clamp(0, 20)).numpy()
    got = own._logits(inputs)  # filled up to 500 steps
    assert want.std() > 0.05
    np.testing.assert_allclose(got, want, atol=1e-5)
    np.testing.assert_allclose(own.extract(noise), want, atol=1e-5)


def test_units_are_clipped_at_20():
    weights = {name: 100 * np.abs(array) for name, array in random_deepspeech().items()}
    tree = {}
    for name, array in weights.items():
        tree.setdefault(name.split("/")[0], {})[name.split("/")[1]] = jnp.asarray(array)
    huge = network.logits(tree, jnp.full((3, 494), 100.0), jnp.ones(3, bool))
    want = 20 * weights["dense6/kernel"].sum(0) + weights["dense6/bias"]
    np.testing.assert_allclose(huge, np.broadcast_to(want, huge.shape), rtol=1e-5)


def test_a_long_sound_is_heard_in_parts(folder, monkeypatch, noise):
    own = DeepSpeech(folder)
    assert isinstance(own, Extractor)
    whole = own.extract(noise)
    monkeypatch.setattr(deepspeech, "LONGEST", 80)
    monkeypatch.setattr(deepspeech, "MARGIN", 30)
    parts = own.extract(noise)
    assert parts.shape == whole.shape == (150, 29)
    assert 0 < np.abs(parts - whole).max() < 5e-3  # random LSTMs forget fast: 0.003 is left after 30 steps
    monkeypatch.setattr(deepspeech, "MARGIN", 0)
    assert np.abs(own.extract(noise) - whole).max() > 1e-2


@pytest.mark.parametrize("samples", [0, 100, 161, 399, 401, 16_000, 16_170])
def test_any_length(folder, samples):
    features = DeepSpeech(folder).extract(np.zeros(samples, np.float32))
    assert features.shape == (round(samples / 320), 29)
    assert np.isfinite(features).all()


def test_missing_or_wrong_weights_are_said(tmp_path, folder):
    with pytest.raises(UserError, match=r"no DeepSpeech 0\.1\.0 weights; get deepspeech-0_1_0-b90017e8\.pb"):
        DeepSpeech(tmp_path)
    arrays = random_deepspeech()
    safetensors.numpy.save_file({**arrays, "dense2/bias": np.zeros(3, np.float32)}, tmp_path / network.FILE)
    with pytest.raises(UserError, match="dense2/bias is"):
        DeepSpeech(tmp_path)
    safetensors.numpy.save_file({"dense1/kernel": np.zeros(3, np.float32)}, tmp_path / network.FILE)
    with pytest.raises(UserError, match=r"holds no DeepSpeech 0\.1\.0"):
        DeepSpeech(tmp_path)
