"""Mel-frequency cepstral coefficients exactly as python_speech_features 0.6 computes them by default (tested)."""

import functools

import numpy as np
from jaxtyping import Float64, Int16
from scipy.fft import dct

RATE = 16_000  # Hz
WINDOW, HOP, FFT = 400, 160, 512  # samples: 25 ms, 10 ms; the window is rectangular
BANDS = 26  # of 0–8 kHz
PREEMPHASIS = 0.97
LIFTER = 22
AT_ONCE = 4096  # frames
TINY = np.finfo(float).eps


def mfcc(sound: Int16[np.ndarray, " samples"], coefficients: int = BANDS) -> Float64[np.ndarray, "T C"]:
    """Coefficients at 100 Hz, the first of which is the frame's log energy; frame t begins at t/100 s."""
    samples = sound.astype(np.float64)
    samples = np.append(samples[:1], samples[1:] - PREEMPHASIS * samples[:-1])
    count = 1 if len(samples) <= WINDOW else 1 + -(-(len(samples) - WINDOW) // HOP)
    padded = np.pad(samples, (0, max(0, (count - 1) * HOP + WINDOW - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:count]
    lift = 1 + LIFTER / 2 * np.sin(np.pi * np.arange(coefficients) / LIFTER)
    found = np.empty((count, coefficients))
    for first in range(0, count, AT_ONCE):
        spectrum = np.fft.rfft(frames[first : first + AT_ONCE], FFT)
        power = (spectrum.real**2 + spectrum.imag**2) / FFT
        bands = np.log(_not_zero(power @ _filters().T))
        own = np.asarray(dct(bands, type=2, axis=1, norm="ortho"))[:, :coefficients] * lift
        own[:, 0] = np.log(_not_zero(power.sum(1)))
        found[first : first + AT_ONCE] = own
    return found


def _not_zero(values: np.ndarray) -> np.ndarray:
    return np.where(values == 0, TINY, values)


@functools.cache
def _filters() -> Float64[np.ndarray, "bands bins"]:
    """Triangles whose corners are rounded down to bins of the spectrum."""
    mels = np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), BANDS + 2)
    corners = np.floor((FFT + 1) * 700 * (10 ** (mels / 2595) - 1) / RATE)
    bins = np.arange(FFT // 2 + 1)
    low, middle, high = (corners[i : i + BANDS, None] for i in range(3))
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return np.where((bins >= low) & (bins < middle), rising, np.where((bins >= middle) & (bins < high), falling, 0))
