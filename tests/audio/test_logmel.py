"""Mel spectra are librosa's; log-mel is scaled, and its steps stand where they claim."""

import warnings

import librosa
import numpy as np
import pytest

from jax_talker.audio.extractor import Extractor
from jax_talker.audio.logmel import LogMel
from jax_talker.audio.mel import mel_power


def test_logmel_is_scaled_and_shaped(beeps):
    sound = beeps(1.0, [0.5])
    assert isinstance(LogMel(), Extractor)
    features = LogMel().extract(sound)
    assert features.shape == (50, LogMel.num_features)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features[:20], 0, atol=1e-6)  # silence; float32 at the floor
    loudest = features[25].argmax()
    assert 18 < loudest < 35  # 1 kHz of 55–7600 Hz in 80 mel bands is about band 26
    full_scale = LogMel().extract(np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32))
    assert full_scale.max() == pytest.approx(1, abs=0.05)  # a mel band's peak is not exactly the tone's


@pytest.mark.parametrize("samples", [500, 16_000, 16_001, 5000 * 320])
def test_mel_bands_are_librosas(samples):
    sound = (0.1 * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)
    got = mel_power(sound, rate=16_000, window=800, hop=320, bands=80, low=55.0, high=7600.0)
    with warnings.catch_warnings(action="ignore"):  # librosa warns of sounds shorter than its window
        want = librosa.feature.melspectrogram(
            y=sound, sr=16_000, n_fft=1024, win_length=800, hop_length=320, n_mels=80, fmin=55, fmax=7600, norm=None,
            power=2.0, center=True, pad_mode="constant",
        )  # fmt: skip
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want.T, rtol=1e-4, atol=1e-9)  # float32 sums in another order


def test_logmel_steps_stand_where_they_claim():
    """A click at r/50 s is loudest in step r, and no step hears more than the promised 25 ms ahead."""
    for step in (10, 11, 30):
        sound = np.zeros(16_000, np.float32)
        sound[step * 320] = 1
        assert LogMel().extract(sound).mean(1).argmax() == step
    rng = np.random.default_rng(0)
    sound = (0.1 * rng.normal(size=16_000)).astype(np.float32)
    for step in (5, 20):
        changed = sound.copy()
        changed[round((step / 50 + LogMel.lookahead / 1000) * 16_000) + 1 :] = 0
        np.testing.assert_allclose(
            LogMel().extract(changed)[: step + 1], LogMel().extract(sound)[: step + 1], atol=1e-5
        )  # float32 FFT
        assert np.abs(LogMel().extract(changed)[step + 3] - LogMel().extract(sound)[step + 3]).max() > 0.1


def test_whispers_mel_bands_are_librosas():
    sound = (0.1 * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32)
    got = mel_power(
        sound, rate=16_000, window=400, hop=160, bands=80, low=0.0, high=8000.0, fft=400, beyond="mirrored", area=True
    )
    want = librosa.feature.melspectrogram(
        y=sound, sr=16_000, n_fft=400, hop_length=160, n_mels=80, norm="slaney", power=2.0, center=True,
        pad_mode="reflect",
    )  # fmt: skip
    np.testing.assert_allclose(got, want.T, rtol=1e-4, atol=1e-9)  # float32 sums in another order


def test_a_decibel_is_what_it_says():
    sound = (0.1 * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32)
    louder = LogMel().extract(sound * np.float32(10 ** (6 / 20))) - LogMel().extract(sound)
    np.testing.assert_allclose(louder, 6 * 0.01, atol=1e-5)
