"""How loud speech is when features are made of it, however loud it was recorded."""

import numpy as np
from jaxtyping import Float32, Float64

from jax_talker.data.clip.clip import SAMPLE_RATE

LEVEL_DB = -26.0  # of full scale: what speech is brought to before features are made
SPEECH_DB = 25.0  # below the loudest twentieth of a recording: what is fainter is not speech
FAINTEST_DB = -70.0  # a recording in which nothing is louder stays as it is: silence must not become speech
NOISE_DB = -40.0  # fainter recordings are a room's noise where they are steady: within STEADY_DB nearly all the time
SILENT_DB = -100.0  # what a room's noise becomes: of log-mel nothing is left then, and a mouth rests as in silence
STEADY_DB = 6.0  # noise's blocks differ by 1 or 2 dB, those of speech without a pause by 15
BLOCK = SAMPLE_RATE // 20  # samples, 50 ms


def normalised(sound: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, " samples"]:
    """``sound`` with its speech at ``LEVEL_DB``, however loud it was recorded.

    Silence stays silent, and a recording of nothing but a room's noise becomes silence: there is no speech
    whose level could say how loud it is beside it, and a mouth must not move by it.
    """
    if not len(sound):
        return sound
    return (sound * np.float32(10 ** (gain_db(block_power(sound)) / 20))).astype(np.float32)


def block_power(sound: Float32[np.ndarray, " samples"]) -> Float64[np.ndarray, " blocks"]:
    """Mean power of each 50 ms, without the constant that a microphone may add."""
    around = sound - sound.mean(dtype=np.float64)
    return (np.pad(around, (0, -len(sound) % BLOCK)).reshape(-1, BLOCK) ** 2).mean(1)


def gain_db(power: Float64[np.ndarray, " blocks"]) -> float:
    """By how much a sound with blocks of such power is made louder, dB."""
    faint, loudest = np.percentile(power, (10, 95))
    if loudest < 10 ** (FAINTEST_DB / 10):
        return 0.0
    if loudest < 10 ** (NOISE_DB / 10) and loudest < faint * 10 ** (STEADY_DB / 10):
        return SILENT_DB - 10 * float(np.log10(loudest))
    return LEVEL_DB - 10 * float(np.log10(power[power >= loudest * 10 ** (-SPEECH_DB / 10)].mean()))
