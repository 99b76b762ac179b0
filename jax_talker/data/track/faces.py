"""What a landmarker says about a picture, and how it is asked; the landmarkers themselves are in landmarkers/."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64, UInt8


@dataclass(frozen=True)
class Face:
    """One face in one picture. Pixels: the centre of the top-left pixel is (0.5, 0.5), x right, y down."""

    points: Float64[np.ndarray, "P 2"]  # px
    depth: Float64[np.ndarray, " P"] | None = None  # px, away from the camera, relative to the head's middle
    rotation: Float64[np.ndarray, "3 3"] | None = None  # cam_from_head; head: y up, face +z; camera: OpenCV axes
    scores: Float32[np.ndarray, " S"] | None = None  # expression scores in [0, 1], named by Landmarker.score_names


@runtime_checkable
class Landmarker(Protocol):
    """Finds faces in pictures, each looked at by itself, so that they may come in any order.

    A context manager; one thread at a time may use it.
    """

    @property
    def name(self) -> str: ...

    @property
    def score_names(self) -> tuple[str, ...]:
        """What ``Face.scores`` holds; () for none."""
        ...

    @property
    def reach(self) -> float:
        """Share of a picture's longer side that a face needs in order to be found; 0: looking closer is in vain."""
        ...

    def __call__(self, rgb: UInt8[np.ndarray, "H W 3"], index: int) -> list[Face]:
        """Every face in picture ``index`` of the footage, in no particular order; [] where there is none."""
        ...

    def check_length(self, frames: int) -> None:
        """UserError when what this landmarker knows was not made for footage of ``frames`` pictures."""
        ...

    def __enter__(self) -> "Landmarker": ...

    def __exit__(self, *error: object) -> None: ...


@dataclass(frozen=True)
class FaceTrack:
    """One face through T frames, gaps filled."""

    points: Float64[np.ndarray, "T P 2"]
    depth: Float64[np.ndarray, "T P"] | None
    rotation: Float64[np.ndarray, "T 3 3"] | None
    scores: Float32[np.ndarray, "T S"] | None
    detected: Float32[np.ndarray, " T"]  # 1 where the face was found, 0 where it was interpolated


def box_of(points: Float64[np.ndarray, "P 2"]) -> Float64[np.ndarray, " 4"]:
    """The smallest upright box around points: left, top, right, bottom."""
    return np.concatenate([points.min(0), points.max(0)])


def sides_of(boxes: Float64[np.ndarray, "N 4"]) -> Float64[np.ndarray, " N"]:
    """Sides of the squares that are as large as the boxes; px."""
    return np.sqrt(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), 1))


def overlap(a: Float64[np.ndarray, " 4"], b: Float64[np.ndarray, " 4"]) -> float:
    """Intersection over union of two boxes, [0, 1]."""
    inside = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    union = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inside
    return float(inside / union) if union > 0 else 0.0
