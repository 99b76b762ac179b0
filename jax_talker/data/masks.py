"""Upper and lower face regions from landmarks (DGTalker, supplement 1.6).

Both are pixel-wise regions inside the face's outline, so they follow the head's rotation. They share the line from the
jaw under the nose: above it are nose, eyes, brows and forehead, below it the whole lower face down to and including
the chin. Outwards each reaches a little beyond the landmarks, so that the contour itself (a chin that drops, a cheek's
edge) is supervised as well. Edges are soft, and where the regions meet they add up to one.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from jax_talker.data.landmarks import LandmarkScheme

MARGIN = 0.015  # of the image size: how far the regions reach beyond the outermost landmarks
SOFTNESS = 0.006  # of the image size: standard deviation of the edge
SUBPIXEL_BITS = 4  # fixed-point bits of OpenCV's polygon coordinates


def region_masks(
    landmarks: Float[np.ndarray, "P 2"], scheme: LandmarkScheme, size: int
) -> tuple[UInt8[np.ndarray, "{size} {size}"], UInt8[np.ndarray, "{size} {size}"]]:
    """(upper, lower) face regions in an image of ``size`` × ``size`` from landmarks in its pixels; 255 is inside."""
    upper, lower = (filled(polygon, size) for polygon in (scheme.upper_face(landmarks), scheme.lower_face(landmarks)))
    to_upper, to_lower = (cv2.distanceTransform(1 - region, cv2.DIST_L2, 5) for region in (upper, lower))
    near = np.minimum(to_upper, to_lower) <= MARGIN * size
    soft = [_softened(near & mine, size) for mine in (to_upper < to_lower, to_lower <= to_upper)]
    return soft[0], soft[1]


def filled(polygon: Float[np.ndarray, "M 2"], size: int) -> UInt8[np.ndarray, "{size} {size}"]:
    """1 inside a closed polygon of image coordinates (pixel centres at +0.5), 0 outside."""
    image = np.zeros((size, size), np.uint8)
    corners = np.round((polygon - 0.5) * 2**SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(image, [corners], (1,), shift=SUBPIXEL_BITS)
    return image


def _softened(region: np.ndarray, size: int) -> np.ndarray:
    blurred = cv2.GaussianBlur(region.astype(np.float32) * 255, (0, 0), SOFTNESS * size)
    return np.round(blurred).astype(np.uint8)
