"""Clips joined from many recordings (MEAD): what looks along time stops at the frames with which another one begins."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Shaped


def recordings(frames: int, boundaries: Sequence[int]) -> list[slice]:
    """The frames of every recording; one slice where there are no boundaries."""
    edges = [0, *sorted({int(j) for j in boundaries if 0 < j < frames}), frames]
    return [slice(first, end) for first, end in pairwise(edges)]


def spans_boundary(frames: int, boundaries: Sequence[int], reach: int) -> Bool[np.ndarray, " T"]:
    """For every frame t, whether t … t + reach lie in more than one recording."""
    spans = np.zeros(frames, bool)
    for join in boundaries:
        if 0 < join < frames:
            spans[max(0, join - reach) : join] = True
    return spans


def by_recording(
    filtered: Callable[[np.ndarray], np.ndarray], values: Shaped[np.ndarray, "T *n"], boundaries: Sequence[int]
) -> Shaped[np.ndarray, "T *m"]:
    """A filter in time, applied to each recording by itself."""
    return np.concatenate([filtered(values[r]) for r in recordings(len(values), boundaries)])


def boundaries_within(boundaries: Sequence[int], first: int, frames: int) -> tuple[int, ...]:
    """The boundaries inside the stretch of so many frames that begins with ``first``, counted from there."""
    return tuple(join - first for join in boundaries if 0 < join - first < frames)
