"""Mel spectra as librosa computes them (tested), without its import, which fails where nothing can be cached."""

import functools

import numpy as np
from jaxtyping import Float32

FFT = 1024  # samples; the window may be shorter, it stands in the middle
AT_ONCE = 4096  # windows; 16 MB
LINEAR, KNEE, STEP = 200 / 3, 1000.0, np.log(6.4) / 27  # Slaney's scale: Hz per mel up to the knee, then log Hz per mel


def mel_power(
    sound: Float32[np.ndarray, " samples"], *, rate: int, window: int, hop: int, bands: int, low: float, high: float
) -> Float32[np.ndarray, "steps bands"]:
    """Power in triangular bands between ``low`` and ``high`` Hz, of Hann windows centred on every ``hop``-th sample.

    Bands stand evenly on Slaney's mel scale and have a peak of 1; beyond the sound's ends is silence.
    """
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)  # periodic
    padded = np.pad(sound, FFT // 2)
    start = (FFT - window) // 2
    views = np.lib.stride_tricks.sliding_window_view(padded[start : len(padded) - (FFT - window - start)], window)[
        ::hop
    ]
    filters = _filters(rate, bands, low, high)
    powers = []
    for first in range(0, len(views), AT_ONCE):
        spectrum = np.fft.rfft(views[first : first + AT_ONCE] * hann, FFT)
        powers.append((spectrum.real**2 + spectrum.imag**2) @ filters.T)
    return np.concatenate(powers)


@functools.cache
def _filters(rate: int, bands: int, low: float, high: float) -> Float32[np.ndarray, "bands bins"]:
    edges = _hertz(np.linspace(_mel(low), _mel(high), bands + 2))
    bins = np.arange(FFT // 2 + 1) * rate / FFT
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def _mel(hertz: float) -> float:
    return hertz / LINEAR if hertz < KNEE else KNEE / LINEAR + np.log(hertz / KNEE) / STEP


def _hertz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < KNEE / LINEAR, mel * LINEAR, KNEE * np.exp(STEP * (mel - KNEE / LINEAR)))
