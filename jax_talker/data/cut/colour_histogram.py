"""Histograms of CIELAB colours, smoothed, by which what has other colours can be told apart."""

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy.ndimage import gaussian_filter

BINS = 24  # per channel
SMOOTH = 0.8  # bins
RARE = 3e-6  # share of a histogram that a colour never seen has


def colour_bins(lab: UInt8[np.ndarray, "H W 3"]) -> Int[np.ndarray, "H W"]:
    """Each pixel's place in a histogram, from OpenCV's 8-bit Lab."""
    level = (lab.astype(np.int32) * BINS) >> 8
    return (level[..., 0] * BINS + level[..., 1]) * BINS + level[..., 2]


def histogram(bins: Int[np.ndarray, " N"], weight: Float[np.ndarray, " N"]) -> Float[np.ndarray, " M"]:
    """Share of the weight at each colour, [BINS³]; sums to 1 but for ``RARE`` (to 0 where nothing has weight)."""
    count = np.bincount(bins, weight, BINS**3).reshape(BINS, BINS, BINS)
    return gaussian_filter(count, SMOOTH).ravel() / max(float(weight.sum()), 1e-9) + RARE
