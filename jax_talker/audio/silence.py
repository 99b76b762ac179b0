"""Where a sound holds nothing: there, features of networks that always say something become zeros."""

import numpy as np
from jaxtyping import Bool, Float32

from jax_talker.audio.extractor import num_steps
from jax_talker.data.clip.clip import SAMPLE_RATE

FAINTEST = 1e-9  # power, −90 dB of full scale: 16 bits' rounding; level.py leaves −100 dB of a room's noise
AROUND = 0.1  # s on both sides of a step; a consonant's closure is shorter than both


def silent_steps(wave: Float32[np.ndarray, " samples"], rate: int) -> Bool[np.ndarray, " T"]:
    """Which of a sound's steps at ``rate`` Hz (extractor.py) have nothing but silence, or a constant, around them."""
    steps, hop, half = num_steps(len(wave), rate), SAMPLE_RATE // rate, round(AROUND * rate)
    whole = len(wave) // hop * hop
    heard = np.zeros(steps + 2 * half, bool)  # of each hop, from ``half`` hops before the sound on
    heard[half : half + whole // hop] = wave[:whole].reshape(-1, hop).var(1) > FAINTEST
    if whole < len(wave):
        heard[half + whole // hop :][:1] = wave[whole:].var() > FAINTEST
    near = np.lib.stride_tricks.sliding_window_view(heard, 2 * half)[:steps]
    return np.logical_not(near.any(1))
