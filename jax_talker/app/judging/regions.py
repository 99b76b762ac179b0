"""PSNR of the parts of a face, by the masks of the camera that saw it: whole frames say little of a mouth."""

import numpy as np

from jax_talker.app.judging.meters import Pair
from jax_talker.app.judging.score import Result, Score, mean
from jax_talker.data.clip.clip import Clip

TITLES = {"psnr_face": "PSNR, face", "psnr_lower": "PSNR, lower face", "psnr_upper": "PSNR, upper face"}


class RegionMeter:
    """Frames ``indices`` of ``camera`` in order; a pixel of which nothing is known (Clip.valid) does not count. A frame
    whose part the camera does not see has no number.
    """

    needs_faces = False

    def __init__(self, camera: Clip, indices: np.ndarray):
        self._camera, self._indices = camera, indices
        self._found: list[tuple[float, ...]] = []

    def add(self, pair: Pair) -> None:
        for pred, truth in zip(pair.pred[: pair.count], pair.truth[: pair.count], strict=True):
            index = int(self._indices[len(self._found)])
            upper, lower = np.moveaxis(self._camera.masks(index)[..., :2] / 255, -1, 0)
            filmed = self._camera.valid(index) / 255
            square = ((pred / 255 - truth / 255) ** 2).mean(-1)
            parts = (np.maximum(upper, lower), lower, upper)
            self._found.append(tuple(_psnr(square, part * filmed) for part in parts))

    def scores(self) -> list[Result]:
        found = np.array(self._found, np.float64).reshape(-1, len(TITLES)).T
        return [
            Score(name, title, mean(values), "dB", "higher", values, digits=2)
            for (name, title), values in zip(TITLES.items(), found, strict=True)
        ]


def _psnr(square: np.ndarray, weight: np.ndarray) -> float:
    if not weight.any():
        return np.nan
    with np.errstate(divide="ignore"):
        return float(-10 * np.log10((square * weight).sum() / weight.sum()))
