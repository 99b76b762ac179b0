"""Synthetic speech whose sound is a function of the mouth, so that a model can learn the mouth from the sound.

Phoneme-like segments give targets for jaw, lip width and lip rounding; the mouth moves smoothly through them
(coarticulation); the formants of the sound follow the moving mouth. Another voice has another pitch and vocal tract.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, lfilter, sosfilt

RATE = 16_000  # samples a second
CONTROL_RATE = 200  # mouth positions a second
SMOOTH_SECONDS = 0.030  # of the mouth's way from one phoneme to the next

# name: jaw, lip width, lip rounding, voice, noise, noise's centre in Hz
PHONEMES = {
    "a": (0.95, 0.10, 0.00, 1.00, 0.0, 0),
    "e": (0.50, 0.60, 0.00, 0.95, 0.0, 0),
    "i": (0.15, 0.95, 0.00, 0.85, 0.0, 0),
    "o": (0.60, -0.30, 0.75, 0.95, 0.0, 0),
    "u": (0.15, -0.60, 1.00, 0.80, 0.0, 0),
    "@": (0.35, 0.00, 0.10, 0.85, 0.0, 0),
    "m": (0.00, 0.00, 0.00, 0.30, 0.0, 0),
    "b": (0.00, -0.05, 0.05, 0.12, 0.0, 0),
    "l": (0.25, 0.20, 0.00, 0.55, 0.0, 0),
    "s": (0.06, 0.55, 0.00, 0.00, 0.5, 5500),
    "S": (0.12, -0.30, 0.70, 0.00, 0.5, 2800),
    "f": (0.03, 0.10, 0.00, 0.00, 0.3, 4000),
}
VOWELS, CONSONANTS = "aeiou@", "mblsSf"


@dataclass(frozen=True)
class Voice:
    """Who speaks: fundamental frequency in Hz, and the formants' scale (1 average; higher is a shorter vocal tract)."""

    pitch: float = 130.0
    tract: float = 1.0


@dataclass(frozen=True)
class Speech:
    """Sound and the mouth that makes it."""

    sound: np.ndarray  # [samples] float32 in [−1, 1], 16 kHz
    mouth: np.ndarray  # [T, 3] jaw, lip_width, lip_round at CONTROL_RATE
    phonemes: np.ndarray  # [T, phonemes of PHONEMES] how much of each the mouth shows: their stresses, smoothed alike

    def mouth_at(self, seconds: np.ndarray) -> np.ndarray:
        """The mouth at given times, [n, 3]."""
        return _at(self.mouth, seconds)

    def phonemes_at(self, seconds: np.ndarray) -> np.ndarray:
        """The phonemes' shares at given times, [n, phonemes]."""
        return _at(self.phonemes, seconds)


