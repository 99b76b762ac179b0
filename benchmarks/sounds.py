"""What becomes of speech on its way to a head, and what is no speech: sounds [samples], 16 kHz, all of one length."""

from collections.abc import Callable

import numpy as np
from scipy.signal import butter, resample_poly, sosfilt

RATE = 16_000
QUIET = 40.0  # dB below the loudest: silence
Sound = np.ndarray


def rms_db(sound: Sound) -> float:
    """Of full scale."""
    return 10 * float(np.log10(np.mean(sound.astype(np.float64) ** 2) + 1e-20))


def loudness(sound: Sound, frames: int) -> np.ndarray:
    """[T] dB of the 80 ms around each frame's time, at 25 frames a second."""
    half = RATE // 25
    power = np.pad(np.asarray(sound, np.float64), (half, max(0, half * (frames + 1) - len(sound)))) ** 2
    level = 10 * np.log10(np.array([power[i * half : (i + 2) * half].mean() for i in range(frames)]) + 1e-12)
    return np.maximum(level, level.max() - QUIET)


def noise(count: int, level_db: float, *, brown: bool = False, seed: int = 0) -> Sound:
    """A room's: white, or brown above 50 Hz."""
    white = np.random.default_rng(seed).standard_normal(count)
    if brown:
        spectrum = np.fft.rfft(white)
        white = np.fft.irfft(spectrum / np.maximum(1, np.fft.rfftfreq(count, 1 / RATE) / 50), count)
    return (white / white.std() * 10 ** (level_db / 20)).astype(np.float32)


def music(count: int, level_db: float = -20.0, *, seed: int = 0) -> Sound:
    """Chords of plucked strings, four a second."""
    rng, since = np.random.default_rng(seed), np.arange(RATE) / RATE
    out = np.zeros(count + RATE)
    for beat in range(0, count, RATE // 4):
        root = 55 * 2 ** (rng.integers(12, 36) / 12)
        for ratio in (1, 1.25, 1.5):
            for harmonic in (1, 2, 3, 4):
                swing = np.sin(2 * np.pi * root * ratio * harmonic * since) / harmonic
                out[beat : beat + RATE] += swing * np.exp(-3 * harmonic**0.5 * since)
    out = out[:count]
    return (out / out.std() * 10 ** (level_db / 20)).astype(np.float32)


def fan(count: int, level_db: float, *, swells: float = 20.0, seconds: float = 4.0) -> Sound:
    """Brown noise that swells by so many dB, and falls again, once in so many seconds."""
    swell = swells / 2 * np.sin(2 * np.pi * np.arange(count) / (seconds * RATE))
    return (noise(count, level_db, brown=True) * 10 ** (swell / 20)).astype(np.float32)


def keys(count: int, peak_db: float, *, seed: int = 0) -> Sound:
    """Somebody types: four clicks a second of up to ``peak_db``, each gone after 20 ms."""
    rng, click = np.random.default_rng(seed), np.arange(RATE // 20)
    out = np.zeros(count + len(click))
    at = 0
    while (at := at + int(RATE * rng.uniform(0.08, 0.4))) < count:
        fading = rng.standard_normal(len(click)) * np.exp(-click / (0.005 * RATE))
        out[at : at + len(click)] += rng.uniform(0.5, 1) * 10 ** (peak_db / 20) * fading / np.abs(fading).max()
    return out[:count].astype(np.float32)


def telephone(speech: Sound) -> Sound:
    """300–3400 Hz, sampled at 8 kHz and in 8 bits (µ-law)."""
    band = sosfilt(butter(4, (300, 3400), "bandpass", fs=RATE, output="sos"), speech)
    narrow = np.clip(resample_poly(np.asarray(band), 1, 2), -1, 1)
    mu = np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256)
    coded = np.round(mu * 127) / 127
    heard = np.sign(coded) * np.expm1(np.abs(coded) * np.log(256)) / 255
    return resample_poly(heard, 2, 1)[: len(speech)].astype(np.float32)


def clipped(speech: Sound) -> Sound:
    """Recorded so loud that the loudest tenth of it is cut off."""
    gain = np.float32(1 / np.quantile(np.abs(speech[np.abs(speech) > np.abs(speech).max() / 30]), 0.9))
    return np.clip(gain * speech, -1, 1)


def _beside(other: Sound, speech: Sound, snr: float) -> Sound:
    return speech + other * np.float32(10 ** ((rms_db(speech) - snr - rms_db(other)) / 20))


SPEECH: dict[str, Callable[[Sound], Sound]] = {
    "24 dB fainter": lambda s: s * np.float32(10 ** (-24 / 20)),
    "clipped": clipped,
    "telephone, 8 kHz": telephone,
    "white noise, 20 dB below": lambda s: _beside(noise(len(s), -30), s, 20),
    "white noise, 10 dB below": lambda s: _beside(noise(len(s), -30), s, 10),
    "brown noise, 10 dB below": lambda s: _beside(noise(len(s), -30, brown=True), s, 10),
    "music, 15 dB below": lambda s: _beside(music(len(s)), s, 15),
}
"""Ways of hearing the same speech; a mouth should move as it does for the speech alone."""

NO_SPEECH: dict[str, Callable[[int], Sound]] = {
    "silence": lambda n: np.zeros(n, np.float32),
    "white noise at -45 dBFS": lambda n: noise(n, -45),
    "brown noise at -45 dBFS": lambda n: noise(n, -45, brown=True),
    "fan that swells by 20 dB": lambda n: fan(n, -45),
    "keys in a room": lambda n: keys(n, -25) + noise(n, -55),
    "music alone": music,
}
"""A mouth should stay closed; music is allowed to move it, and it is said by how much."""

BESIDE: dict[str, Callable[[Sound], Sound]] = {
    "in white noise, 20 dB below": SPEECH["white noise, 20 dB below"],
    "in brown noise, 20 dB below": lambda s: _beside(noise(len(s), -30, brown=True), s, 20),
    "in white noise, 30 dB below": lambda s: _beside(noise(len(s), -30), s, 30),
    "beside a fan that swells": lambda s: _beside(fan(len(s), -30), s, 20),
    "beside keys in a room": lambda s: _beside(keys(len(s), -10) + noise(len(s), -40), s, 25),
}
"""What goes on in the pauses of speech, and under it; in a pause a mouth should rest."""
