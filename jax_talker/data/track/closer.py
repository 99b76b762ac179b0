"""Small faces in large pictures: where the whole shows none, its parts are looked at, or where one was just seen.

Face detectors shrink what they are given, so a face must take up some share of it (``Landmarker.reach``): of 3840 px
MediaPipe needs 380.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float64, UInt8

from jax_talker.data.track.faces import Face, box_of, overlap, sides_of

WANTED = 50.0  # px; parts are so small that faces of this side are found for certain
STRIDE = 2 / 3  # of a part's side: a face that is too small for the next larger parts lies whole in one
AROUND = 4.0  # sides of a face that are looked at around it
SAME = 0.3  # overlap of two finds of one face

Look = Callable[[np.ndarray], Sequence[Face]]  # a picture [H, W, 3] → its faces, in its own pixels


def search_parts(look: Look, picture: UInt8[np.ndarray, "H W 3"], reach: float) -> list[Face]:
    """Faces in parts of a picture, in the largest parts that show any; ``reach`` as the landmarker's."""
    height, width = picture.shape[:2]
    side = max(height, width)
    while reach * side > WANTED:
        side = -(-side // 2)
        found = _each_once([face for part in _parts(width, height, side) for face in _in_part(look, picture, part)])
        if found:
            return search_around(look, picture, found) or found  # in the middle of a part landmarks are surest
    return []


def search_around(look: Look, picture: UInt8[np.ndarray, "H W 3"], near: Sequence[Face]) -> list[Face]:
    """Faces in the neighbourhood of where faces are or were."""
    height, width = picture.shape[:2]
    found: list[Face] = []
    for face in _each_once(near):
        box = box_of(face.points)
        half = AROUND * float(sides_of(box[None])[0]) / 2
        x, y = (box[:2] + box[2:]) / 2
        left, top = max(0, int(x - half)), max(0, int(y - half))
        right, bottom = min(width, int(x + half) + 1), min(height, int(y + half) + 1)
        if left < right and top < bottom:
            found += _in_part(look, picture, (left, top, right, bottom))
    return _each_once(found)


def _parts(width: int, height: int, side: int) -> Iterator[tuple[int, int, int, int]]:
    for top in _starts(height, side):
        for left in _starts(width, side):
            yield left, top, min(width, left + side), min(height, top + side)


def _starts(length: int, side: int) -> list[int]:
    """Where parts begin: evenly, the last one ends with the picture."""
    count = 1 if length <= side else 1 + int(np.ceil((length - side) / (STRIDE * side)))
    return np.linspace(0, max(0, length - side), count).astype(int).tolist()


def _in_part(look: Look, picture: np.ndarray, part: tuple[int, int, int, int]) -> list[Face]:
    left, top, right, bottom = part
    corner: Float64[np.ndarray, " 2"] = np.array([left, top], np.float64)
    found = look(np.ascontiguousarray(picture[top:bottom, left:right]))
    return [replace(face, points=face.points + corner) for face in found]


def _each_once(faces: Sequence[Face]) -> list[Face]:
    """Of finds that overlap the largest: a part's border cuts faces off."""
    kept: list[tuple[np.ndarray, Face]] = []
    boxes = [(box_of(face.points), face) for face in faces]
    for box, face in sorted(boxes, key=lambda one: -float(sides_of(one[0][None])[0])):
        if all(overlap(box, other) < SAME for other, _ in kept):
            kept.append((box, face))
    return [face for _, face in kept]