def _at(values: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Values [T, k] at CONTROL_RATE, interpolated, [n, k]."""
    times = np.arange(len(values)) / CONTROL_RATE
    return np.stack([np.interp(seconds, times, column) for column in values.T], -1)


def random_voice(rng: np.random.Generator) -> Voice:
    """A voice between deep and high."""
    height = rng.uniform(0, 1)
    return Voice(pitch=float(95 + 120 * height), tract=float(0.90 + 0.2 * height + 0.04 * rng.standard_normal()))


def speak(seconds: float, rng: np.random.Generator, voice: Voice = Voice()) -> Speech:
    """Babble phrases of syllables with pauses for ``seconds``."""
    steps = round(seconds * CONTROL_RATE)
    targets, stress = np.zeros((steps, 6)), np.zeros((steps, len(PHONEMES)))
    at = round(rng.uniform(0.15, 0.4) * CONTROL_RATE)
    while at < steps:
        for _ in range(rng.integers(3, 10)):
            for symbols, low, high in ((CONSONANTS, 0.06, 0.11), (VOWELS, 0.11, 0.26)):
                phoneme = symbols[rng.integers(len(symbols))]
                end = at + round(rng.uniform(low, high) * CONTROL_RATE)
                targets[at:end] = PHONEMES[phoneme]
                loud = rng.uniform(0.8, 1.05)
                targets[at:end, :3] *= loud
                stress[at:end, list(PHONEMES).index(phoneme)] = loud
                at = end
        at += round(rng.uniform(0.25, 0.7) * CONTROL_RATE)
    moving, shown = (gaussian_filter1d(t, SMOOTH_SECONDS * CONTROL_RATE, axis=0) for t in (targets[:, :3], stress))
    moving = np.clip(moving, [0, -1, 0], [1, 1, 1])
    sources = gaussian_filter1d(targets[:, 3:5], 0.012 * CONTROL_RATE, axis=0)
    sound = _synthesize(moving, sources, targets[:, 5], voice, rng, round(seconds * RATE))
    return Speech(sound, moving, shown)


def formants(mouth: np.ndarray, tract: float = 1.0) -> np.ndarray:
    """The first three resonances in Hz, [T, 3], of mouths [T, 3] (jaw, width, rounding)."""
    jaw, width, rounding = mouth.T
    first = 280 + 520 * jaw
    second = 1450 + 800 * width * (1 - rounding) - 600 * rounding
    third = 2600 + 300 * width - 250 * rounding
    return tract * np.stack([first, second, third], -1)


def _synthesize(mouth, sources, noise_center, voice, rng, samples) -> np.ndarray:
    """Source and filter: pulses through three resonators that follow the mouth, plus band-passed hiss."""
    steps = len(mouth)
    block = RATE // CONTROL_RATE
    melody = 1 + 0.12 * np.sin(2 * np.pi * np.cumsum(rng.uniform(0.2, 0.5, steps)) / CONTROL_RATE)
    melody *= 1 + 0.02 * gaussian_filter1d(rng.standard_normal(steps), 6)
    phase = np.cumsum(np.repeat(voice.pitch * melody, block)) / RATE
    pulses = (np.diff(np.floor(phase), prepend=0) > 0).astype(np.float64)
    glottis = lfilter([1.0], [1.0, -0.94], pulses)  # spectral tilt of a real larynx
    glottis += 0.004 * rng.standard_normal(len(glottis))
    amplitude = np.repeat(sources[:, 0], block)
    voiced = np.concatenate(_filter_blocks((glottis * amplitude).reshape(steps, block), formants(mouth, voice.tract)))

    hiss = np.zeros(steps * block)
    white = rng.standard_normal(steps * block)
    loud = np.repeat(sources[:, 1], block)
    for center in {int(c) for c in noise_center if c > 0}:
        near = np.repeat(gaussian_filter1d((noise_center == center).astype(float), 2), block)
        band = butter(2, [0.7 * center, min(1.35 * center, 7800)], "bandpass", fs=RATE, output="sos")
        hiss += np.asarray(sosfilt(band, white)) * near * loud
    wave = voiced / max(np.abs(voiced).max(), 1e-9) + 0.5 * hiss
    wave = 0.6 * wave / max(np.abs(wave).max(), 1e-9)
    out = np.zeros(samples, np.float32)
    out[: min(samples, len(wave))] = wave[:samples]
    return out


def _filter_blocks(blocks: np.ndarray, frequencies: np.ndarray) -> list[np.ndarray]:
    """Two-pole resonators in series, their coefficients renewed for every block and their state carried on."""
    widths = (70.0, 100.0, 150.0)  # bandwidths in Hz
    state = [np.zeros(2) for _ in widths]
    out = []
    for block, resonances in zip(blocks, frequencies, strict=True):
        x = block
        for k, (frequency, width) in enumerate(zip(resonances, widths, strict=True)):
            radius = np.exp(-np.pi * width / RATE)
            a = [1.0, -2 * radius * np.cos(2 * np.pi * frequency / RATE), radius**2]
            x, state[k] = lfilter([sum(a)], a, x, zi=state[k])
        out.append(x)
    return out
