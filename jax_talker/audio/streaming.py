"""Sound that comes in pieces: its level, and its feature steps as soon as what they look ahead to has been heard."""

import math
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from jax_talker.audio.deepspeech_live import DeepSpeechLive
from jax_talker.audio.extractor import Extractor, num_steps
from jax_talker.audio.level import BLOCK, Level, block_power, gain_db
from jax_talker.data.clip.clip import SAMPLE_RATE
from jax_talker.errors import UserError

MOST_LOOKAHEAD = 1000.0  # ms; nobody waits longer
LOUDER_DB, FAINTER_DB = 30.0, -20.0  # bounds of a gain that is still being found
SLOWNESS = 0.1  # share of the way to the gain wanted, each 50 ms: a level is found in half a second
REMEMBERED = 20 * 60 * SAMPLE_RATE // BLOCK  # blocks: 20 minutes say how loud a speaker is


class LevelStream:
    """Brings speech to ``level`` as level.normalised does: by a given gain, or by what has been heard so far.

    The latter needs whole blocks of 50 ms and is off by what the beginning could not know; the former changes nothing
    but the scale, so that a stream equals the whole.
    """

    def __init__(self, level: Level, gain: float | None = None):
        self._level, self._fixed = level, gain
        self._gain, self._power = 0.0 if gain is None else gain, []
        self._left = np.zeros(0, np.float32)

    @property
    def delay(self) -> float:
        """ms for which sound is held back."""
        return 0.0 if self._fixed is not None else 1000 * BLOCK / SAMPLE_RATE

    def feed(self, sound: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, " m"]:
        """The next samples, louder or fainter."""
        if self._fixed is not None:
            return (sound * np.float32(10 ** (self._fixed / 20))).astype(np.float32)
        self._left = np.concatenate([self._left, sound])
        whole = len(self._left) // BLOCK * BLOCK
        blocks, self._left = self._left[:whole].reshape(-1, BLOCK), self._left[whole:]
        return np.concatenate([np.zeros(0, np.float32), *(self._louder(block) for block in blocks)])

    def finish(self) -> Float32[np.ndarray, " m"]:
        """The last samples."""
        last, self._left = self._left, np.zeros(0, np.float32)
        return self._louder(last) if len(last) else last

    def _louder(self, block: np.ndarray) -> np.ndarray:
        self._power = [*self._power[-REMEMBERED:], float(block_power(block)[0])]
        wanted = np.clip(gain_db(np.array(self._power), self._level), FAINTER_DB, LOUDER_DB)
        self._gain += SLOWNESS * (float(wanted) - self._gain)
        return (block * np.float32(10 ** (self._gain / 20))).astype(np.float32)


@runtime_checkable
class Steps(Protocol):
    """Feature steps [n, F] of sound that comes in pieces; together they are the extractor's of the whole."""

    def feed(self, sound: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, "m F"]:
        """The steps that are complete with these samples."""
        ...

    def finish(self) -> Float32[np.ndarray, "m F"]:
        """The last steps, behind which is silence."""
        ...


def steps_of(extractor: Extractor) -> Steps:
    """A stream of an extractor's steps; UserError for those that hear too much at once."""
    return extractor.stream() if isinstance(extractor, DeepSpeechLive) else StepStream(extractor)


class StepStream:
    """Feature steps [n, F] of sound that comes in pieces; together they are ``extractor.extract`` of the whole.

    For extractors that look no further back than ahead; UserError for those that hear too much at once.
    """

    def __init__(self, extractor: Extractor):
        if extractor.lookahead > MOST_LOOKAHEAD:
            far = "all of a sound" if math.isinf(extractor.lookahead) else f"{extractor.lookahead / 1000:g} s ahead"
            raise UserError(
                f"{extractor.name} hears {far}, so it cannot be streamed; train with --config.data.features=logmel "
                "or deepspeech_live"
            )
        self._extractor = extractor
        self._hop = SAMPLE_RATE // extractor.rate
        self._ahead = math.ceil(extractor.lookahead * SAMPLE_RATE / 1000)
        self._context = -(-self._ahead // self._hop)  # steps before the next one whose sound it may see
        self._sound, self._base, self._next = np.zeros(0, np.float32), 0, 0  # from step ``base`` on; step to give next

    def feed(self, sound: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, "m F"]:
        """The steps that are complete with these samples."""
        self._sound = np.concatenate([self._sound, sound])
        heard = self._base * self._hop + len(self._sound)
        return self._steps(max(self._next, (heard - self._ahead) // self._hop + 1))

    def finish(self) -> Float32[np.ndarray, "m F"]:
        """The last steps, behind which is silence."""
        return self._steps(self._base + num_steps(len(self._sound), self._extractor.rate))

    def _steps(self, until: int) -> np.ndarray:
        if until <= self._next:
            return np.zeros((0, self._extractor.num_features), np.float32)
        found = self._extractor.extract(self._sound)[self._next - self._base : until - self._base]
        self._next, base = until, max(0, until - self._context)
        self._sound, self._base = self._sound[(base - self._base) * self._hop :], base
        return found
