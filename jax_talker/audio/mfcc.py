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
    count = 1 if len(sound) <= WINDOW else 1 + -(-(len(sound) - WINDOW) // HOP)
    lift = 1 + LIFTER / 2 * np.sin(np.pi * np.arange(coefficients) / LIFTER)
    found = np.empty((count, coefficients))
    for first in range(0, count, AT_ONCE):
        spectrum = np.fft.rfft(_frames(sound, first, min(first + AT_ONCE, count)), FFT)
        power = (spectrum.real**2 + spectrum.imag**2) / FFT
        bands = np.log(_not_zero(power @ _filters().T))
        own = np.asarray(dct(bands, type=2, axis=1, norm="ortho"))[:, :coefficients] * lift
        own[:, 0] = np.log(_not_zero(power.sum(1)))
        found[first : first + AT_ONCE] = own
    return found


def _frames(sound: Int16[np.ndarray, " samples"], start: int, stop: int) -> Float64[np.ndarray, "frames window"]:
    """Frames start … stop of a sound with high frequencies raised, behind which is silence."""
    begin, end = start * HOP, (stop - 1) * HOP + WINDOW
    samples = sound[max(0, begin - 1) : end].astype(np.float64)  # with each one's predecessor; the first has none
    raised = samples[1:] - PREEMPHASIS * samples[:-1]
    raised = raised if begin else np.append(samples[:1], raised)
    padded = np.pad(raised, (0, end - begin - len(raised)))
    return np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]


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
