"""wav2vec 2.0 and HuBERT as extractors: the last hidden state at 50 Hz, and a zero that means silence."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from jax_talker.audio.extractor import digest_of, num_steps
from jax_talker.audio.segments import segments
from jax_talker.audio.silence import silent_steps
from jax_talker.networks.wav2vec2 import FIELD, HOP, encode, open_wav2vec2

VERSION = "2"  # another one where other numbers come out
LONGEST, MARGIN = 1000, 125  # steps heard at once (20 s), and at least on both sides of one where the sound is longer
FILLED = 250  # steps; lengths are filled up to multiples of it, so that few are compiled
AT_ONCE = 1 << 20  # samples that are standardised at once
EPS = 1e-7  # under the deviation of a waveform (Hugging Face's)


class Wav2Vec2:
    """Features at 50 Hz of a waveform that is standardised as a whole; step r sees the 25 ms around r/50 s, and through
    attention all else. It hears up to 20 s at once, a longer sound in segments that overlap by 5 s.

    Steps are what the last layer norm gives before its gain and bias, minus its mean in silence: so every number is of
    the order of 1. Where nothing is heard (silence.py) they are zeros.
    """

    name = "wav2vec2"
    rate = 50  # Hz
    lookahead = float("inf")  # ms: the waveform is standardised over the whole sound
    bands = ()

    def __init__(self, weights: str | Path):
        self._net, self._file = open_wav2vec2(weights)
        self.num_features = self._net.width
        self.digest = digest_of(self.name, VERSION, self._file.sha256)

    def extract(self, wave: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, "T F"]:
        """[round(seconds · 50), F]."""
        steps = num_steps(len(wave), self.rate)
        found = np.empty((steps, self.num_features), np.float32)
        padded = np.pad(standardised(wave), (FIELD // 2, FIELD))
        for start, kept in segments(steps, LONGEST, MARGIN):
            own = self.raw(padded[start * HOP : (min(start + LONGEST, steps) - 1) * HOP + FIELD])
            found[kept] = (own[kept.start - start : kept.stop - start] - self._silence) / self._gain
        found[silent_steps(wave, self.rate)] = 0
        return found

    def raw(self, wave: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, "T F"]:
        """The network's last hidden state of a standardised waveform of at least 25 ms."""
        steps = (len(wave) - FIELD) // HOP + 1
        filled = np.zeros((-(-steps // FILLED) * FILLED - 1) * HOP + FIELD, np.float32)
        used = wave[: (steps - 1) * HOP + FIELD]
        filled[: len(used)] = used
        samples = jnp.asarray([len(used)])
        return np.asarray(_encoded(self._net, self._weights, jnp.asarray(filled[None]), samples)[0, :steps])

    @functools.cached_property
    def _weights(self) -> dict[str, Any]:
        return self._file.load()

    @functools.cached_property
    def _silence(self) -> np.ndarray:
        return self.raw(np.zeros((FILLED - 1) * HOP + FIELD, np.float32)).mean(0)

    @property
    def _gain(self) -> np.ndarray:
        own = functools.reduce(dict.__getitem__, self._net.last_norm, self._weights)
        return np.asarray(own["scale"])


_encoded = jax.jit(encode, static_argnums=0)


def standardised(wave: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, " samples"]:
    """By mean and deviation of all of it; silence is zeros."""
    if not len(wave):
        return wave
    parts = [slice(first, first + AT_ONCE) for first in range(0, len(wave), AT_ONCE)]
    mean = wave.mean(dtype=np.float64)
    variance = sum(((wave[part] - mean) ** 2).sum() for part in parts) / len(wave)
    found = np.empty_like(wave)
    for part in parts:  # in double precision, of which an hour would be half a gigabyte
        found[part] = (wave[part] - mean) / np.sqrt(variance + EPS)
    return found
