"""What landmarks and expression scores of a rendered face tell against those of the true one.

T frames, P points in pixels; frames in which a face was not found are NaN and do not count. Means over frames are of
those that have a number.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

MAX_LAG = 15  # frames; SyncNet's search range, so that both answers can be laid side by side
LEAST_FRAMES = 25  # common frames that a correlation needs at every lag: one second


def lmd(pred: Float[np.ndarray, "T P 2"], truth: Float[np.ndarray, "T P 2"]) -> Float[np.ndarray, " T"]:
    """Landmark distance of each frame, px: both sets centred on their own mean, then the mean Euclidean distance.

    The formula of the field's ``LMDMeter`` (ER-NeRF, TalkingGaussian; after Chen et al. 2018, arXiv 1803.10404), which
    takes the 20 lip points of FAN. Not normalised by the face's size: it grows with the resolution.
    """
    centred = [points - points.mean(1, keepdims=True) for points in (pred, truth)]
    return np.linalg.norm(centred[0] - centred[1], axis=-1).mean(1)


def jitter(points: Float[np.ndarray, "T P 2"]) -> Float[np.ndarray, " T"]:
    """Mean length of the second difference x[t−1] − 2·x[t] + x[t+1] of all points, px/frame²; NaN at both ends."""
    out = np.full(len(points), np.nan)
    if len(points) > 2:
        out[1:-1] = np.linalg.norm(np.diff(points, 2, axis=0), axis=-1).mean(1)
    return out


def opening(
    upper: Float[np.ndarray, "T D"], lower: Float[np.ndarray, "T D"], scale: Float[np.ndarray, "T 2 D"]
) -> Float[np.ndarray, " T"]:
    """Distance between two points in units of the distance between two that do not move with it."""
    return np.linalg.norm(upper - lower, axis=-1) / np.linalg.norm(scale[:, 0] - scale[:, 1], axis=-1)


class Lag(NamedTuple):
    """How one signal follows another."""

    correlation: float  # Pearson, at lag 0
    lag: int | None  # frames by which the first is late where the correlation is highest; None where there is none
    best: float  # the correlation there


def lagged_correlation(pred: Float[np.ndarray, " T"], truth: Float[np.ndarray, " T"], most: int = MAX_LAG) -> Lag:
    """Pearson's correlation of two signals, and the shift within ±``most`` frames at which it is highest.

    A lag > 0 says that ``pred`` is late. NaN and None where a signal does not move, or where fewer than
    ``LEAST_FRAMES`` frames are known in both.
    """
    lags = range(-most, most + 1)
    found = np.array([_pearson(*_shifted(pred, truth, lag)) for lag in lags])
    now = float(found[most])
    if np.isnan(found).all():
        return Lag(now, None, np.nan)
    best = int(np.nanargmax(found))
    return Lag(now, lags[best], float(found[best]))


def _shifted(pred: np.ndarray, truth: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """pred[t + lag] beside truth[t]."""
    count = max(0, len(pred) - abs(lag))
    a, b = max(0, lag), max(0, -lag)
    return pred[a : a + count], truth[b : b + count]


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    known = np.isfinite(a) & np.isfinite(b)
    if known.sum() < LEAST_FRAMES or not (np.ptp(a[known]) and np.ptp(b[known])):
        return np.nan  # before the mean is taken, whose rounding would move what stands still
    a, b = a[known] - a[known].mean(), b[known] - b[known].mean()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def score_error(pred: Float[np.ndarray, "T S"], truth: Float[np.ndarray, "T S"]) -> Float[np.ndarray, " T"]:
    """Sum over scores of the squared difference, of each frame.

    With the intensities (0 … 5) of OpenFace's action units its mean over frames is TalkingGaussian's AUE: per unit the
    mean squared difference, summed. With MediaPipe's expression scores (0 … 1) it is another measure, on another scale.
    """
    return ((pred - truth) ** 2).sum(1)
