"""Head pose from landmarks: per frame an EG3D camera label and the crop of the picture that it describes.

The head is held fixed in the world (y up, face along +z) and the camera moves around it. One rigid 3D face of the
person, the same in all frames, is projected into every picture by a pinhole camera:

    x_cam = R · (X − PIVOT) + (0, 0, distance)        u = centre + side · focal · x_cam.xy / x_cam.z

R (the camera's rotation), centre and side (the crop, in source pixels) are fitted to each frame's rigid landmarks, the
person's 3D face to all frames. ``distance`` follows from the label's convention: the camera stands on the sphere of
``geometry.RADIUS`` around the world's origin and looks along a line through the pivot, roll kept (EG3D's "orig" labels;
reference/peers.md H.2). So the crop takes up what the label cannot say: where the head is in the picture and how large.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float32, Float64

from jax_talker import geometry
from jax_talker.data.camera import pose_face
from jax_talker.data.camera.pose_fit import (
    ALL_BUT_SIDE,
    CENTRE,
    CROP,
    DIFFERENCE,
    EVERYTHING,
    LEAST_WEIGHT,
    Fit,
    Seen,
    first_poses,
    from_vector,
    in_source,
    mean_rotation,
    refine_poses,
    to_vector,
)
from jax_talker.data.camera.projection import ANCHORS, PIVOT, distance, in_camera
from jax_talker.data.camera.smoothing import NO_SMOOTHING, smooth_in_time, steady_size, stiffness_of
from jax_talker.data.read.boundaries import by_recording, spans_boundary
from jax_talker.data.track.landmarks import AVERAGE_FACE, MOVING, LandmarkScheme

__all__ = [
    "ANCHORS",
    "PIVOT",
    "HeadTrack",
    "Jitter",
    "euler_angles",
    "jitter",
    "moved",
    "track_head",
    "world_landmarks",
]

SHAPE_ROUNDS, SHAPE_STEPS = 6, 3
JOINT_STEPS = 8


@dataclass(frozen=True)
class Jitter:
    """Trembling of a camera: root mean square of second differences in time."""

    degrees: Float64[np.ndarray, " 3"]  # yaw, pitch, roll
    pixels: Float64[np.ndarray, " 3"]  # of the source: centre x, y and side of the crop


@dataclass(frozen=True)
class HeadTrack:
    """A head through T frames. ``label[t]`` describes what the square crop ``centre[t]``, ``side[t]`` shows."""

    label: Float32[np.ndarray, "T 25"]
    cam_from_world: Float64[np.ndarray, "T 4 4"]
    centre: Float64[np.ndarray, "T 2"]  # px of the source picture
    side: Float64[np.ndarray, " T"]  # px of the source picture
    euler: Float64[np.ndarray, "T 3"]  # degrees: yaw, pitch of the camera around the head; roll of the head
    face: Float64[np.ndarray, "K 3"]  # the person's rigid landmarks and mouth corners, world units
    indices: tuple[int, ...]  # which landmarks these are
    error: Float64[np.ndarray, " T"]  # mean distance of the rigid landmarks from the fit, as a share of the side
    nose_tip: Float64[np.ndarray, " 3"]  # world units
    jitter_raw: Jitter  # every frame fitted by itself
    jitter: Jitter  # of this track


def track_head(
    points: Float64[np.ndarray, "T P 2"],
    scheme: LandmarkScheme,
    *,
    depth: Float64[np.ndarray, "T P"] | None = None,
    rotation: Float64[np.ndarray, "T 3 3"] | None = None,
    smooth: float = 1.0,
    focal: float = geometry.FOCAL,
    source: Literal["landmarks", "matrix"] = "landmarks",
    weight: Float[np.ndarray, " T"] | None = None,
    boundaries: Sequence[int] = (),
) -> HeadTrack:
    """Fit labels and crops to landmarks in source pixels.

    With ``depth`` (same unit, away from the camera) and ``rotation`` (cam_from_head) the person's 3D face starts from
    their mean, without them from an average face. With ``source="matrix"`` rotations are ``rotation``, filtered, and
    only the crop is fitted.

    ``smooth`` is the width in frames of the temporal filter that the joint fit amounts to (``smoothing.stiffness_of``);
    below 0.3 every frame is fitted by itself. ``weight`` in [0, 1] says how much each frame's landmarks count
    (0: interpolated, its neighbours decide). ``boundaries`` are the frames with which another recording begins: the
    face is the same in all of them, but nothing ties frames of different ones together.
    """
    seen, face, anchors, indices = _given(points, scheme, depth, rotation, focal, weight)
    fixed = source == "matrix"
    if rotation is None:
        if fixed:
            raise ValueError("source='matrix' needs the landmarker's rotation")
        rotation = pose_face.affine_rotation(seen.points[:, seen.rigid], face[seen.rigid])
    start = Fit(rotation, *pose_face.first_crop(seen.points, face, focal))
    fit = refine_poses(seen, face, start, free=CROP) if fixed else first_poses(seen, face, start, boundaries)
    guess, free = face, CROP if fixed else EVERYTHING
    for _ in range(SHAPE_ROUNDS):
        refined = pose_face.refine_face(seen, face, fit, guess, poses_move=not fixed)
        face = pose_face.place(pose_face.align(refined, guess, seen.rigid), anchors)
        fit = refine_poses(seen, face, fit, free=free, steps=SHAPE_STEPS)
    raw = fit if fixed else first_poses(seen, face, fit, boundaries)
    fit = _steady(seen, face, raw, smooth, fixed, boundaries) if smooth >= NO_SMOOTHING else raw
    off = np.linalg.norm(in_source(face, fit, focal) - seen.points, axis=-1)[:, seen.rigid]
    return HeadTrack(
        **_placed(fit, focal, boundaries),
        face=face,
        indices=indices,
        error=off.mean(1) / fit.side,
        nose_tip=(anchors @ face)[2],
        jitter_raw=jitter_of(raw, boundaries),
    )


def moved(head: HeadTrack, fit: Fit, focal: float, boundaries: Sequence[int] = ()) -> HeadTrack:
    """``head`` with other poses and crops. ``error`` stays what landmarks say of the first ones."""
    return replace(head, **_placed(fit, focal, boundaries))


def _placed(fit: Fit, focal: float, boundaries: Sequence[int]) -> dict[str, Any]:
    cam_from_world = label_camera(fit.rotation)
    return {
        "label": geometry.make_label(geometry.invert_rigid(cam_from_world), focal).astype(np.float32),
        "cam_from_world": cam_from_world,
        "centre": fit.centre,
        "side": fit.side,
        "euler": euler_angles(fit.rotation),
        "jitter": jitter_of(fit, boundaries),
    }


def world_landmarks(
    points: Float64[np.ndarray, "T P 2"], depth: Float64[np.ndarray, "T P"], head: HeadTrack, focal: float
) -> Float64[np.ndarray, "T P 3"]:
    """Landmarks in the head's world: they project exactly onto ``points``, their depth comes from the landmarker.

    ``depth`` is relative; it is shifted so that the rigid landmarks lie, on average, as deep as the person's 3D face.
    """
    rotation = head.cam_from_world[:, :3, :3]
    _, z_face = in_camera(head.face, rotation)
    relative = depth * geometry.RADIUS / (focal * head.side)[:, None]  # px → world units at the camera's distance
    rigid = list(head.indices)
    z = relative - relative[:, rigid].mean(1, keepdims=True) + z_face.mean(1, keepdims=True)
    across = (points - head.centre[:, None]) / head.side[:, None, None] / focal * z[..., None]
    x = np.concatenate([across, (z - distance(rotation)[:, None])[..., None]], -1)
    return np.einsum("tji,tkj->tki", rotation, x) + PIVOT


def euler_angles(cam_from_world: Float64[np.ndarray, "T 3 3"]) -> Float64[np.ndarray, "T 3"]:
    """Degrees [yaw, pitch, roll]: where the camera stands around the head, as in ``geometry.orbit`` but exactly along
    the line of sight (yaw > 0: the person's left side is seen; pitch > 0: from above), and how far the head leans to
    the image's right."""
    towards_camera, up = -cam_from_world[:, 2], cam_from_world[:, :, 1]
    yaw = np.arctan2(towards_camera[:, 0], towards_camera[:, 2])
    pitch = np.arcsin(np.clip(towards_camera[:, 1], -1, 1))
    roll = np.arctan2(up[:, 0], -up[:, 1])
    return np.degrees(np.stack([yaw, pitch, roll], 1))


def jitter(values: Float[np.ndarray, "T D"], boundaries: Sequence[int] = ()) -> Float64[np.ndarray, " D"]:
    """Root mean square of second differences in time: what the eye sees as trembling.

    Differences across ``boundaries`` and those of frames that are NaN do not count; 0 where there are no others.
    """
    bend = np.diff(values.astype(np.float64), 2, axis=0)
    bend = bend[np.isfinite(bend).all(1) & ~spans_boundary(len(values), boundaries, 2)[: len(bend)]]
    return np.sqrt((bend**2).mean(0)) if len(bend) else np.zeros(values.shape[1])


def jitter_of(fit: Fit, boundaries: Sequence[int] = ()) -> Jitter:
    """Trembling of poses and crops."""
    crop = np.column_stack([fit.centre, fit.side])
    return Jitter(
        jitter(np.unwrap(euler_angles(fit.rotation), axis=0, period=360), boundaries), jitter(crop, boundaries)
    )


def label_camera(rotation: Float64[np.ndarray, "T 3 3"]) -> Float64[np.ndarray, "T 4 4"]:
    """cam_from_world of the label with this rotation."""
    pose = np.zeros((len(rotation), 4, 4))
    pose[:, :3, :3] = rotation
    pose[:, :3, 3] = -rotation @ PIVOT
    pose[:, 2, 3] += distance(rotation)
    pose[:, 3, 3] = 1
    return pose


# ---------------------------------------------------------------------------------------------------------------------


def _given(
    points: np.ndarray,
    scheme: LandmarkScheme,
    depth: np.ndarray | None,
    rotation: np.ndarray | None,
    focal: float,
    weight: np.ndarray | None,
) -> tuple[Seen, np.ndarray, np.ndarray, tuple[int, ...]]:
    """The landmarks of the fit, the first guess of the face, its anchors, and which landmarks these are."""
    if depth is not None and rotation is not None:
        indices = (*scheme.rigid, *(scheme.points[n] for n in MOVING))
        chosen = list(indices)
        head = np.concatenate([points[:, chosen], depth[:, chosen, None]], -1) @ rotation
        first_guess = pose_face.mean_shape(head)
    else:
        names = [n for n in AVERAGE_FACE if n not in MOVING] + list(MOVING)
        indices = tuple(scheme.points[n] for n in names)
        first_guess = np.array([AVERAGE_FACE[n] for n in names])
    rigid = np.ones(len(indices), bool)
    rigid[-len(MOVING) :] = False  # the mouth's corners only help to place the face in the world
    anchors = pose_face.anchor_matrix(scheme, indices)
    counts = np.ones(len(points)) if weight is None else np.clip(weight.astype(np.float64), LEAST_WEIGHT, 1)
    seen = Seen(points[:, list(indices)].astype(np.float64), rigid, counts, focal)
    return seen, pose_face.place(first_guess, anchors), anchors, indices


def _steady(seen: Seen, face: np.ndarray, raw: Fit, smooth: float, fixed: bool, boundaries: Sequence[int]) -> Fit:
    """The joint fit: first with the crop's size free, then with the size smoothed on its own.

    ``fixed``: rotations are the landmarker's, and only filtered.
    """
    if fixed:
        middle = mean_rotation(raw.rotation)
        pose = to_vector(raw, middle)
        pose[:, :3] = by_recording(lambda own: smooth_in_time(own, smooth), pose[:, :3], boundaries)
        raw = from_vector(pose, middle)
    apart = spans_boundary(len(raw.side), boundaries, len(DIFFERENCE) - 1)
    stiffness = np.where(apart, 0.0, stiffness_of(smooth))

    def fitted(start: Fit, free: slice) -> Fit:
        return refine_poses(seen, face, start, stiffness=stiffness, free=free, steps=JOINT_STEPS)

    free, last = (CROP, CENTRE) if fixed else (EVERYTHING, ALL_BUT_SIDE)
    fit = fitted(raw, free)
    return fitted(replace(fit, side=steady_size(fit.side, boundaries)), last)
