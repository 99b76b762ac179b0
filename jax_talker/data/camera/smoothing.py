"""Filters in time that take noise from tracks of a video and leave quick motion."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64
from scipy.ndimage import correlate1d, median_filter, minimum_filter1d, uniform_filter1d

from jax_talker.data.read.boundaries import by_recording, recordings

NO_SMOOTHING = 0.3  # frames; narrower, a frame's neighbours have no say
NOISE_ORDER = 6  # differences of this order see little but what is faster than a third of the frame rate
NORMAL_MAD = 0.6745  # median |x| of a normal x with standard deviation 1
SIDE_MEDIAN, SIDE_SMOOTH = 25, 5.0  # frames
FREQUENCIES = (np.arange(512) + 0.5) * np.pi / 512  # radians per frame


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


def white_noise(values: Float64[np.ndarray, "T D"], boundaries: Sequence[int] = ()) -> Float64[np.ndarray, " D"]:
    """Standard deviation of each column's frame-to-frame noise, from its sixth differences' median.

    0 where no recording is long enough to tell."""
    differences = [np.diff(values[r], NOISE_ORDER, axis=0) for r in recordings(len(values), boundaries)]
    differences = np.concatenate([d for d in differences if len(d)] or [np.zeros((1, values.shape[1]))])
    gain = math.sqrt(math.comb(2 * NOISE_ORDER, NOISE_ORDER))  # root of the sum of squared binomial coefficients
    return np.median(np.abs(differences), axis=0) / NORMAL_MAD / gain


def stiffness_of(width: Float64[np.ndarray, " T"]) -> Float64[np.ndarray, " T"]:
    """Weight of squared third differences that passes what ``smooth_in_time`` of ``width`` frames passes.

    Both halve the angular frequency ω = 1.832/width (radians per frame); the response here is
    1 / (1 + stiffness · (2 sin(ω/2))⁶), flat below and falling faster above. Parabolas in time pass unchanged.
    """
    half = np.minimum(1.832 / width, np.pi)
    return (2 * np.sin(half / 2)) ** -6.0


def local_widths(
    raw: Float64[np.ndarray, "T D"],
    filtered: Sequence[Float64[np.ndarray, "T D"]],
    widths: Sequence[float],
    boundaries: Sequence[int] = (),
) -> Float64[np.ndarray, " T"]:
    """How wide a filter each frame bears: the one with the least expected error around it.

    ``filtered[i]`` is ``raw`` after the filter of ``widths[i]`` (ascending). The error is estimated without knowing the
    truth, by Stein's formula (1981; Mallows' Cp): what the filter changed, plus twice the noise that it lets through.
    A still head gets the widest filter and a nod the narrowest. A recording's frames decide for themselves; the noise
    is the whole clip's.
    """
    noise = white_noise(raw, boundaries)
    columns = noise > 0
    if not columns.any():
        return np.full(len(raw), widths[0])
    risks = []
    for track, width in zip(filtered, widths, strict=True):
        passed = float((1 / (1 + stiffness_of(np.array([width])) * (2 * np.sin(FREQUENCIES / 2)) ** 6)).mean())
        changed = (((track - raw)[:, columns] / noise[columns]) ** 2).sum(1)
        risks.append(changed + 2 * passed * columns.sum())
    reach = math.ceil(2 * widths[-1])

    def chosen(risk: np.ndarray) -> np.ndarray:
        local = uniform_filter1d(risk, 2 * reach + 1, axis=0, mode="nearest")
        best = np.asarray(widths)[local.argmin(1)]
        narrowest = minimum_filter1d(best, 2 * reach + 1, mode="nearest")
        return np.exp(uniform_filter1d(np.log(narrowest), reach, mode="nearest"))

    return by_recording(chosen, np.stack(risks, 1), boundaries)
