"""DeepSpeech 0.1.0 as an extractor: the features of AD-NeRF, and of the papers that follow it."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Float64, Int16

from jax_talker.audio.extractor import digest_of, num_steps
from jax_talker.audio.mfcc import mfcc
from jax_talker.audio.segments import segments
from jax_talker.networks.deepspeech import logits, open_deepspeech

VERSION = "1"  # another one where other numbers come out
CONTEXT = 9  # steps on both sides that the network sees beside a step
LONGEST, MARGIN = 3000, 250  # steps that run through the LSTM at once (60 s); those that only warm it up
FILLED = 500  # steps; lengths are filled up to multiples of it, so that few are compiled


class DeepSpeech:
    """Logits of letters at 50 Hz, not shifted or scaled, as AD-NeRF takes them; zero is what AD-NeRF pads with.

    A sound of up to 60 s is heard as a whole, in both directions. A longer one is heard in parts that overlap by 10 s,
    so that memory does not grow; what lies further away than 5 s has no say then.
    """

    name = "deepspeech"
    rate = 50  # Hz
    lookahead = float("inf")  # ms: coefficients are standardised over the whole sound
    bands = ()

    def __init__(self, weights: str | Path):
        sizes, self._file = open_deepspeech(weights)
        self.num_features = sizes.letters
        self.digest = digest_of(self.name, VERSION, self._file.sha256)

    def extract(self, wave: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, "T F"]:
        """[round(seconds · 50), 29]."""
        wanted = num_steps(len(wave), self.rate)
        if not wanted:
            return np.zeros((0, self.num_features), np.float32)
        padded = standardised(mfcc(as_int16(wave))[::2])
        steps = len(padded) - 2 * CONTEXT
        found = np.empty((steps, self.num_features), np.float32)
        for start, kept in segments(steps, LONGEST, MARGIN):
            own = self._logits(with_context(padded, start, min(start + LONGEST, steps)))
            found[kept] = own[kept.start - start : kept.stop - start]
        return found[np.minimum(np.arange(wanted), steps - 1)]  # AD-NeRF interpolates at 50 Hz: the last one is held

    def _logits(self, inputs: Float32[np.ndarray, "T I"]) -> Float32[np.ndarray, "T L"]:
        count = len(inputs)
        filled = np.pad(inputs, ((0, -count % FILLED), (0, 0)))
        there = np.arange(len(filled)) < count
        return np.asarray(_compiled(self._weights, jnp.asarray(filled), jnp.asarray(there)))[:count]

    @functools.cached_property
    def _weights(self) -> dict[str, Any]:
        return self._file.load()


_compiled = jax.jit(logits)


def as_int16(wave: Float32[np.ndarray, " samples"]) -> Int16[np.ndarray, " samples"]:
    """Sound as the network was trained on it."""
    return np.clip(wave * 32768.0, -32768, 32767).astype(np.int16)


def standardised(coefficients: Float64[np.ndarray, "T C"]) -> Float64[np.ndarray, "padded C"]:
    """Steps with nine of zeros before and behind them, by one mean and one deviation of all that the network sees: each
    step as often as it is in some step's context."""
    steps = len(coefficients)
    t = np.arange(steps)
    seen = np.minimum(t + CONTEXT, steps - 1) - np.maximum(t - CONTEXT, 0) + 1  # how often each step is seen
    numbers = steps * (2 * CONTEXT + 1) * coefficients.shape[1]
    mean = (seen[:, None] * coefficients).sum() / numbers
    square = (seen[:, None] * coefficients**2).sum() / numbers
    deviation = np.sqrt(max(square - mean**2, 0)) or 1.0
    return (np.pad(coefficients, ((CONTEXT, CONTEXT), (0, 0))) - mean) / deviation


def with_context(padded: Float64[np.ndarray, "T C"], start: int, stop: int) -> Float32[np.ndarray, "t I"]:
    """Steps start … stop of a sound, each with the nine before and behind it, oldest first."""
    views = np.lib.stride_tricks.sliding_window_view(padded[start : stop + 2 * CONTEXT], 2 * CONTEXT + 1, axis=0)
    return views.swapaxes(1, 2).reshape(stop - start, -1).astype(np.float32)
