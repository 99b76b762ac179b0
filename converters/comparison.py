"""One compared array, and one that is not: what golden files and the PyTorch port hand to ``verify``."""

from dataclasses import dataclass

import numpy as np

AT_EDGES = 0.1  # jumps beyond this share of the largest entry explain nothing any more


@dataclass(frozen=True)
class Row:
    """One compared array. ``atol`` and ``rtol`` (of the largest entry) are what float32 rounding may explain."""

    stage: str
    got: np.ndarray
    want: np.ndarray
    atol: float = 1e-4
    rtol: float = 0.0
    flips: float = 0.0  # share of entries that a discontinuity of the original (neighbour choice, split) may change
    jumps: np.ndarray | None = None  # how far each entry moves when inputs are rounded (kinks.py); None: not at all

    @property
    def shapes_agree(self) -> bool:
        return self.got.shape == self.want.shape

    @property
    def difference(self) -> np.ndarray:
        """Absolute; of arrays of one shape."""
        return np.asarray(np.abs(np.asarray(self.got, np.float64) - np.asarray(self.want, np.float64)))

    @property
    def limit(self) -> float:
        """What rounding alone may explain in any entry."""
        return self.atol + self.rtol * self.largest

    @property
    def largest(self) -> float:
        return float(np.abs(self.want).max(initial=0))

    @property
    def beyond(self) -> np.ndarray:
        """Which entries differ by more than is allowed; NaN does."""
        allowed = np.asarray(self.limit)
        if self.jumps is not None:
            # Two edges may be crossed at once, and one draw sees them singly.
            allowed = allowed + np.minimum(2 * self.jumps, AT_EDGES * self.largest)
        return np.asarray(~(self.difference <= allowed))

    @property
    def good(self) -> bool:
        if not self.shapes_agree or not np.isfinite(self.got).all() or not np.isfinite(self.want).all():
            return False
        return not self.want.size or float(self.beyond.mean()) <= self.flips


@dataclass(frozen=True)
class Skipped:
    """An array of the file that is not compared, and why."""

    stage: str
    reason: str
