"""Fréchet distance between two sets of features (FID, Heusel et al. 2017, arXiv 1706.08500, eq. 6), in float64."""

import numpy as np
from jaxtyping import Float


class Moments:
    """Mean and covariance of features that come a few at a time; memory does not grow."""

    def __init__(self, features: int):
        self.count = 0
        self._mean = np.zeros(features)
        self._scatter = np.zeros((features, features))

    def add(self, values: Float[np.ndarray, "N D"]) -> None:
        """Chan's update: sums of squares about a running mean, so that nothing cancels."""
        if not len(values):
            return
        values = np.asarray(values, np.float64)
        mean = values.mean(0)
        centred, step = values - mean, mean - self._mean
        total = self.count + len(values)
        self._scatter += centred.T @ centred + np.outer(step, step) * (self.count * len(values) / total)
        self._mean += step * len(values) / total
        self.count = total

    @property
    def mean(self) -> Float[np.ndarray, " D"]:
        return self._mean

    @property
    def covariance(self) -> Float[np.ndarray, "D D"]:
        """Unbiased, as ``numpy.cov``'s. ValueError for fewer than two samples."""
        if self.count < 2:
            raise ValueError(f"a covariance of {self.count} samples")
        return self._scatter / (self.count - 1)


def frechet_distance(
    mean_a: Float[np.ndarray, " D"],
    covariance_a: Float[np.ndarray, "D D"],
    mean_b: Float[np.ndarray, " D"],
    covariance_b: Float[np.ndarray, "D D"],
) -> float:
    """|µ_a − µ_b|² + tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½).

    The trace of the root is that of (Σ_a^½ Σ_b Σ_a^½)^½, which is symmetric: with fewer samples than features, where
    pytorch-fid's root of the plain product loses digits or fails and is tried again with 1e-6 on the diagonals, this is
    exact.
    """
    values, vectors = np.linalg.eigh(covariance_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    inner = root @ covariance_b @ root
    trace = np.sqrt(np.maximum(np.linalg.eigvalsh((inner + inner.T) / 2), 0)).sum()
    distance = ((mean_a - mean_b) ** 2).sum() + np.trace(covariance_a) + np.trace(covariance_b) - 2 * trace
    return float(max(distance, 0.0))  # rounding may leave a little less than nothing
