"""DeepSpeech 0.1.0 for streams: coefficients standardised by what was heard so far, and a bounded look-ahead.

The original standardises by the whole utterance, and its backward LSTM begins at the utterance's end. Here the mean and
deviation run along, and the backward LSTM begins at most 34 steps later. The forward LSTM hears all that was, as there.
"""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Float64

from jax_talker.audio.deepspeech import CONTEXT, DeepSpeech, as_int16, with_context
from jax_talker.audio.extractor import digest_of, num_steps
from jax_talker.audio.mfcc import BANDS, HOP, WINDOW, mfcc
from jax_talker.data.clip.clip import SAMPLE_RATE
from jax_talker.networks.deepspeech import logits_onward, silent

VERSION = "1"  # another one where other numbers come out
FED = 10 * SAMPLE_RATE  # samples of a whole sound that the stream gets at once, so that memory does not grow with it
KEPT, AHEAD = 20, 15  # steps that are computed at once; those beyond that the backward LSTM has heard by then
# What coefficients are before anything was heard, and how many steps that weighs: speech at −26 dB (level.py).
PRIOR_MEAN, PRIOR_DEVIATION, PRIOR_STEPS = -1.7, 11.4, 25


class DeepSpeechLive(DeepSpeech):
    """The logits of ``DeepSpeech`` with no more than 0.9 s of look-ahead, in pieces or as a whole alike."""

    name = "deepspeech_live"
    lookahead = 1000 * ((CONTEXT + KEPT - 1 + AHEAD) * 2 * HOP + WINDOW) / SAMPLE_RATE  # ms

    def __init__(self, weights: str | Path):
        super().__init__(weights)
        self.digest = digest_of(self.name, VERSION, self._file.sha256)

    def extract(self, wave: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, "T F"]:
        """[round(seconds · 50), 29]."""
        stream = self.stream()
        pieces = [stream.feed(wave[first : first + FED]) for first in range(0, len(wave), FED)]
        return np.concatenate([*pieces, stream.finish()])

    def stream(self) -> "DeepSpeechStream":
        """For sound that comes in pieces."""
        return DeepSpeechStream(self._weights, self.num_features)


class RunningStandard:
    """Standardises contexts by the mean and the deviation of all coefficients heard up to their end."""

    def __init__(self):
        first = np.array([1.0, PRIOR_MEAN, PRIOR_MEAN**2 + PRIOR_DEVIATION**2])
        self._sums = PRIOR_STEPS * BANDS * first  # how many, their sum, and their squares'

    def heard(self, rows: Float64[np.ndarray, "n C"]) -> Float64[np.ndarray, "n 2"]:
        """Mean and deviation when each of the next ``rows`` has just been heard."""
        own = np.stack([np.full(len(rows), rows.shape[1]), rows.sum(1), (rows**2).sum(1)], 1)
        sums = self._sums + np.cumsum(own, 0)
        self._sums = sums[-1] if len(rows) else self._sums
        mean = sums[:, 1] / sums[:, 0]
        return np.stack([mean, np.sqrt(np.maximum(sums[:, 2] / sums[:, 0] - mean**2, 1e-12))], 1)


class DeepSpeechStream:
    """Steps of sound that comes in pieces, by converted ``weights``."""

    def __init__(self, weights: dict[str, Any], num_features: int):
        self._weights, self._state, self._standard = weights, silent(weights), RunningStandard()
        self._sound, self._samples = np.zeros(0, np.float32), 0  # what is still needed of it; how much there was
        self._rows = self._steps = 0  # coefficients made, steps given
        self._near = np.zeros((CONTEXT, BANDS))  # coefficients from the first on that the next context holds
        self._standards = np.zeros((CONTEXT, 2))  # mean and deviation when each of them had been heard
        self._inputs = np.zeros((0, (2 * CONTEXT + 1) * BANDS), np.float32)  # contexts of the steps to come
        self._last = np.zeros((1, num_features), np.float32)

    def feed(self, sound: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, "m F"]:
        """The steps that are complete with these samples."""
        self._samples += len(sound)
        self._sound = np.concatenate([self._sound, sound])
        complete = max(self._rows, (self._samples - WINDOW) // (2 * HOP) + 1)
        self._add(self._coefficients(complete - self._rows))
        return self._found(KEPT + AHEAD)

    def finish(self) -> Float32[np.ndarray, "m F"]:
        """The last steps, behind which is silence."""
        wanted = num_steps(self._samples, DeepSpeechLive.rate) - self._steps
        if not self._samples:
            return self._last[:0]
        rest = self._coefficients(None)
        self._add(rest, behind=CONTEXT)
        found = np.concatenate([self._last, self._found(1)])
        return found[np.minimum(1 + np.arange(wanted), len(found) - 1)]  # the last one is held, as in DeepSpeech

    def _coefficients(self, count: int | None) -> Float64[np.ndarray, "n C"]:
        """The next rows at 50 Hz; all (None) where the sound has ended. Behind the first there is a hop in front of
        each, which tells its first sample's predecessor."""
        if count == 0:
            return np.zeros((0, BANDS))
        rows = mfcc(as_int16(self._sound))[min(self._rows, 1) :: 2][:count]
        needed = max(0, 2 * (self._rows + len(rows)) - 1) * HOP
        self._sound = self._sound[needed - max(0, 2 * self._rows - 1) * HOP :]
        self._rows += len(rows)
        return rows

    def _add(self, rows: Float64[np.ndarray, "n C"], behind: int = 0) -> None:
        """Contexts of the steps that ``rows`` complete; with ``behind`` zeros at the sound's end."""
        padded = np.concatenate([self._near, rows, np.zeros((behind, BANDS))])
        standards = np.concatenate([self._standards, self._standard.heard(rows)])
        standards = np.pad(standards, ((0, behind), (0, 0)), mode="edge")
        steps = max(0, len(padded) - 2 * CONTEXT)
        mean, deviation = standards[2 * CONTEXT :].T[..., None]
        if steps:
            made = (with_context(padded, 0, steps) - mean) / deviation
            self._inputs = np.concatenate([self._inputs, made.astype(np.float32)])
        self._near, self._standards = padded[steps:], standards[steps:]

    def _found(self, least: int) -> Float32[np.ndarray, "m F"]:
        """Logits, as long as ``least`` contexts are there."""
        found = [self._last[:0]]
        while len(self._inputs) >= least:
            part = self._inputs[: KEPT + AHEAD]
            filled = np.pad(part, ((0, KEPT + AHEAD - len(part)), (0, 0)))
            there = np.arange(len(filled)) < len(part)
            self._state, own = _onward(self._weights, jnp.asarray(filled), jnp.asarray(there), self._state)
            found.append(np.asarray(own)[: len(part)])
            self._inputs = self._inputs[KEPT:]
        joined = np.concatenate(found)
        self._steps += len(joined)
        self._last = joined[-1:] if len(joined) else self._last
        return joined


_onward = jax.jit(partial(logits_onward, kept=KEPT))
