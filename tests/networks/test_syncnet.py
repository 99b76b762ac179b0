"""What SyncNet hears: cepstra against those of python_speech_features, kept in tests/golden."""

from pathlib import Path

import numpy as np

from jax_talker.networks import syncnet

GOLDEN = Path(__file__).parents[1] / "golden" / "mfcc.npz"


def signal(samples=5000):
    """A voice-like sweep with noise and a silent stretch, in [−1, 1]; also what the golden file was made of."""
    t = np.arange(samples) / syncnet.RATE
    sweep = 0.4 * np.sin(2 * np.pi * (200 + 1500 * t) * t) + 0.05 * np.sin(np.arange(samples) ** 1.5)
    return np.where((t > 0.15) & (t < 0.2), 0.0, sweep).astype(np.float32)


def test_equals_python_speech_features():
    golden = np.load(GOLDEN)
    assert str(golden["origin"]).startswith("python_speech_features 0.6")
    for samples in (5000, 4880, 300):  # a last window that is padded, one that is not, less than one window
        found, want = syncnet.mfcc(signal(samples)), golden[f"samples_{samples}"]
        assert found.shape == want.shape
        np.testing.assert_allclose(found, want, atol=1e-5)  # kept as float32, of values up to 100


def test_silence_is_finite():
    assert np.isfinite(syncnet.mfcc(np.zeros(3200, np.float32))).all()


def test_what_an_embedding_hears():
    cepstra = np.arange(200)[:, None] * np.ones(13)
    heard = syncnet.heard(cepstra, 3, 2)
    assert heard.shape == (2, 13, 20, 1)
    np.testing.assert_array_equal(heard[1, 5, :, 0], np.arange(16, 36))  # frame 4 is shown at 0.16 s
    assert syncnet.windows(100, 16000 * 4) == 95
    assert syncnet.windows(100, 640 * 50 + 639) == 45
    assert syncnet.windows(3, 16000) == 0
    # the last window's sound is there
    assert syncnet.heard(syncnet.mfcc(np.zeros(640 * 50, np.float32)), 0, 45).shape == (45, 13, 20, 1)
