"""Which landmark is what: named points and contours of the two numberings that this project reads.

``MEDIAPIPE`` is MediaPipe's face mesh (468 points, 478 with irises); ``IBUG`` is the 68-point scheme of iBUG 300-W,
which face-alignment and dlib deliver. Left and right are the person's. Code that uses landmarks asks for them by name,
so that it works for both.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

from jax_talker.errors import UserError

# Where named points of an average face lie: x to the person's left, y up, z forward, from the middle between the eyes,
# in units in which the eyes are 0.168 apart. Measured by us: three people's mean MediaPipe mesh, made symmetric and
# turned into EG3D's frame (landmarkers.mediapipe.MEDIAPIPE_FROM_HEAD). The first guess of a face whose landmarks come
# without depth.
AVERAGE_FACE: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {
        "left_eye_outer": (0.122, 0.003, -0.007),
        "left_eye_inner": (0.046, -0.003, 0.007),
        "right_eye_inner": (-0.046, -0.003, 0.007),
        "right_eye_outer": (-0.122, 0.003, -0.007),
        "nasion": (0.0, 0.014, 0.049),
        "bridge_upper": (0.0, -0.018, 0.071),
        "bridge_lower": (0.0, -0.050, 0.101),
        "nose_tip": (0.0, -0.086, 0.121),
        "nose_left": (0.042, -0.118, 0.055),
        "nose_base": (0.0, -0.122, 0.076),
        "nose_right": (-0.042, -0.118, 0.055),
        "mouth_left": (0.073, -0.188, 0.022),
        "mouth_right": (-0.073, -0.188, 0.022),
    }
)
MOVING = ("mouth_left", "mouth_right")  # the named points that speech moves
# Guesses where 68 landmarks are silent, chosen on three people's MediaPipe meshes and on procedural heads. The hairline
# is the level line at the eyes, lifted by this much of the distance from the nose's base to the brows, up to the
# temples' hair.
HAIRLINE_UP, HAIRLINE_REACH = 0.7, np.radians(55)
CHEEK_FORWARD = 0.8  # below the nose, cheeks lie behind the half ellipse through lips and contour
LEVEL_SAMPLES = 17


@dataclass(frozen=True)
class LandmarkScheme:
    """Named points and ordered contours of one landmark numbering; values are indices into [..., P, D] arrays."""

    name: str
    points: Mapping[str, int]  # every name of AVERAGE_FACE, and "chin"
    rigid: tuple[int, ...]  # all points that speech and blinks hardly move: they carry the head's motion
    left_lids: tuple[tuple[int, int], ...]  # pairs (upper lid, lower lid) that meet when the eye closes
    right_lids: tuple[tuple[int, int], ...]
    brows: tuple[tuple[int, ...], ...]
    eyes_and_lips: tuple[tuple[int, ...], ...]  # closed contours
    jaw: tuple[int, ...]  # the face's lower edge at nose-base level, from the person's right over the chin to the left
    temples: tuple[tuple[int, ...], tuple[int, ...]]  # its edge above that: left side going up, right side going down
    forehead: tuple[int, ...]  # the hairline between the temples, left to right; empty where it is not annotated
    nose_line: tuple[int, ...]  # from the jaw's left end, under the nose, to its right end: what divides the masks
    brow_line: tuple[int, ...] = field(default=())  # left to right; the hairline is guessed from it when not annotated
    # Where cheeks are not annotated: level lines around the face from the temples down as (right end on the contour,
    # left end, points whose mean lies between them in front), those down to the nose's base and those below it.
    levels_above: tuple[tuple[int, int, tuple[int, ...]], ...] = field(default=())
    levels_below: tuple[tuple[int, int, tuple[int, ...]], ...] = field(default=())

    def named(self, points: np.ndarray, name: str) -> np.ndarray:
        """The point called ``name``: [..., P, D] → [..., D]."""
        return points[..., self.points[name], :]

    def anchors(self, points: np.ndarray) -> np.ndarray:
        """The five points of ``geometry.FACE_ANCHORS``, in its order: [..., P, D] → [..., 5, D]."""
        eyes = [(self.named(points, f"{s}_eye_outer") + self.named(points, f"{s}_eye_inner")) / 2 for s in SIDES]
        return np.stack([*eyes, *(self.named(points, n) for n in ("nose_tip", "mouth_left", "mouth_right"))], -2)

    def upper_face(self, points: Float[np.ndarray, "P 2"]) -> Float[np.ndarray, "M 2"]:
        """The region above the nose's base as a closed polygon: nose, eyes, brows, forehead."""
        left, right = self.temples
        edge = np.concatenate([points[list(left)], self._hairline(points), points[list(right)]])
        return np.concatenate([points[[self.jaw[-1]]], edge, points[[self.jaw[0]]], points[list(self.nose_line[::-1])]])

    def lower_face(self, points: Float[np.ndarray, "P 2"]) -> Float[np.ndarray, "M 2"]:
        """The whole face below the nose as a closed polygon, down to and including the chin."""
        return points[[*self.jaw, *self.nose_line]]

    def outline(self, points: Float[np.ndarray, "P 2"]) -> Float[np.ndarray, "M 2"]:
        """The face's edge as a closed polygon: jaw, temples and hairline."""
        left, right = self.temples
        return np.concatenate(
            [points[[*self.jaw, *left]], self._hairline(points), points[list(right)]],
        )

    def cheeks(self, points: Float[np.ndarray, "P 2"]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The upper and the lower face between the ends of the contour as closed polygons, where cheeks are a guess.

        A level line around a face is nearly half an ellipse, so what is seen of it is one as well: through both its
        ends and the point in front. On a turned head it bulges beyond its far end, which lies behind the cheek. Empty
        for a scheme whose own points say where cheeks are.
        """
        if not self.levels_above:
            return [], []
        above = [self._hairline(points)[::-1], *(_level(*_axes(points, *line)) for line in self.levels_above)]
        below = above[-1:]
        for line in self.levels_below:
            middle, half, forward = _axes(points, *line)
            below.append(_level(middle, half, CHEEK_FORWARD * forward))
        polygons = (
            [np.concatenate([upper, lower[::-1]]) for upper, lower in itertools.pairwise(lines)]
            for lines in (above, below)
        )
        return next(polygons), next(polygons)

    def _hairline(self, points: np.ndarray) -> np.ndarray:
        if self.forehead:
            return points[list(self.forehead)]
        up = points[list(self.brow_line)].mean(0) - self.named(points, "nose_base")
        middle, half, forward = _axes(points, *self.levels_above[0])
        return _level(middle + HAIRLINE_UP * up, half, forward, HAIRLINE_REACH)[::-1]


def _axes(
    points: np.ndarray, right: int, left: int, front: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A level line's middle, half of its width (to the left) and the way forward to its front, each [2]."""
    middle = (points[right] + points[left]) / 2
    return middle, (points[left] - points[right]) / 2, points[list(front)].mean(0) - middle


def _level(middle: np.ndarray, half: np.ndarray, forward: np.ndarray, reach: float = np.pi / 2) -> np.ndarray:
    """What is seen of half an ellipse around the face, [samples, 2] from the right to the left; ``reach`` radians."""
    seen = np.arctan2(half @ half, abs(forward @ half))  # beyond, it turns out of sight
    far = min(reach, seen)
    ends = (-reach, far) if forward @ half > 0 else (-far, reach)
    angle = np.linspace(*ends, LEVEL_SAMPLES)[:, None]
    return middle + half * np.sin(angle) + forward * np.cos(angle)


SIDES = ("left", "right")

MEDIAPIPE = LandmarkScheme(
    name="mediapipe",
    points=MappingProxyType(
        {
            "left_eye_outer": 263, "left_eye_inner": 362, "right_eye_inner": 133, "right_eye_outer": 33,
            "nasion": 168, "bridge_upper": 197, "bridge_lower": 5, "nose_tip": 4,
            "nose_left": 327, "nose_base": 2, "nose_right": 98, "mouth_left": 291, "mouth_right": 61, "chin": 152,
        }
    ),
    # eye corners; bridge, tip, base and wings of the nose; temples; hairline
    rigid=(33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 48, 278, 127, 356, 234, 454, 10, 109, 338),
    left_lids=((385, 380), (386, 374), (387, 373)),
    right_lids=((158, 153), (159, 145), (160, 144)),
    brows=((300, 293, 334, 296, 336, 285, 295, 282, 283, 276), (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)),
    eyes_and_lips=(
        (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
        (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
        (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185),
        (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191),
    ),
    jaw=(132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361),
    temples=((323, 454, 356, 389), (162, 127, 234, 93)),
    forehead=(251, 284, 332, 297, 338, 10, 109, 67, 103, 54, 21),
    nose_line=(401, 376, 411, 426, 327, 326, 2, 97, 98, 206, 187, 147, 177),
)  # fmt: skip

IBUG = LandmarkScheme(
    name="ibug",
    points=MappingProxyType(
        {
            "left_eye_outer": 45, "left_eye_inner": 42, "right_eye_inner": 39, "right_eye_outer": 36,
            "nasion": 27, "bridge_upper": 28, "bridge_lower": 29, "nose_tip": 30,
            "nose_left": 35, "nose_base": 33, "nose_right": 31, "mouth_left": 54, "mouth_right": 48, "chin": 8,
        }
    ),
    rigid=(36, 39, 42, 45, 27, 28, 29, 30, 31, 33, 35),
    left_lids=((43, 47), (44, 46)),
    right_lids=((37, 41), (38, 40)),
    brows=((22, 23, 24, 25, 26), (17, 18, 19, 20, 21)),
    eyes_and_lips=(tuple(range(36, 42)), tuple(range(42, 48)), tuple(range(48, 60)), tuple(range(60, 68))),
    jaw=tuple(range(2, 15)),
    temples=((15, 16), (0, 1)),
    forehead=(),
    nose_line=(35, 34, 33, 32, 31),
    brow_line=(26, 25, 24, 23, 22, 21, 20, 19, 18, 17),
    levels_above=((0, 16, (27,)), (1, 15, (27, 33)), (2, 14, (33,))),
    levels_below=((3, 13, (33, 51)), (4, 12, (51, 57)), (5, 11, (57,))),
)  # fmt: skip


def scheme_of(count: int) -> LandmarkScheme:
    """The numbering of faces with ``count`` landmarks."""
    schemes = {478: MEDIAPIPE, 468: MEDIAPIPE, 68: IBUG}
    if count not in schemes:
        raise UserError(f"faces of {count} landmarks are not known; supported: 478 or 468 (MediaPipe) and 68 (iBUG)")
    return schemes[count]
