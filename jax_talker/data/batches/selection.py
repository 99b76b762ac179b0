"""How often each frame of a clip is drawn while a person is learnt: by how good it is and how rare its pose."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32

from jax_talker.errors import UserError

BIN = 5.0  # degrees of yaw and pitch
# A frame counts as bad, and is never drawn, whose landmarks fit or whose sharpness is this much worse than is usual in
# its clip, or whose face was found with less confidence.
WORST_FIT, LEAST_SHARPNESS, LEAST_CONFIDENCE = 3.0, 0.6, 0.5
MOST_BAD = 0.5  # where more of a clip is bad, that is what it is like, and all of it is used


def frame_weights(arrays: Mapping[str, np.ndarray], train: np.ndarray) -> Float32[np.ndarray, " T"]:
    """Weights [T] for drawing training frames: 0 for bad ones and those not in ``train``, else 1 / √(frames alike).

    Alike are frames whose yaw and pitch lie in the same five degrees; a pose that is held for a tenth of a second
    would otherwise never be learnt. Measures of quality that the clip does not hold are not asked for.
    """
    label = np.asarray(arrays["label"], np.float64)
    yaw = np.degrees(np.arctan2(label[:, 3], label[:, 11]))
    pitch = np.degrees(np.arcsin(np.clip(label[:, 7] / np.linalg.norm(label[:, [3, 7, 11]], axis=1), -1, 1)))
    cell = np.round(yaw / BIN).astype(int) * 1000 + np.round(pitch / BIN).astype(int)
    weights = np.zeros(len(label), np.float32)
    _, where, counts = np.unique(cell[train], return_inverse=True, return_counts=True)
    weights[train] = 1 / np.sqrt(counts[where])
    good = good_frames(arrays, train)
    if good[train].mean() > 1 - MOST_BAD:
        weights[~good] = 0
    return weights


def few(weights: Float32[np.ndarray, " T"], count: int) -> Float32[np.ndarray, " T"]:
    """``weights`` of about ``count`` frames, in couples of successive ones evenly spread among those that are drawn; 0
    for all others. UserError where there is no such couple."""
    starts = np.flatnonzero((weights[:-1] > 0) & (weights[1:] > 0))
    if count < 2 or not len(starts):
        raise UserError(f"{count} frames: training takes successive ones in couples, at least one couple is needed")
    chosen = starts[np.linspace(0, len(starts) - 1, min(count // 2, len(starts))).astype(int)]
    kept = np.zeros_like(weights)
    for frames in (chosen, chosen + 1):
        kept[frames] = weights[frames]
    return kept


def good_frames(arrays: Mapping[str, np.ndarray], train: np.ndarray) -> np.ndarray:
    """Whether each frame [T] is as sharp, as surely found and as well fitted as is usual in its clip."""
    good = np.ones(len(arrays["label"]), bool)
    if "fit_error" in arrays:
        error = np.nan_to_num(arrays["fit_error"], nan=np.inf)
        good &= error <= WORST_FIT * np.median(error[train])
    if "stat_sharpness" in arrays:
        sharpness = np.nan_to_num(arrays["stat_sharpness"], nan=0)
        good &= sharpness >= LEAST_SHARPNESS * np.median(sharpness[train])
    if "confidence" in arrays:
        good &= np.nan_to_num(arrays["confidence"], nan=0) >= LEAST_CONFIDENCE
    return good
