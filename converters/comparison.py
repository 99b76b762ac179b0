"""One compared array, and one that is not: what golden files and the PyTorch port hand to ``verify``."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Row:
    """One compared array. ``atol`` and ``rtol`` (of the largest entry) are what float32 rounding may explain."""

    stage: str
    got: np.ndarray
    want: np.ndarray
    atol: float = 1e-4
    rtol: float = 0.0
    flips: float = 0.0  # share of entries that a discontinuity of the original (neighbour choice, split) may change

    @property
    def difference(self) -> np.ndarray:
        return np.asarray(np.abs(np.asarray(self.got, np.float64) - np.asarray(self.want, np.float64)))

    @property
    def limit(self) -> float:
        return self.atol + self.rtol * float(np.abs(self.want).max(initial=0))

    @property
    def good(self) -> bool:
        if self.got.shape != self.want.shape or not np.isfinite(self.got).all():
            return False
        return float((self.difference > self.limit).mean()) <= self.flips


@dataclass(frozen=True)
class Skipped:
    """An array of the file that is not compared, and why."""

    stage: str
    reason: str
