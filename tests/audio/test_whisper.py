"""Whisper's encoder: equal to the original on real speech, and one long sound as windows give it."""

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from converters import whisper as converter
from jax_talker.audio.extractor import Extractor
from jax_talker.audio.segments import segments
from jax_talker.audio.whisper import Whisper, log_mel
from jax_talker.data.read.audio import load_sound
from jax_talker.errors import UserError
from jax_talker.networks import whisper as network


@pytest.fixture(scope="module")
def golden(shared):
    with np.load(shared / "golden" / "whisper" / "obama_5s.npz") as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def speech(shared):
    return load_sound(shared / "clips" / "Obama_5s.wav")


@pytest.fixture(scope="module")
def base(shared, tmp_path_factory):
    """Whisper base with its real weights, converted here."""
    folder = tmp_path_factory.mktemp("weights")
    converter.save(folder, converter.convert(shared / "models" / "whisper_base_encoder.safetensors"))
    return Remembering(folder)


class Remembering(Whisper):
    """Hears the same 30 s once, which takes seconds each time."""

    def raw(self, wave):
        known = self.__dict__.setdefault("known", {})
        key = np.trim_zeros(wave, "b").tobytes()
        if key not in known:
            known[key] = super().raw(wave)
        return known[key]


def test_log_mel_is_whispers(golden, speech):
    got = log_mel(speech, 80, 3000)
    np.testing.assert_allclose(got.T, golden["mel"], atol=2e-5)  # float32 spectra; log10 / 4 of them


def test_real_weights_give_the_originals_features(golden, base, speech):
    """The golden numbers agree with CTranslate2's to 4e-4, where features reach 17."""
    got = base.raw(speech)
    assert got.shape == (1500, 512)
    np.testing.assert_allclose(got[:300], golden["features"], atol=1e-3)


def test_steps_are_the_originals_about_silence(golden, base, speech):
    features = base.extract(speech)
    seconds = len(speech) / 16_000
    assert isinstance(base, Extractor)
    assert features.shape == (round(50 * seconds), 512)
    gain = np.asarray(base._weights["norm"]["scale"])
    np.testing.assert_allclose(
        features[:200] * gain + base.raw(speech[:0]).mean(0), golden["features"][:200], atol=2e-3
    )
    assert 0.5 < features.std() < 2


def test_silence_is_zeros(tiny_whisper, monkeypatch):
    """In one window, in windows that overlap, in what is left of a room's noise, and beside speech."""
    monkeypatch.setattr("jax_talker.audio.whisper.MARGIN", 0.4)
    own = Whisper(tiny_whisper)
    assert np.abs(own.raw(np.zeros(0, np.float32)) - own._silence).max() > 0.1, "the network's own differs by place"
    for samples in (32_000, 20_000, 80_000):
        assert not own.extract(np.zeros(samples, np.float32)).any()
    noise = np.random.default_rng(0).standard_normal(80_000).astype(np.float32)
    assert not own.extract(np.float32(1e-5) * noise).any()
    beside = own.extract(np.float32(0.1) * noise * (np.arange(80_000) < 32_000))
    assert np.abs(beside[:105]).max(1).min() > 0.1
    assert not beside[105:].any()


@given(st.integers(0, 5000), st.sampled_from([(1500, 250), (100, 20), (100, 0)]))
def test_segments_keep_every_step_once_away_from_borders(steps, sizes):
    size, margin = sizes
    found = list(segments(steps, size, margin))
    kept = [i for _, own in found for i in range(own.start, own.stop)]
    assert kept == list(range(steps))
    for number, (start, own) in enumerate(found):
        assert start <= own.start < own.stop <= start + size
        assert own.start - start >= margin or own.start == 0
        assert start + size - own.stop >= margin or number == len(found) - 1
    assert len(found) <= 1 + max(0, steps - 1) // (size - 2 * margin)


def test_a_long_sound_is_heard_in_windows(tiny_whisper, monkeypatch):
    """5 s through a network that sees 2 s: each step is what its own window gives."""
    monkeypatch.setattr("jax_talker.audio.whisper.MARGIN", 0.4)
    own = Whisper(tiny_whisper)
    wave = (0.1 * np.random.default_rng(1).standard_normal(80_000)).astype(np.float32)
    features = own.extract(wave)
    assert features.shape == (250, 64)
    for start, kept in ((0, range(0, 80)), (60, range(80, 140)), (120, range(140, 200)), (180, range(200, 250))):
        alone = own.extract(wave[start * 320 : start * 320 + 32_000])
        np.testing.assert_allclose(features[list(kept)], alone[[i - start for i in kept]], atol=1e-5)
    middle = own.extract(wave[40 * 320 : 140 * 320])
    assert np.abs(features[60:120] - middle[20:80]).max() > 1e-3  # another window gives something else


@pytest.mark.parametrize("samples", [0, 1, 160, 161, 31_999, 32_001])
def test_any_length(tiny_whisper, samples):
    features = Whisper(tiny_whisper).extract(np.zeros(samples, np.float32))
    assert features.shape == (round(samples / 320), 64)
    assert np.isfinite(features).all()


def test_missing_or_wrong_weights_are_said(tmp_path, tiny_whisper):
    with pytest.raises(UserError, match=r"get model\.safetensors of https.*python -m converters whisper FILE"):
        Whisper(tmp_path)
    (tmp_path / network.FILE).write_bytes(b"no safetensors at all")
    with pytest.raises(UserError, match="damaged"):
        Whisper(tmp_path)
    arrays = safetensors.numpy.load_file(tiny_whisper / network.FILE)
    safetensors.numpy.save_file({**arrays, "norm/bias": np.zeros(3, np.float32)}, tmp_path / network.FILE)
    with pytest.raises(UserError, match=r"do not fit .*norm/bias is \(3,\), wanted \(64,\)"):
        Whisper(tmp_path)
    safetensors.numpy.save_file({"a": np.zeros(3, np.float32)}, tmp_path / network.FILE)
    with pytest.raises(UserError, match="holds no Whisper's encoder"):
        Whisper(tmp_path)
    (tmp_path / "model.bin").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"not converted yet; python -m converters whisper .*model\.bin OUT"):
        Whisper(tmp_path / "model.bin")


def test_other_weights_are_another_extractor(tmp_path, tiny_whisper):
    arrays = safetensors.numpy.load_file(tiny_whisper / network.FILE)
    safetensors.numpy.save_file({**arrays, "norm/bias": arrays["norm/bias"] + 1}, tmp_path / network.FILE)
    assert Whisper(tmp_path).digest != Whisper(tiny_whisper).digest
    assert Whisper(tiny_whisper / network.FILE).digest == Whisper(tiny_whisper).digest
