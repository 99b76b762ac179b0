"""Cepstra against those of python_speech_features, kept in tests/golden."""

from pathlib import Path

import numpy as np

from jax_talker.audio.mfcc import RATE, mfcc

GOLDEN = Path(__file__).parents[1] / "golden" / "mfcc.npz"


def signal(samples=5000):
    """A voice-like sweep with noise and a silent stretch, in 16 bits; also what the golden file was made of."""
    t = np.arange(samples) / RATE
    sweep = 0.4 * np.sin(2 * np.pi * (200 + 1500 * t) * t) + 0.05 * np.sin(np.arange(samples) ** 1.5)
    heard = np.where((t > 0.15) & (t < 0.2), 0.0, sweep).astype(np.float32)
    return np.round(heard.astype(np.float64) * 32768).astype(np.int16)


def test_equals_python_speech_features():
    golden = np.load(GOLDEN)
    assert str(golden["origin"]).startswith("python_speech_features 0.6")
    for samples in (5000, 4880, 300):  # a last window that is padded, one that is not, less than one window
        found, want = mfcc(signal(samples), 13), golden[f"samples_{samples}"]
        assert found.shape == want.shape
        np.testing.assert_allclose(found, want, atol=1e-5)  # kept as float32, of values up to 100


def test_silence_is_finite():
    assert np.isfinite(mfcc(np.zeros(3200, np.int16))).all()
