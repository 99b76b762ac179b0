"""From flags of frames to findings with time codes."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from jax_talker.data.clip.clip import FPS
from jax_talker.data.clip.findings import Finding, Severity

SAME_EVENT = 0.4  # s; what is flagged again within this time is one thing to look at
MOST_SPANS = 12  # of one kind; more are joined, since nobody looks up a hundred time codes
GAUSSIAN = 1.4826  # standard deviation over median absolute deviation


def runs(flags: Bool[np.ndarray, " T"], *, at_least: int = 1, join: int = 0) -> list[tuple[int, int]]:
    """Stretches [first, end) of flagged frames, those closer than ``join`` frames joined, short ones dropped first."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    found: list[tuple[int, int]] = []
    for first, end in edges.reshape(-1, 2).tolist():
        if end - first < at_least:
            continue
        if found and first - found[-1][1] <= join:
            found[-1] = (found[-1][0], end)
        else:
            found.append((first, end))
    return found


def flagged(
    flags: Bool[np.ndarray, " T"], kind: str, severity: Severity, message: str, advice: str = "", *, at_least: int = 1
) -> list[Finding]:
    """A finding for each stretch of flagged frames, in seconds of the clip; never more than ``MOST_SPANS``."""
    join = round(SAME_EVENT * FPS)
    while len(found := runs(flags, at_least=at_least, join=join)) > MOST_SPANS:
        join *= 2
    return [Finding(kind, severity, first / FPS, end / FPS, message, advice) for first, end in found]


def whole(frames: int, kind: str, severity: Severity, message: str, advice: str = "") -> Finding:
    """A finding about the clip from beginning to end."""
    return Finding(kind, severity, 0.0, frames / FPS, message, advice)


def spread(values: Float[np.ndarray, "*n T"]) -> Float[np.ndarray, "*n"]:
    """A standard deviation that outliers do not move: of the last axis, from its median absolute deviation."""
    centre = np.median(values, -1, keepdims=True)
    return np.asarray(GAUSSIAN * np.median(np.abs(values - centre), -1))


def across_boundaries(frames: int, boundaries: Sequence[int], reach: int = 1) -> Bool[np.ndarray, " T"]:
    """Frames that a difference in time over ``reach`` frames would compare with another recording."""
    near = np.zeros(frames, bool)
    for join in boundaries:
        near[max(0, join - reach + 1) : join + reach] = True
    return near
