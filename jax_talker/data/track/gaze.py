"""Where the eyes look, relative to the head: from MediaPipe's iris landmarks."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64

from jax_talker import geometry
from jax_talker.data.read.boundaries import recordings
from jax_talker.data.track.landmarks import LandmarkScheme

IRISES = {"left": (473, 474, 475, 476, 477), "right": (468, 469, 470, 471, 472)}  # of 478 points; the person's sides
# An average eye in units of the world (1 unit ≈ 40 cm: the eyes are 63 mm apart): the iris turns 10 mm before the
# ball's centre of rotation, and the corners of the lids lie 6 mm before it.
IRIS_RADIUS, CORNERS_BEFORE = 0.025, 0.015
EYE_DISTANCE = geometry.RADIUS - geometry.FACE_ANCHORS["left_eye"][2]  # from the camera of a label
LARGEST = np.sin(np.radians(50.0))  # eyes do not turn further; what says so is noise
SOLVER_STEPS = 6
CLOSED = 0.5  # blink; beyond this the iris is guessed by the landmarker


def gaze(
    points: Float64[np.ndarray, "T P 2"],
    scheme: LandmarkScheme,
    *,
    rotation: Float64[np.ndarray, "T 3 3"],
    side: Float64[np.ndarray, " T"],
    focal: float = geometry.FOCAL,
    blink: Float[np.ndarray, " T"] | None = None,
    boundaries: Sequence[int] = (),
) -> Float64[np.ndarray, "T 2"] | None:
    """Degrees [yaw, pitch] of both eyes' mean gaze in the head's frame (yaw > 0: to the person's left, pitch > 0: up);
    None for landmarks without irises.

    ``rotation`` is cam_from_head, ``side`` and ``focal`` are the crop's and the label's (``HeadTrack``). Zero is where
    this person looks most of the time (the clip's median): landmarks do not tell an eye's own axis. Frames with
    ``blink`` > 0.5 are interpolated within their recording (``boundaries``: frames with which another one begins).
    """
    if points.shape[1] <= max(max(i) for i in IRISES.values()):
        return None
    looks = [_eye(points, scheme, name, rotation, side, focal) for name in IRISES]
    look = np.mean(looks, axis=0)
    angles = np.degrees(np.stack([np.arctan2(look[:, 0], look[:, 2]), np.arcsin(np.clip(look[:, 1], -1, 1))], 1))
    closed = np.zeros(len(angles), bool) if blink is None else blink > CLOSED
    for own in recordings(len(angles), boundaries):
        opened = ~closed[own]
        if opened.any():
            frames = np.arange(len(opened))
            columns = [np.interp(frames, frames[opened], column[opened]) for column in angles[own].T]
            angles[own] = np.stack(columns, 1)
    return angles - np.median(angles, axis=0)


def _eye(
    points: np.ndarray, scheme: LandmarkScheme, name: str, rotation: np.ndarray, side: np.ndarray, focal: float
) -> np.ndarray:
    """Directions [T, 3] in the head's frame in which one eye looks, not calibrated."""
    corners = (scheme.named(points, f"{name}_eye_inner") + scheme.named(points, f"{name}_eye_outer")) / 2
    iris = points[:, list(IRISES[name])].mean(1)
    offset = (iris - corners) * (EYE_DISTANCE / (focal * side))[:, None]  # world units, in the picture's plane
    across, along = rotation[:, :2, :2], rotation[:, :2, 2]  # offset = across · xy + along · z of (iris − corners)
    look = np.zeros((len(points), 2))
    for _ in range(SOLVER_STEPS):
        z = IRIS_RADIUS * np.sqrt(1 - (look**2).sum(1)) - CORNERS_BEFORE
        look = np.linalg.solve(across, (offset - along * z[:, None])[..., None])[..., 0] / IRIS_RADIUS
        length = np.linalg.norm(look, axis=1, keepdims=True)
        look *= np.minimum(1, LARGEST / np.maximum(length, 1e-9))
    return np.concatenate([look, np.sqrt(1 - (look**2).sum(1, keepdims=True))], 1)
