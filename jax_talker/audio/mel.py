"""Mel spectra as librosa computes them (tested), without its import, which fails where nothing can be cached."""

import functools
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64

AT_ONCE = 4096  # windows; 16 MB
LINEAR, KNEE, STEP = 200 / 3, 1000.0, np.log(6.4) / 27  # Slaney's scale: Hz per mel up to the knee, then log Hz per mel


def mel_power(
    sound: Float32[np.ndarray, " samples"],
    *,
    rate: int,
    window: int,
    hop: int,
    bands: int,
    low: float,
    high: float,
    fft: int = 1024,
    beyond: Literal["silence", "mirrored"] = "silence",
    area: bool = False,
) -> Float32[np.ndarray, "steps bands"]:
    """Power in triangular bands between ``low`` and ``high`` Hz, of Hann windows centred on every ``hop``-th sample.

    Bands stand evenly on Slaney's mel scale and have a peak of 1, or with ``area`` an area of 1 (over Hz / 2). A window
    shorter than ``fft`` stands in its middle. ``beyond`` the sound's ends is silence, or the sound itself mirrored.
    """
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)  # periodic
    padded = np.pad(sound, fft // 2, mode="constant" if beyond == "silence" else "reflect")
    start = (fft - window) // 2
    views = np.lib.stride_tricks.sliding_window_view(padded[start : len(padded) - (fft - window - start)], window)[
        ::hop
    ]
    filters = _filters(rate, fft, bands, low, high, area)
    powers = []
    for first in range(0, len(views), AT_ONCE):
        spectrum = np.fft.rfft(views[first : first + AT_ONCE] * hann, fft)
        powers.append((spectrum.real**2 + spectrum.imag**2) @ filters.T)
    return np.concatenate(powers)


def mel_centres(bands: int, low: float, high: float) -> Float64[np.ndarray, " bands"]:
    """Hz at which ``mel_power``'s bands have their peaks."""
    return _edges(bands, low, high)[1:-1]


@functools.cache
def _filters(rate: int, fft: int, bands: int, low: float, high: float, area: bool) -> Float32[np.ndarray, "bands bins"]:
    edges = _edges(bands, low, high)
    bins = np.arange(fft // 2 + 1) * rate / fft
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    if area:
        triangles *= 2 / (edges[2:] - edges[:-2])[:, None]
    return triangles.astype(np.float32)


def _edges(bands: int, low: float, high: float) -> Float64[np.ndarray, " edges"]:
    return _hertz(np.linspace(_mel(low), _mel(high), bands + 2))


def _mel(hertz: float) -> float:
    return hertz / LINEAR if hertz < KNEE else KNEE / LINEAR + np.log(hertz / KNEE) / STEP


def _hertz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < KNEE / LINEAR, mel * LINEAR, KNEE * np.exp(STEP * (mel - KNEE / LINEAR)))
