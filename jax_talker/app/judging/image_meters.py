"""Metrics of a frame against a frame: PSNR, SSIM in both of the field's variants, LPIPS."""

import functools
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array

from jax_talker import metrics
from jax_talker.app.judging.meters import Pair
from jax_talker.app.judging.score import Better, Result, Score, mean
from jax_talker.networks import lpips


class FrameMeter:
    """A number for each pair of frames, and their mean."""

    needs_faces = False

    def __init__(
        self, name: str, title: str, measure: Callable[[Pair], np.ndarray], better: Better, *, unit="", digits=3
    ):
        self._name, self._title, self._measure = name, title, measure
        self._better: Better = better
        self._unit, self._digits = unit, digits
        self._found: list[np.ndarray] = []

    def add(self, pair: Pair) -> None:
        self._found.append(np.asarray(self._measure(pair), np.float64)[: pair.count])

    def scores(self) -> list[Result]:
        values = np.concatenate(self._found)
        value = mean(values)
        score = Score(self._name, self._title, value, self._unit, self._better, values, digits=self._digits)
        return [score]


def psnr() -> FrameMeter:
    """−10·log₁₀ of the mean squared error of 8-bit frames, exact; ∞ for a frame that is the same in every bit."""
    return FrameMeter("psnr", "PSNR", _psnr, "higher", unit="dB", digits=2)


def ssim() -> FrameMeter:
    """11 × 11 Gaussian windows, the 3DGS code's variant."""
    return FrameMeter("ssim", "SSIM (3DGS)", lambda pair: np.asarray(_ssim(*pair.unit())), "higher")


def ssim_skimage() -> FrameMeter:
    """7 × 7 uniform windows, scikit-image's default."""
    return FrameMeter("ssim_skimage", "SSIM (skimage)", lambda pair: np.asarray(_ssim_skimage(*pair.unit())), "higher")


def lpips_meter(net: str, weights: dict[str, Array]) -> FrameMeter:
    """LPIPS v0.1 over the whole frame; ``net`` alex or vgg."""
    distance = jax.jit(functools.partial(lpips.distance, net))
    title = {"alex": "LPIPS (Alex)", "vgg": "LPIPS (VGG)"}[net]
    return FrameMeter(f"lpips_{net}", title, lambda pair: np.asarray(distance(weights, *pair.unit())), "lower")


_ssim = jax.jit(metrics.ssim)
_ssim_skimage = jax.jit(metrics.ssim_skimage)


def _psnr(pair: Pair) -> np.ndarray:
    square = (pair.pred.astype(np.int32) - pair.truth) ** 2
    share = 1.0 if pair.known is None else pair.known.mean((1, 2))  # elsewhere there is no difference
    with np.errstate(divide="ignore", invalid="ignore"):
        return -10 * np.log10(square.mean((1, 2, 3), dtype=np.float64) / share / 255**2)
