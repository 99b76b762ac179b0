"""What surrounds SyncNet in its authors' repository (joonson/syncnet_python): the crop of the face, the search."""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from scipy.signal import medfilt

CROP = 0.4  # of the box's half size, that the crop is wider on each side, and twice that at the bottom
GREY = 110  # beyond the picture
SMOOTH = 13  # frames of the median filter over boxes
MAX_SHIFT = 15  # video frames
EPS = 1e-6  # that PyTorch's pairwise distance adds to every difference


class Crop(NamedTuple):
    """Where a face is: half the longer side of its box, its middle; px."""

    half: float
    x: float
    y: float


def crops(boxes: Float[np.ndarray, "T 4"]) -> list[Crop]:
    """Smoothed crops of a track of boxes (left, top, right, bottom)."""
    sides = np.maximum(boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]) / 2
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    # As the original calls it: beyond the ends there are zeros, so the first and last six take a small neighbour's.
    smooth = (medfilt(values, SMOOTH) for values in (sides, middles[:, 0], middles[:, 1]))
    return [Crop(*map(float, one)) for one in zip(*smooth, strict=True)]


def cropped(picture: UInt8[np.ndarray, "H W 3"], crop: Crop, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """The face from its forehead to below the chin, as SyncNet was taught to see it, resized bilinearly."""
    border = int(crop.half * (1 + 2 * CROP))
    padded = np.pad(picture, ((border, border), (border, border), (0, 0)), constant_values=GREY)
    x, y, wide = crop.x + border, crop.y + border, crop.half * (1 + CROP)
    face = padded[int(y - crop.half) : int(y + crop.half * (1 + 2 * CROP)), int(x - wide) : int(x + wide)]
    if not face.size:  # a box of no size, as at the ends of a short track
        return np.full((size, size, 3), GREY, np.uint8)
    return np.asarray(cv2.resize(face, (size, size)))


class Sync(NamedTuple):
    """Sync-C, Sync-D and the shift at which picture and sound fit best."""

    confidence: float  # median over shifts minus minimum
    distance: float  # the minimum
    offset: int  # video frames; > 0: the sound comes before the picture
    per_shift: Float[np.ndarray, " S"]  # mean distance at each shift


def search(lips: Float[np.ndarray, "N D"], sound: Float[np.ndarray, "N D"], most: int = MAX_SHIFT) -> Sync:
    """The mean distance of picture i and sound i + s at every shift s within ±``most``; beyond the ends sound is 0, as
    in the original.
    """
    padded = np.pad(np.asarray(sound, np.float64), ((most, most), (0, 0)))
    lips = np.asarray(lips, np.float64) + EPS
    means = np.array([np.linalg.norm(lips - padded[s : s + len(lips)], axis=1).mean() for s in range(2 * most + 1)])
    best = int(means.argmin())
    return Sync(float(np.median(means) - means[best]), float(means[best]), most - best, means)
