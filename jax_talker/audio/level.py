"""How loud speech is when features are made of it, however loud it was recorded."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from jax_talker.data.clip.clip import SAMPLE_RATE

BLOCK = SAMPLE_RATE // 20  # samples, 50 ms
AT_ONCE = 1200  # blocks, a minute: the whole in double precision would be half a gigabyte an hour
NOTHING = 1e-6  # peak to peak: what a resampler's rounding leaves of samples that are all alike
ROUNDED = 1e-9  # power, −90 dB of full scale: what is fainter is 16 bits' rounding, no room's noise


@dataclass(frozen=True)
class Level:
    """What a head takes for speech, and how loud it hears it: dB, of full scale where nothing else is said.

    A head that was trained at one level hears another one as other speech, so each run keeps its own
    (``config.data.level``).
    """

    speech: float  # what speech is brought to before features are made
    span: float  # below the loudest twentieth of a recording: what is fainter is not speech
    faintest: float  # a recording in which nothing is louder stays as it is: silence must not become speech
    noise: float  # fainter recordings are a room's noise where they are steady: within ``steady`` nearly all the time
    steady: float  # noise's blocks differ by 1 or 2 dB, those of speech without a pause by 15
    silent: float  # what a room's noise becomes: of log-mel nothing is left then, and a mouth rests as in silence
    background: float  # steps whose spectrum is the background's within this much are silence (background.py); 0: none


# Of runs from before each kept its own. It is history, whatever configurations say today: no number here may change.
FIRST = Level(speech=-26.0, span=25.0, faintest=-70.0, noise=-40.0, steady=6.0, silent=-100.0, background=0.0)


def normalised(sound: Float32[np.ndarray, " samples"], level: Level) -> Float32[np.ndarray, " samples"]:
    """``sound`` with its speech at ``level``, however loud it was recorded.

    Silence stays silent, and a recording of nothing but a room's noise becomes silence: there is no speech
    whose level could say how loud it is beside it, and a mouth must not move by it.
    """
    if not len(sound):
        return sound
    return (sound * np.float32(10 ** (gain_db(block_power(sound), level) / 20))).astype(np.float32, copy=False)


def block_power(sound: Float32[np.ndarray, " samples"]) -> Float64[np.ndarray, " blocks"]:
    """Mean power of each 50 ms, without the constant that a microphone may add; 0 of digital silence, whatever the rest
    of the sound is like."""
    mean = sound.mean(dtype=np.float64)
    power = []
    for first in range(0, len(sound), AT_ONCE * BLOCK):
        part = sound[first : first + AT_ONCE * BLOCK]
        around = np.pad(part - mean, (0, -len(part) % BLOCK)).reshape(-1, BLOCK)
        power.append(np.where(np.ptp(around, axis=1) > NOTHING, (around**2).mean(1), 0))
    return np.concatenate(power)


def gain_db(power: Float64[np.ndarray, " blocks"], level: Level) -> float:
    """By how much a sound with blocks of such power is made louder, dB."""
    loudest = np.percentile(power, 95)
    if loudest < 10 ** (level.faintest / 10):
        return 0.0
    heard = power[power >= min(ROUNDED, loudest)]  # digital silence beside it makes no noise less steady
    faint, most = np.percentile(heard, (10, 95))
    if most < 10 ** (level.noise / 10) and most < faint * 10 ** (level.steady / 10):
        return level.silent - 10 * float(np.log10(most))
    return level.speech - 10 * float(np.log10(power[power >= loudest * 10 ** (-level.span / 10)].mean()))
