"""Whisper's encoder as an extractor: its own log-mel, windows of 30 s that overlap, and a zero that means silence."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from jax_talker.audio.extractor import digest_of, num_steps
from jax_talker.audio.mel import mel_power
from jax_talker.audio.segments import segments
from jax_talker.audio.silence import silent_steps
from jax_talker.data.clip.clip import SAMPLE_RATE
from jax_talker.networks.whisper import encode, open_whisper

VERSION = "2"  # another one where other numbers come out
FFT, HOP = 400, 160  # samples: 25 ms, 10 ms
FAINTEST, RANGE = 1e-10, 8.0  # of mel power; decades below a window's loudest band that are told apart
MARGIN = 5.0  # s that a step hears at least on both sides, where the sound is long enough


class Whisper:
    """Features of Whisper's encoder at 50 Hz. It hears 30 s at once: a longer sound in windows that overlap by 10 s,
    each of which gives its middle, so that memory does not grow with the sound.

    Steps are what the last layer norm gives before its gain and bias, minus its mean in silence: so every number is of
    the order of 1. Where nothing is heard (silence.py) they are zeros: the network's own are half as large as speech's.
    """

    name = "whisper"
    rate = 50  # Hz
    lookahead = 30_000.0  # ms: the first step of a window hears its end
    bands = ()

    def __init__(self, weights: str | Path):
        self._net, self._file = open_whisper(weights)
        self.num_features = self._net.width
        self.digest = digest_of(self.name, VERSION, self._file.sha256)

    def extract(self, wave: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, "T F"]:
        """[round(seconds · 50), F]."""
        steps = num_steps(len(wave), self.rate)
        gain = np.asarray(self._weights["norm"]["scale"])
        found = np.empty((steps, self.num_features), np.float32)
        for start, kept in segments(steps, self._net.positions, round(MARGIN * self.rate)):
            own = self.raw(wave[start * SAMPLE_RATE // self.rate :])
            found[kept] = (own[kept.start - start : kept.stop - start] - self._silence) / gain
        found[silent_steps(wave, self.rate)] = 0
        return found

    def raw(self, wave: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, "T F"]:
        """What the encoder itself gives of the first 30 s of a sound, a shorter one filled up with silence."""
        mel = log_mel(wave, self._net.bands, 2 * self._net.positions)
        return np.asarray(_encoded(self._net, self._weights, jnp.asarray(mel[None]))[0])

    @functools.cached_property
    def _weights(self) -> dict[str, Any]:
        return self._file.load()

    @functools.cached_property
    def _silence(self) -> np.ndarray:
        return self.raw(np.zeros(0, np.float32)).mean(0)


_encoded = jax.jit(encode, static_argnums=0)


def log_mel(wave: Float32[np.ndarray, " samples"], bands: int, frames: int) -> Float32[np.ndarray, "frames bands"]:
    """Whisper's log-mel at 100 Hz of as much of a sound as ``frames`` cover, or of it and silence behind it."""
    samples = frames * HOP
    wave = np.pad(wave[:samples], (0, max(0, samples - len(wave))))
    power = mel_power(
        wave, rate=SAMPLE_RATE, window=FFT, hop=HOP, bands=bands, low=0.0, high=SAMPLE_RATE / 2, fft=FFT,
        beyond="mirrored", area=True,
    )[:frames]  # fmt: skip
    decades = np.log10(np.maximum(power, FAINTEST))
    return ((np.maximum(decades, decades.max() - RANGE) + 4) / 4).astype(np.float32)
