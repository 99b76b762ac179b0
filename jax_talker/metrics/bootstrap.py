"""Intervals of means over frames, and of differences of two methods on the same frames."""

import numpy as np
from jaxtyping import Float

SAMPLES = 2000
BLOCK = 25  # frames: successive ones are alike, so whole seconds are drawn (Künsch 1989, doi:10.1214/aos/1176347265)
LEAST = 2 * BLOCK  # frames; of fewer there is no interval
LEVEL = 0.95


def paired_interval(
    a: Float[np.ndarray, " T"], b: Float[np.ndarray, " T"], *, samples: int = SAMPLES, seed: int = 0
) -> tuple[float, float, float]:
    """(mean, low, high) of a − b over frames that both know: moving-block bootstrap, percentiles.

    NaN where fewer than ``LEAST`` frames are known, or where a difference is infinite.
    """
    with np.errstate(invalid="ignore"):
        difference = a - b
    difference = difference[~np.isnan(difference)]
    if len(difference) < LEAST or not np.isfinite(difference).all():
        return np.nan, np.nan, np.nan
    count = -(-len(difference) // BLOCK)
    starts = np.random.default_rng(seed).integers(0, len(difference) - BLOCK + 1, (samples, count))
    totals = np.concatenate([[0.0], np.cumsum(difference)])
    means = (totals[starts + BLOCK] - totals[starts]).sum(1) / (count * BLOCK)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(difference.mean()), float(low), float(high)
