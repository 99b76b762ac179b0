"""Which landmark is what: named groups for the two numberings that this project reads.

``MEDIAPIPE`` is MediaPipe's face mesh (468 points, 478 with irises); ``IBUG`` is the 68-point scheme of iBUG 300-W,
which face-alignment, dlib and our procedural head deliver. Left and right are the person's, as everywhere in the house.
"""

from dataclasses import dataclass

import numpy as np

from jax_talker.errors import UserError


@dataclass(frozen=True)
class Eye:
    """Landmarks of one eye: corners, and pairs of (upper lid, lower lid) that meet when it closes."""

    outer: int
    inner: int
    lids: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class LandmarkScheme:
    """Named groups of one landmark numbering. Contours are ordered, so that they can be drawn and filled."""

    name: str
    count: int
    left_eye: Eye
    right_eye: Eye
    nose_tip: int
    nose_base: int
    mouth_left: int
    mouth_right: int
    chin: int
    jaw: tuple[int, ...]  # along the face's lower edge, from the person's right side at nose-base level to the left
    forehead: tuple[int, ...]  # along its upper edge, left to right, from where the jaw ends; empty: not annotated
    below_nose: tuple[int, ...]  # from the jaw's end on the left under the nose to its beginning on the right
    brows: tuple[tuple[int, ...], ...]
    contours: tuple[tuple[int, ...], ...]  # closed contours for drawing: eyes, lips
    rigid: tuple[int, ...]  # points that speech and blinks hardly move; they carry the head's motion

    def anchors(self, points: np.ndarray) -> np.ndarray:
        """The five points of ``geometry.FACE_ANCHORS`` in its order, from points [..., P, D] → [..., 5, D]."""
        eyes = [points[..., [eye.outer, eye.inner], :].mean(-2) for eye in (self.left_eye, self.right_eye)]
        others = [points[..., i, :] for i in (self.nose_tip, self.mouth_left, self.mouth_right)]
        return np.stack([*eyes, *others], -2)


MEDIAPIPE = LandmarkScheme(
    name="mediapipe",
    count=478,
    left_eye=Eye(263, 362, ((385, 380), (386, 374), (387, 373))),
    right_eye=Eye(33, 133, ((158, 153), (159, 145), (160, 144))),
    nose_tip=4,
    nose_base=2,
    mouth_left=291,
    mouth_right=61,
    chin=152,
    jaw=(132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361),
    forehead=(323, 454, 356, 389, 251, 284, 332, 297, 338, 10, 109, 67, 103, 54, 21, 162, 127, 234, 93),
    below_nose=(401, 376, 411, 426, 327, 326, 2, 97, 98, 206, 187, 147, 177),
    brows=((300, 293, 334, 296, 336, 285, 295, 282, 283, 276), (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)),
    contours=(
        (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
        (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
        (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185),
        (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191),
    ),
    # eye corners, bridge, tip, base and wings of the nose, temples, hairline
    rigid=(33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 48, 278, 127, 356, 234, 454, 10, 109, 338),
)

IBUG = LandmarkScheme(
    name="ibug",
    count=68,
    left_eye=Eye(45, 42, ((43, 47), (44, 46))),
    right_eye=Eye(36, 39, ((37, 41), (38, 40))),
    nose_tip=30,
    nose_base=33,
    mouth_left=54,
    mouth_right=48,
    chin=8,
    jaw=tuple(range(2, 15)),
    forehead=(),
    below_nose=(35, 34, 33, 32, 31),
    brows=((22, 23, 24, 25, 26), (17, 18, 19, 20, 21)),
    contours=(tuple(range(36, 42)), tuple(range(42, 48)), tuple(range(48, 60)), tuple(range(60, 68))),
    rigid=(36, 39, 42, 45, 27, 28, 29, 30, 31, 33, 35),
)


def scheme_of(count: int) -> LandmarkScheme:
    """The numbering that a face of ``count`` landmarks uses."""
    schemes = {478: MEDIAPIPE, 468: MEDIAPIPE, 68: IBUG}
    if count not in schemes:
        raise UserError(f"faces of {count} landmarks are unknown here; supported: 478 or 468 (MediaPipe), 68 (iBUG)")
    return schemes[count]
