"""Side cameras from a front camera: no calibration is published with MEAD, but its cameras stand still.

One rotation per side view is estimated from the landmarks of many frames (``cameras``). A side camera then moves
around the head exactly as the front one does, so its landmarks are needed in enough frames only: where a face is seen
from too far aside to be found, label and crop follow the front camera.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy.ndimage import uniform_filter1d
from scipy.spatial.transform import Rotation

from jax_talker import geometry
from jax_talker.data.camera.bundle import MEDIAN_RAYLEIGH, geman_mcclure
from jax_talker.data.camera.cameras import Cameras, fit_crops, median_rotation, solve_cameras
from jax_talker.data.camera.pose import HeadTrack, Jitter, euler_angles, jitter, jitter_of, label_camera
from jax_talker.data.camera.pose_face import affine_rotation
from jax_talker.data.camera.pose_fit import Fit, Seen, refine_poses
from jax_talker.data.camera.projection import PIVOT, distance, project
from jax_talker.data.camera.smoothing import smooth_in_time, steady_size
from jax_talker.data.clip.clip import FPS
from jax_talker.data.clip.findings import Finding, Severity
from jax_talker.data.read.boundaries import by_recording, recordings
from jax_talker.data.track.landmarks import MOVING, LandmarkScheme
from jax_talker.errors import UserError

LEAST_FRAMES = 10  # with a face in them; fewer do not say how a camera is turned
SAMPLE = 160  # frames from which the cameras are estimated, evenly spread over those that a side camera sees
LARGE_RESIDUAL = 3.0  # degrees; a usual recording's, above which the calibration is doubtful
OUT_OF_STEP = 3.0  # times the usual recording's: not synchronous, or the camera was moved
FOLLOW = 25.0  # frames' worth of trust in the geometry by which a crop follows the front camera's
LEAST_BEND = 0.1  # of what it would be at the label's distance; a camera is not infinitely far away
NOT_THE_FACE = 5.0  # times the usual distance of landmarks from the face
LEAST_AWAY = 0.004  # of the crop's side: no landmarker is nearer than this
SLOWLY = 9  # frames over which a disagreement must last; shorter ones are the landmarks' noise


@dataclass(frozen=True)
class Calibrated:
    """A side camera through the T frames of the clip."""

    head: HeadTrack  # label, crop and angles as the front camera's; ``error`` is NaN where the face was not found
    points: Float64[np.ndarray, "T P 2"]  # px; the person's mean face, projected, where it was not found
    seen: Bool[np.ndarray, " T"]  # whether landmarks were given
    side_from_front: Float64[np.ndarray, "3 3"]  # rotation between cameras that see the head at its usual place
    residual: Float64[np.ndarray, " T"]  # degrees between this and the frame's own landmarks; NaN where not seen
    findings: tuple[Finding, ...]


def calibrate(
    front: HeadTrack,
    front_points: Float[np.ndarray, "T P 2"],
    sides: Mapping[str, Float[np.ndarray, "T P 2"]],
    scheme: LandmarkScheme,
    *,
    focal: float = geometry.FOCAL,
    smooth: float = 1.0,
    boundaries: Sequence[int] = (),
) -> dict[str, Calibrated]:
    """Calibrate side cameras against the front one; all are estimated together, which helps each.

    ``front`` is ``track_head`` of ``front_points``; ``sides`` are landmarks of the same moments in px of each camera's
    own picture, NaN where no face was found. ``boundaries``: frames with which a new recording begins; nothing is
    smoothed across them. Labels follow the convention of ``pose`` (radius 2.7, EG3D's "orig"), crops take up the rest.

    UserError names a view whose face was found in too few frames.
    """
    names = list(sides)
    points = np.stack([np.asarray(front_points, np.float64), *(np.asarray(sides[n], np.float64) for n in names)])
    seen = np.asarray(np.isfinite(points).all((2, 3)))
    seen[0] &= np.isfinite(front.centre).all(1)
    for name, found in zip(names, seen[1:], strict=True):
        if found.sum() < LEAST_FRAMES:
            raise UserError(
                f"view {name}: a face was found in {found.sum()} of {len(found)} frames, at least {LEAST_FRAMES} are "
                "needed to find out where this camera stands; leave the view out"
            )
    rigid = list(front.indices[: -len(MOVING)])
    cameras = _cameras(front, np.where(seen[..., None, None], points, np.nan), seen, rigid, focal)
    face = _mean_face(front, points, seen, cameras, focal)
    return {
        name: _side(front, points[v], seen[v], v, cameras, rigid, face, focal, smooth, boundaries, name)
        for v, name in enumerate(names, start=1)
    }


def _cameras(front: HeadTrack, points: np.ndarray, seen: np.ndarray, rigid: list[int], focal: float) -> Cameras:
    """Robust first guesses of every camera by itself, then all together."""
    face, rotation = front.face[: len(rigid)], front.cam_from_world[:, :3, :3]
    views = len(points)
    turns, references, sizes = [np.eye(3)], [front.centre.mean(0)], [front.side.mean()]
    used = _even(np.flatnonzero(seen[1:].any(0)), SAMPLE)
    for v in range(1, views):
        own = _even(np.flatnonzero(seen[v]), SAMPLE)
        used = np.union1d(used, _even(own, SAMPLE // views))
        guess = affine_rotation(points[v][own][:, rigid], face)
        turns.append(median_rotation(guess @ rotation[own].swapaxes(1, 2)))
        centre, side = fit_crops(
            points[v][own][:, rigid], project(face, turns[v] @ rotation[own], focal), np.ones((len(own), len(rigid)))
        )
        references.append(np.median(centre, 0))
        sizes.append(np.median(side))
    # A camera as far away as the label's would have the focal length focal · side; the truth is of this order.
    size = np.array(sizes)
    start = Cameras(np.stack(turns), 1 / (focal * size), np.stack(references), size, face)
    return solve_cameras(points[:, used][:, :, rigid], start, rotation[used], focal=focal)


def _side(
    front: HeadTrack,
    points: np.ndarray,
    seen: np.ndarray,
    view: int,
    cameras: Cameras,
    rigid: list[int],
    face: np.ndarray,
    focal: float,
    smooth: float,
    boundaries: Sequence[int],
    name: str,
) -> Calibrated:
    front_rotation = front.cam_from_world[:, :3, :3]
    centre = np.broadcast_to(cameras.reference[view], front.centre.shape)
    rotation = cameras.rotation(front_rotation, front.centre, view, centre)
    given, seen = seen, _fits(points[:, rigid], seen, project(cameras.face, rotation, focal))
    follow = _following(front, cameras, view, focal)
    for _ in range(2):  # where the head is seen turns the label a little, and that moves the crop a little
        image = project(cameras.face, rotation, focal)
        centre, side = _crops(front, points[:, rigid], seen, image, follow, smooth, boundaries)
        rotation = cameras.rotation(front_rotation, front.centre, view, centre)
    image = project(cameras.face, rotation, focal)
    away = points[:, rigid] - centre[:, None] - side[:, None, None] * image
    filled = points.copy()
    filled[~seen] = (centre[:, None] + side[:, None, None] * project(face, rotation, focal))[~seen]
    cam_from_world = label_camera(rotation)
    fit = Fit(rotation, centre, side)
    own = _own_fits(points[:, rigid], cameras.face, fit, seen, focal)
    residual = _disagreement(own, fit, seen, boundaries)
    head = replace(
        front,
        label=geometry.make_label(geometry.invert_rigid(cam_from_world), focal).astype(np.float32),
        cam_from_world=cam_from_world,
        centre=centre,
        side=side,
        euler=euler_angles(rotation),
        face=np.concatenate([cameras.face, front.face[len(rigid) :]]),
        error=np.where(seen, np.linalg.norm(away, axis=-1).mean(1) / side, np.nan),
        jitter_raw=_jitter_where(seen, own, boundaries),
        jitter=jitter_of(fit, boundaries),
    )
    return Calibrated(
        head, filled, seen, cameras.side_from_front[view], residual, _findings(name, given, seen, residual, boundaries)
    )


def _crops(
    front: HeadTrack,
    points: np.ndarray,
    seen: np.ndarray,
    image: np.ndarray,
    follow: np.ndarray,
    smooth: float,
    boundaries: Sequence[int],
) -> tuple[np.ndarray, np.ndarray]:
    """Centre [T, 2] and side [T] of the crops, steady in time; where the face is unseen, they follow the front's."""
    weight = np.ones(points.shape[:2])
    centre, side = np.zeros((len(seen), 2)), np.ones(len(seen))
    for _ in range(3):  # reweighted
        centre[seen], side[seen] = fit_crops(points[seen], image[seen], weight[seen])
        away = np.linalg.norm(points - centre[:, None] - side[:, None, None] * image, axis=-1) / side[:, None]
        noise = max(float(np.median(away[seen])) / MEDIAN_RAYLEIGH, 1e-6)
        weight, _ = geman_mcclure((away / noise) ** 2)
    crop = np.column_stack([centre, np.log(np.maximum(side, 1e-6))])
    crop = _follow(np.column_stack([front.centre, np.log(front.side)]), crop, seen, follow, boundaries)
    side = steady_size(np.exp(crop[:, 2]), boundaries) if smooth else np.exp(crop[:, 2])
    total = np.maximum(weight.sum(1, keepdims=True), 1e-12)
    exact = (weight[..., None] * (points - side[:, None, None] * image)).sum(1) / total  # given the steady side
    crop[seen, :2] = exact[seen]
    return by_recording(lambda own: smooth_in_time(own, smooth), crop[:, :2], boundaries), side


def _fits(points: np.ndarray, seen: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Frames whose landmarks look like this face from there, rather than like another face or a hand."""
    centre, side = fit_crops(points, image, np.ones(points.shape[:2]))
    away = np.linalg.norm(points - centre[:, None] - side[:, None, None] * image, axis=-1).mean(1)
    usual = max(float(np.median(away[seen])), LEAST_AWAY * float(np.median(side[seen])))
    return seen & (away <= NOT_THE_FACE * usual) & (side > 0)


def _following(front: HeadTrack, cameras: Cameras, view: int, focal: float) -> np.ndarray:
    """How a side camera's crop (x, y, log side) moves when the front camera's does, [3, 3]: one point, two cameras."""
    far = 1 / np.maximum(cameras.bend[[0, view]], LEAST_BEND / (focal * front.side.mean()))  # focal lengths, px
    ratio = cameras.size[view] / cameras.size[0]  # both crops show the same piece of the world
    moved = cameras.side_from_front[view] @ np.diag([1, 1, -far[0]])  # of a front crop's (x, y, log side), in its px
    return ratio * np.diag([1, 1, -1 / far[1]]) @ moved


def _follow(
    front: np.ndarray, crop: np.ndarray, seen: np.ndarray, slope: np.ndarray, boundaries: Sequence[int]
) -> np.ndarray:
    """Fill unseen rows of ``crop`` [T, 3]: linear in the front's, ``slope`` corrected by what is seen, plus what
    neighbours in the recording differ by."""
    mean, scale = front[seen].mean(0), np.maximum(front[seen].std(0), 1e-9)
    known = (front - mean) / scale
    middle = crop[seen].mean(0)
    expected = known @ (scale[:, None] * slope.T)
    normal = known[seen].T @ known[seen] + FOLLOW * np.eye(3)
    change = np.linalg.solve(normal, known[seen].T @ (crop[seen] - middle - expected[seen]))
    predicted = middle + expected + known @ change
    filled = predicted.copy()
    filled[seen] = crop[seen]
    every = np.arange(len(seen))
    for own in recordings(len(seen), boundaries):
        here, blind = every[own][seen[own]], every[own][~seen[own]]
        if len(here) and len(blind):
            differs = crop[here] - predicted[here]
            filled[blind] += np.stack([np.interp(blind, here, column) for column in differs.T], 1)
    return filled


def _mean_face(front: HeadTrack, points: np.ndarray, seen: np.ndarray, cameras: Cameras, focal: float) -> np.ndarray:
    """All P landmarks in the world [P, 3]: triangulated from every camera, expressions averaged."""
    count = points.shape[2]
    normal, right = np.zeros((count, 3, 3)), np.zeros((count, 3))
    rigid = list(front.indices[: -len(MOVING)])
    for v in range(len(points)):
        own = _even(np.flatnonzero(seen[v]), SAMPLE)
        rotation = front.cam_from_world[own, :3, :3]
        if v:
            rotation = cameras.rotation(
                rotation, front.centre[own], v, np.broadcast_to(cameras.reference[v], (len(own), 2))
            )
        image = project(cameras.face, rotation, focal)
        centre, side = fit_crops(points[v][own][:, rigid], image, np.ones(image.shape[:2]))
        ray = (points[v][own] - centre[:, None]) / side[:, None, None] / focal  # [T, P, 2] = x.xy / x.z
        rows = rotation[:, None, :2] - ray[..., None] * rotation[:, None, 2:]
        values = ray * distance(rotation)[:, None, None]
        normal += np.einsum("tpia,tpib->pab", rows, rows)
        right += np.einsum("tpia,tpi->pa", rows, values)
    return PIVOT + np.linalg.solve(normal, right[..., None])[..., 0]


def _findings(
    name: str, given: np.ndarray, seen: np.ndarray, residual: np.ndarray, boundaries: Sequence[int]
) -> tuple[Finding, ...]:
    found = []
    parts = recordings(len(seen), boundaries)
    medians = [float(np.median(residual[own][seen[own]])) if seen[own].any() else np.nan for own in parts]
    usual, end = float(np.nanmedian(medians)), len(seen) / FPS
    if usual > LARGE_RESIDUAL:
        message = f"view {name}: its landmarks disagree with the calibrated camera by {usual:.1f}° in a usual recording"
        advice = "look at its overlays; leave the view out of evaluations if they are off"
        found.append(Finding("calibration", Severity.WARNING, 0, end, message, advice))
    if wrong := int((given & ~seen).sum()):
        message = f"view {name}: landmarks of {wrong} frames are not those of this face and are not used"
        found.append(Finding("wrong_landmarks", Severity.NOTE, 0, end, message))
    for own, here in zip(parts, medians, strict=True):
        begin, stop = own.start / FPS, own.stop / FPS
        if np.isnan(here):
            message = f"view {name}: no face found in this recording; its camera follows the front one"
            found.append(Finding("face_unseen", Severity.NOTE, begin, stop, message))
        elif here > max(LARGE_RESIDUAL, OUT_OF_STEP * usual):
            message = f"view {name}: {here:.1f}° off the calibrated camera, elsewhere {usual:.1f}°"
            advice = "the views of this recording are not synchronous, or the camera was moved; leave it out"
            found.append(Finding("out_of_step", Severity.WARNING, begin, stop, message, advice))
    return tuple(found)


# ---------------------------------------------------------------------------------------------------------------------


def _own_fits(points: np.ndarray, face: np.ndarray, fit: Fit, seen: np.ndarray, focal: float) -> Fit:
    """The seen frames' cameras and crops by their own landmarks alone, each frame by itself."""
    every = np.ones(len(face), bool)
    given = Seen(points[seen], every, np.ones(int(seen.sum())), focal)
    return refine_poses(given, face, fit.at(seen))


def _disagreement(own: Fit, fit: Fit, seen: np.ndarray, boundaries: Sequence[int]) -> np.ndarray:
    """Degrees [T] by which frames' own landmarks turn their camera, averaged over neighbouring frames; NaN unseen."""
    turn = np.zeros((len(seen), 3))
    turn[seen] = Rotation.from_matrix(own.rotation @ fit.rotation[seen].swapaxes(1, 2)).as_rotvec()

    def around(values: np.ndarray) -> np.ndarray:
        return uniform_filter1d(values, SLOWLY, axis=0, mode="constant")

    share = by_recording(around, seen.astype(float), boundaries)
    mean = by_recording(around, turn, boundaries) / np.maximum(share, 1e-9)[:, None]
    return np.where(seen, np.degrees(np.linalg.norm(mean, axis=1)), np.nan)


def _jitter_where(seen: np.ndarray, own: Fit, boundaries: Sequence[int]) -> Jitter:
    """Trembling of the seen frames' fits, as far as three in a row are seen."""
    pose = np.full((len(seen), 6), np.nan)
    angles = np.unwrap(euler_angles(own.rotation), axis=0, period=360)
    pose[seen] = np.column_stack([angles, own.centre, own.side])
    values = jitter(pose, boundaries)
    return Jitter(values[:3], values[3:])


def _even(indices: np.ndarray, most: int) -> np.ndarray:
    """At most ``most`` of the indices, evenly spread."""
    return indices if len(indices) <= most else indices[np.linspace(0, len(indices) - 1, most).astype(int)]
