"""Cepstra against those of python_speech_features, kept in tests/golden."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from jax_talker.audio import mfcc

GOLDEN = Path(__file__).parents[1] / "golden" / "mfcc.npz"


def signal(samples=5000):
    """A voice-like sweep with noise and a silent stretch, in 16 bits; also what the golden file was made of."""
    t = np.arange(samples) / mfcc.RATE
    sweep = 0.4 * np.sin(2 * np.pi * (200 + 1500 * t) * t) + 0.05 * np.sin(np.arange(samples) ** 1.5)
    heard = np.where((t > 0.15) & (t < 0.2), 0.0, sweep).astype(np.float32)
    return np.round(heard.astype(np.float64) * 32768).astype(np.int16)


def test_equals_python_speech_features():
    golden = np.load(GOLDEN)
    assert str(golden["origin"]).startswith("python_speech_features 0.6")
    for samples in (5000, 4880, 300):  # a last window that is padded, one that is not, less than one window
        found, want = mfcc.mfcc(signal(samples), 13), golden[f"samples_{samples}"]
        assert found.shape == want.shape
        np.testing.assert_allclose(found, want, atol=1e-5)  # kept as float32, of values up to 100


def test_silence_is_finite():
    assert np.isfinite(mfcc.mfcc(np.zeros(3200, np.int16))).all()


@pytest.mark.parametrize("samples", [1, 300, 401, 1040, 1041, 5000])
def test_blocks_give_the_whole(monkeypatch, samples):
    whole = mfcc.mfcc(signal(samples))
    monkeypatch.setattr(mfcc, "AT_ONCE", 3)
    np.testing.assert_allclose(mfcc.mfcc(signal(samples)), whole, atol=1e-10)


def test_memory_is_what_is_given_and_little_more():
    ten_minutes = np.tile(signal(16_000), 600)
    tracemalloc.start()
    found = mfcc.mfcc(ten_minutes)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < found.nbytes + 60e6  # 4096 frames and their spectra; the sound in double precision has 77 MB
