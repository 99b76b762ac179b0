"""Filters in time that take noise from tracks of a video and leave quick motion."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64
from scipy.ndimage import correlate1d, median_filter

from jax_talker.data.read.boundaries import by_recording

NO_SMOOTHING = 0.3  # frames; narrower, a frame's neighbours have no say
SIDE_MEDIAN, SIDE_SMOOTH = 25, 5.0  # frames


def smooth_in_time(values: Float[np.ndarray, "T *rest"], width: float) -> Float[np.ndarray, "T *rest"]:
    """Local quadratic regression with Gaussian weights of ``width`` frames; below 0.3 it leaves the values alone.

    Unlike a plain Gaussian it keeps the height of quick nods and turns: with width 1 it passes 71 % at 5.9 Hz (25 fps),
    where a Gaussian of 2 frames, as used for MTCNN landmarks, already halves 2.3 Hz. The ends need no padding.
    """
    frames = len(values)
    if width < NO_SMOOTHING or frames < 3:
        return values
    reach = max(1, math.ceil(4 * width))
    flat = values.reshape(frames, -1).astype(np.float64)

    def kernel(first: int, last: int) -> np.ndarray:
        """What the frames first … last (relative to the one in question) count."""
        offset = np.arange(first, last + 1) / width
        powers = np.vander(offset, 3, increasing=True)
        weighted = powers.T * np.exp(-0.5 * offset**2)
        return np.linalg.solve(weighted @ powers, weighted)[0]

    smoothed = correlate1d(flat, kernel(-reach, reach), axis=0, mode="nearest")
    for t in (*range(min(reach, frames)), *range(max(reach, frames - reach), frames)):
        first, last = max(0, t - reach), min(frames - 1, t + reach)
        smoothed[t] = kernel(first - t, last - t) @ flat[first : last + 1]
    return smoothed.reshape(values.shape).astype(values.dtype)


def steady_size(side: Float64[np.ndarray, " T"], boundaries: Sequence[int] = ()) -> Float64[np.ndarray, " T"]:
    """A crop's size without what expressions do to it: median over a second, then smoothed; per recording.

    A blink or a grimace pulls landmarks together for a few frames, and the picture would zoom with it; a head that
    leans towards the camera takes longer.
    """

    def steady(log_side: np.ndarray) -> np.ndarray:
        window = min(SIDE_MEDIAN, (len(log_side) - 1) // 2 * 2 + 1)
        return smooth_in_time(median_filter(log_side, window, mode="nearest"), SIDE_SMOOTH)

    return np.exp(by_recording(steady, np.log(side), boundaries))


def stiffness_of(width: float) -> float:
    """Weight of squared third differences that passes what ``smooth_in_time`` of ``width`` frames passes.

    Both halve the angular frequency ω = 1.832/width (radians per frame); the response here is
    1 / (1 + stiffness · (2 sin(ω/2))⁶), flat below and falling faster above. Parabolas in time pass unchanged.
    """
    half = min(1.832 / width, math.pi)
    return (2 * math.sin(half / 2)) ** -6
