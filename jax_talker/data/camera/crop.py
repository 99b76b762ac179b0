"""The square crop that a camera label describes: where it lies in the source, and the picture resampled once."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Float64, UInt8


@dataclass(frozen=True)
class Crop:
    """An upright square of the source picture. Pixels: the centre of the top-left pixel is (0.5, 0.5)."""

    centre: Float64[np.ndarray, " 2"]  # px of the source
    side: float  # px of the source

    def to_crop(self, points: Float[np.ndarray, "*n 2"], size: int) -> Float[np.ndarray, "*n 2"]:
        """Source pixels → pixels of the crop at ``size`` × ``size``."""
        return (points - self.centre) * (size / self.side) + size / 2

    def widened(self, factor: float) -> "Crop":
        return Crop(self.centre, self.side * factor)

    def cut(self, image: UInt8[np.ndarray, "H W C"], size: int) -> UInt8[np.ndarray, "size size C"]:
        """The crop at ``size`` × ``size``; what lies outside the source repeats its edge (see ``inside``).

        One resampling: cubic when the crop is enlarged; when it shrinks, every source pixel is sampled (bilinear, on a
        grid that divides the target's pixels) and each target pixel is the mean over its area, so nothing aliases.
        """
        fine = max(1, math.ceil(self.side / size - 1e-6))  # samples per target pixel and axis
        step = self.side / (fine * size)  # source pixels per sample
        corner = self.centre - self.side / 2 + step / 2 - 0.5  # index of the first sample; a pixel's centre is at +0.5
        matrix = np.array([[step, 0, corner[0]], [0, step, corner[1]]])
        cut = cv2.warpAffine(
            image,
            matrix,
            (fine * size, fine * size),
            flags=cv2.WARP_INVERSE_MAP | (cv2.INTER_CUBIC if fine == 1 else cv2.INTER_LINEAR),
            borderMode=cv2.BORDER_REPLICATE,
        )
        cut = cut if fine == 1 else cv2.resize(cut, (size, size), interpolation=cv2.INTER_AREA)
        return np.asarray(cut).reshape(size, size, image.shape[2])

    def inside(self, source_shape: tuple[int, ...], size: int) -> Float64[np.ndarray, "size size"]:
        """1 where the crop lies inside a source picture [H, W, …], 0 where there was nothing to see, soft between."""
        height, width = source_shape[:2]
        place = (np.arange(size) + 0.5) * self.side / size - self.side / 2
        pixel = self.side / size
        rows, columns = (
            np.clip((self.centre[axis] + place) / pixel + 0.5, 0, 1)
            * np.clip((length - self.centre[axis] - place) / pixel + 0.5, 0, 1)
            for axis, length in ((1, height), (0, width))
        )
        return rows[:, None] * columns

    def filmed(self, source_shape: tuple[int, ...], size: int) -> UInt8[np.ndarray, "size size"]:
        """255 where the whole pixel of the crop lies inside a source picture [H, W, …], 0 elsewhere: what is there is
        the picture's repeated edge, in whole or in part, so it is not known."""
        return np.where(self.inside(source_shape, size) > 1 - 1e-6, np.uint8(255), np.uint8(0))
