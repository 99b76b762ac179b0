"""Upper and lower face regions, from landmarks alone or pixel by pixel with face parsing (DGTalker, supplement 1.6).

Both kinds follow the head's rotation and share the line from the jaw under the nose: above it are nose, eyes, brows and
forehead, below it the whole lower face down to and including the chin. Edges are soft, and where the regions meet they
add up to one.

*Landmarks alone*: what they enclose. Outwards each region reaches a little beyond them, so that the contour itself (a
chin that drops, a cheek's edge) is supervised as well. Hair over the forehead, a hand or a microphone count as face.

*With parsing*: the pixels that are face by their class, so that the regions end where the face does: at the fringe, at
the far cheek of a turned head, at the microphone. The landmarks only say whose face it is and divide its skin.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from jax_talker.data.cut.face_parts import ABOVE, BELOW, FACE, among
from jax_talker.data.track.landmarks import LandmarkScheme

MARGIN = 0.0075  # of the image size: how far the regions reach beyond the outermost landmarks
# Of the image size: how far parsed pixels may be from the landmarks' regions. Foreheads above a guessed hairline and
# cheeks of turned heads are nearer; a hand or a second face (both are skin) is not always.
PARSED_MARGIN = 0.08
SOFTNESS = 0.006  # of the image size: standard deviation of the edge
PARSED_SOFTNESS = 0.002  # a parsed edge is where the face ends
SUBPIXEL_BITS = 4  # fixed-point bits of OpenCV's polygon coordinates


def region_masks(
    landmarks: Float[np.ndarray, "P 2"],
    scheme: LandmarkScheme,
    size: int,
    parts: UInt8[np.ndarray, "{size} {size}"] | None = None,
) -> tuple[UInt8[np.ndarray, "{size} {size}"], UInt8[np.ndarray, "{size} {size}"]]:
    """(upper, lower) face regions in an image of ``size`` × ``size`` from landmarks in its pixels; 255 is inside.

    ``parts`` are the pixels' classes (``face_parts.FacePart``), when they are known.
    """
    upper, lower = (filled(polygon, size) for polygon in (scheme.upper_face(landmarks), scheme.lower_face(landmarks)))
    for polygons, mine, other in zip(scheme.cheeks(landmarks), (upper, lower), (lower, upper), strict=True):
        for polygon in polygons:
            cheeks = filled(polygon, size) > 0
            mine[cheeks], other[cheeks] = 1, 0
    to_upper, to_lower = (cv2.distanceTransform(1 - region, cv2.DIST_L2, 5) for region in (upper, lower))
    away, below = np.minimum(to_upper, to_lower), to_lower <= to_upper
    if parts is None:
        face, softness = away <= MARGIN * size, SOFTNESS
    else:
        face = connected(among(parts, FACE) & (away <= PARSED_MARGIN * size), away == 0)
        below = (below | among(parts, BELOW)) & ~among(parts, ABOVE)
        softness = PARSED_SOFTNESS
    return _softened(face & ~below, softness * size), _softened(face & below, softness * size)


def connected(
    region: Bool[np.ndarray, "size size"], seed: Bool[np.ndarray, "size size"]
) -> Bool[np.ndarray, "size size"]:
    """The connected parts of a region that lie at least partly in ``seed``."""
    labels = np.asarray(cv2.connectedComponents(region.astype(np.uint8), connectivity=4)[1], np.intp)
    kept = np.zeros(labels.max() + 1, bool)
    kept[labels[seed & region]] = True
    return kept[labels]


def filled(polygon: Float[np.ndarray, "M 2"], size: int) -> UInt8[np.ndarray, "{size} {size}"]:
    """1 inside a closed polygon of image coordinates (pixel centres at +0.5), 0 outside."""
    image = np.zeros((size, size), np.uint8)
    corners = np.round((polygon - 0.5) * 2**SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(image, [corners], (1,), shift=SUBPIXEL_BITS)
    return image


def _softened(region: np.ndarray, deviation: float) -> np.ndarray:
    blurred = cv2.GaussianBlur(region.astype(np.float32) * 255, (0, 0), deviation)
    return np.round(blurred).astype(np.uint8)
