"""How loud speech is when features are made of it, however loud it was recorded."""

import numpy as np
from jaxtyping import Float32

from jax_talker.data.clip.clip import SAMPLE_RATE

LEVEL_DB = -26.0  # of full scale: what speech is brought to before features are made
SPEECH_DB = 25.0  # below the loudest twentieth of a recording: what is fainter is not speech
FAINTEST_DB = -70.0  # a recording in which nothing is louder stays as it is: silence must not become speech


def normalised(sound: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, " samples"]:
    """``sound`` with its speech at ``LEVEL_DB``, however loud it was recorded; silence stays silent."""
    if not len(sound):
        return sound
    block = SAMPLE_RATE // 20
    around = sound - sound.mean(dtype=np.float64)  # a microphone's constant is not loud
    power = (np.pad(around, (0, -len(sound) % block)).reshape(-1, block) ** 2).mean(1)
    loudest = np.percentile(power, 95)
    if loudest < 10 ** (FAINTEST_DB / 10):
        return sound
    speech = power[power >= loudest * 10 ** (-SPEECH_DB / 10)].mean()
    return (sound * np.sqrt(10 ** (LEVEL_DB / 10) / speech)).astype(np.float32)
