"""What can be said of one picture of a face by itself: how sharp, how bright, how clipped, of what colours.

The numbers are kept per frame, so that the doctor can look at a whole clip without its pictures. Everything is measured
on the face alone, found by its landmarks; a clip's heads on white give the same numbers as pictures with a background.
"""

from types import MappingProxyType

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from jax_talker.data.track.landmarks import LandmarkScheme

COARSE = 128  # px; clipping is judged on a picture of this size, where a single bright pixel (a glint) has gone
WHITE = 245  # luma; skin beyond it has lost its texture (8 bit; the rest of the way is sensors' soft shoulders)
BLACK = 12  # luma; below it 8-bit video has no texture left; the darkest skin in fair light stays above 25
THUMB = 32  # px of the small picture in which faces are laid over each other
# Where the eyes' centres and the nose's base come to lie in it; a forehead and a chin fit around them.
CANONICAL = np.array([[21.0, 12.0], [11.0, 12.0], [16.0, 20.0]], np.float32)
# Patches of the small picture: rows, columns. Left and right are the person's, so left is on the picture's right.
PATCHES = MappingProxyType(
    {
        "forehead": (slice(4, 8), slice(12, 20)),
        "left_cheek": (slice(16, 21), slice(20, 25)),
        "right_cheek": (slice(16, 21), slice(7, 12)),
        "nose": (slice(12, 18), slice(14, 18)),
        "mouth": (slice(21, 25), slice(12, 20)),
        "chin": (slice(26, 30), slice(12, 20)),
    }
)
OCTAVES = (0.7, 1.4, 2.8)  # px; widths of the blurs between which detail is measured
LEAST_CONTRAST = 0.1  # of an 8-bit step; below it there is nothing in the picture that could be sharp
STAT_NAMES = (
    "sharpness",
    "brightness",
    "over_exposed",
    "under_exposed",
    *(f"tone_{patch}_{axis}" for patch in PATCHES for axis in "lab"),
)


def picture_stats(
    seen: UInt8[np.ndarray, "S S 3"], landmarks: Float[np.ndarray, "P 2"], scheme: LandmarkScheme
) -> dict[str, float]:
    """The numbers of ``STAT_NAMES`` for a crop [S, S, 3] (sRGB) and landmarks in its pixels.

    - ``sharpness``: contrast of detail finer than 0.7 px over that between 1.4 and 2.8 px, around eyes and nose. It
      does not depend on contrast or brightness. Measured: 0.34–0.49 for real people's crops about as large as in
      the source, 0.26–0.33 enlarged twice, 0.20–0.27 after a blur of 1 px, 0.15–0.22 after 2 px. Noise adds to it.
    - ``brightness``: mean luma of the face, 0 … 255.
    - ``over_exposed``, ``under_exposed``: share of the face whose luma is beyond ``WHITE`` or below ``BLACK``.
    - ``tone_<patch>_<l, a, b>``: mean CIELAB colour of patches of the face, laid over each other by the landmarks:
      what is held in front of the face changes them.

    A picture whose landmarks lie outside it gives what its nearest edge shows.
    """
    size = len(seen)
    corners = _bounds(landmarks[list(scheme.rigid)], size)
    box = cv2.cvtColor(seen[corners], cv2.COLOR_RGB2GRAY)
    small = seen if size <= COARSE else cv2.resize(seen, (COARSE, COARSE), interpolation=cv2.INTER_AREA)
    luma = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    face = np.zeros(luma.shape, np.uint8)
    outline = np.round((scheme.outline(landmarks) * (len(small) / size) - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(face, [outline], (1,), shift=4)
    inside = luma[face > 0]
    inside = inside if inside.size else luma.ravel()
    stats = {
        "sharpness": _sharpness(box),
        "brightness": float(inside.mean()),
        "over_exposed": float((inside > WHITE).mean()),
        "under_exposed": float((inside < BLACK).mean()),
    }
    return stats | _tones(small, landmarks * (len(small) / size), scheme)


def _bounds(points: np.ndarray, size: int) -> tuple[slice, slice]:
    """Rows and columns of a box around points: inside the picture, and at least 16 px wide."""
    low = np.clip(np.floor(points.min(0)).astype(int), 0, max(0, size - 16))
    high = np.clip(np.ceil(points.max(0)).astype(int), low + 16, size)
    return slice(low[1], high[1]), slice(low[0], high[0])


def _sharpness(gray: np.ndarray) -> float:
    fine = gray.astype(np.float32)
    blurred = [cv2.GaussianBlur(fine, (0, 0), sigma) for sigma in OCTAVES]
    first, second = (float(cv2.absdiff(a, b).mean()) for a, b in ((fine, blurred[0]), (blurred[1], blurred[2])))
    return first / second if second > LEAST_CONTRAST else 0.0


def _tones(small: np.ndarray, landmarks: np.ndarray, scheme: LandmarkScheme) -> dict[str, float]:
    eyes = scheme.anchors(landmarks)[:2]
    own = np.stack([*eyes, scheme.named(landmarks, "nose_base")]).astype(np.float32)
    thumb_from_small = cv2.getAffineTransform(own - 0.5, CANONICAL - 0.5)
    if not np.isfinite(thumb_from_small).all():  # three points on a line: a profile seen edge-on
        thumb_from_small = np.array([[1, 0, 0], [0, 1, 0]], np.float64) * (THUMB / len(small))
    thumb = cv2.warpAffine(
        cv2.blur(small, (3, 3)),
        thumb_from_small,
        (THUMB, THUMB),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    lab = cv2.cvtColor(thumb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    return {
        f"tone_{name}_{axis}": float(value)
        for name, patch in PATCHES.items()
        for axis, value in zip("lab", lab[patch].mean((0, 1)), strict=True)
    }
