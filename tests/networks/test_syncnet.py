"""What SyncNet hears of cepstra (tests/audio/test_mfcc.py), window by window."""

import numpy as np

from jax_talker.networks import syncnet


def test_what_an_embedding_hears():
    cepstra = np.arange(200)[:, None] * np.ones(13)
    heard = syncnet.heard(cepstra, 3, 2)
    assert heard.shape == (2, 13, 20, 1)
    np.testing.assert_array_equal(heard[1, 5, :, 0], np.arange(16, 36))  # frame 4 is shown at 0.16 s
    assert syncnet.windows(100, 16000 * 4) == 95
    assert syncnet.windows(100, 640 * 50 + 639) == 45
    assert syncnet.windows(3, 16000) == 0
    steps = 1 + -(-(640 * 50 - 400) // 160)  # of 50 frames' sound: the last window's is there
    assert syncnet.heard(np.zeros((steps, 13)), 0, 45).shape == (45, 13, 20, 1)
