"""How training varies log-mel sound: level, voice, microphone, telephone and room, so that a head hears through them.

As SpecAugment (Park et al. 2019, arXiv 1904.08779) it works on spectra; what is done to them is what rooms do.
Numbers are those of audio.logmel: 0.01 is 1 dB, 1 a full-scale tone, 0 silence; rows of zeros were never heard.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jax_talker.training.shares import normal

DECIBEL = 0.01
TELEPHONE = (300.0, 3400.0)  # Hz that a telephone lets through
MUFFLED = 0.6  # by how much all else is fainter
ROOM = (0.15, 0.45)  # of a band of a room's noise: −85 to −55 dB, which is −65 to −40 dB over all bands
STEEPEST = 6.0  # dB an octave by which a room's noise falls at most: brown noise
FLICKER = 0.03  # deviation of a band's noise over time: power of a few bins of a spectrum


@dataclass(frozen=True)
class Variation:
    """How much sound is varied; by default not at all."""

    bands: tuple[float, ...] = ()  # Hz, each number's centre; empty: features are no log-mel and stay as they are
    level: float = 0.0  # dB, deviation
    voice: float = 0.0  # deviation of the logarithm by which formants are moved: another speaker's vocal tract
    tilt: float = 0.0  # dB an octave, deviation: another microphone
    telephone: float = 0.0  # share of frames heard through one
    room: float = 0.0  # share of frames heard in a room's noise

    @property
    def in_rooms(self) -> bool:
        """Whether a room's noise is heard at all; it is made of log-mel, so other features never hear it."""
        return bool(self.bands and self.room)


AS_IT_IS = Variation()


def varied(audio: Float[Array, "B A S F"], keys: Key[Array, "B"], how: Variation) -> Float[Array, "B A S F"]:
    """Windows [S] of neighbouring frames [A], each of a batch in its own key's way; what was never heard stays 0.

    Successive frames' windows overlap by half; the same noise is heard where they do.
    """
    if not how.bands:
        return audio
    if len(how.bands) != audio.shape[-1]:
        raise ValueError(f"{len(how.bands)} bands for {audio.shape[-1]} numbers")
    voice, level, tilt, noisy, noise, called = jax.vmap(lambda k: jax.random.split(k, 6), out_axes=1)(keys)
    octaves = _octaves(how)[None]
    chosen = lambda k, share: jax.vmap(lambda k: jax.random.bernoulli(k, share, (1, 1, 1)))(k)  # noqa: E731
    x = audio
    if how.voice:
        x = _moved(x, jnp.exp(how.voice * normal(voice)), how.bands)
    change = DECIBEL * (how.level * normal(level, 1, 1, 1) + how.tilt * normal(tilt, 1, 1, 1) * octaves)
    x = jnp.where(x > 0, jnp.maximum(x + change, 0), 0)
    if how.in_rooms:
        x = jnp.where(chosen(noisy, how.room), _sum(x, room(noise, audio.shape[1:], how)), x)
    if how.telephone:
        through = (octaves > np.log2(TELEPHONE[0] / 1000)) & (octaves < np.log2(TELEPHONE[1] / 1000))
        x = jnp.where(chosen(called, how.telephone) & ~through, jnp.maximum(x - MUFFLED, 0), x)
    return jnp.where((audio != 0).any(-1, keepdims=True), x, 0)


def room(keys: Key[Array, "B"], shape: tuple[int, ...], how: Variation) -> Float[Array, "B A S F"]:
    """Nothing but a room's noise, between white and brown, steady but for its flicker; ``shape`` is (A, S, F)."""
    frames, size, bands = shape
    stride = size // 8  # steps between successive frames (audio.windows)
    steps = stride * (frames - 1) + size

    def one(key: Key[Array, ""]) -> Array:
        level_key, fall_key, flicker_key = jax.random.split(key, 3)
        level = jax.random.uniform(level_key, minval=ROOM[0], maxval=ROOM[1])
        fall = jax.random.uniform(fall_key, maxval=STEEPEST)
        noise = level - DECIBEL * fall * _octaves(how)[0] + FLICKER * jax.random.normal(flicker_key, (steps, bands))
        return noise.clip(0, 1)[stride * np.arange(frames)[:, None] + np.arange(size)]

    return jax.vmap(one)(keys)


def _octaves(how: Variation) -> Float[Array, "1 1 F"]:
    """Above 1 kHz."""
    return jnp.log2(jnp.asarray(how.bands, jnp.float32) / 1000)[None, None]


def _moved(x: Float[Array, "B A S F"], ratio: Float[Array, " B"], bands: tuple[float, ...]) -> Array:
    """Spectra whose every frequency is ``ratio`` times what it was."""
    hertz = jnp.asarray(bands, jnp.float32)
    source = jax.vmap(lambda r: jnp.interp(hertz / r, hertz, jnp.arange(len(bands), dtype=jnp.float32)))(ratio)
    number = jnp.arange(len(bands), dtype=jnp.float32)[None, :, None]
    weights = jnp.maximum(1 - jnp.abs(source[:, None] - number), 0)  # [B, from, to]
    return jnp.einsum("basf,bfg->basg", x, weights)


def _sum(a: Array, b: Array) -> Array:
    """Both sounds at once: their powers are added."""
    tens = np.log(10.0) / (10 * DECIBEL)
    return jnp.logaddexp(tens * a, tens * b) / tens
