"""What is shown by who has not learnt to speak; a head that does not win against it has learnt nothing.

The still anchor is the same head without motion; the mean frame is the mean of a camera's training frames (for further
cameras a generous yardstick: the model was never shown them); the nearest pose is a copy of the training frame that was
filmed from where a camera stands, as nearly as there is one.
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Float32, Int

from jax_talker.app.speaking import Speaker
from jax_talker.data.batches.dataset import FrameStore
from jax_talker.models.navigator import Coefficients

AT_ONCE = 64  # frames whose mean is taken in one go


def at_rest(speaker: Speaker, frames: int) -> Coefficients:
    """The still anchor's coefficients [frames, ·]: eyes open, mouth at rest."""
    return jax.tree.map(lambda x: np.zeros((frames, x.shape[1]), np.float32), speaker.rest)


def mean_frame(
    store: FrameStore, indices: np.ndarray, bar: Callable[[Iterable[Any], str, int | None], Iterable[Any]] | None = None
) -> Float32[np.ndarray, "H W 3"]:
    """The mean in [0, 1] of what a camera filmed at each pixel in the frames ``indices``; white where it never did."""
    size = store.clip.size
    total, filmed = np.zeros((size, size, 3)), np.zeros((size, size, 1))
    starts = range(0, len(indices), AT_ONCE)
    for start in starts if bar is None else bar(starts, "mean frame", len(starts)):
        part = indices[start : start + AT_ONCE]
        weight = store.valid(part).astype(np.float64)[..., None] / 255
        total += (weight * store.images(part)).sum(0)
        filmed += weight.sum(0)
    mean = total / np.maximum(filmed, 1e-9) / 255
    return np.where(filmed > 0, mean, 1.0).astype(np.float32)


def nearest_pose(labels: Float[np.ndarray, "N 25"], among: Float[np.ndarray, "M 25"]) -> Int[np.ndarray, " N"]:
    """For each EG3D label the number of the one of ``among`` whose camera is turned least against it."""
    a, b = (x[:, :16].reshape(-1, 4, 4)[:, :3, :3].reshape(-1, 9) for x in (labels, among))
    return np.argmax(a @ b.T, axis=1)  # trace of R_aᵀ R_b = 1 + 2 cos(angle)
