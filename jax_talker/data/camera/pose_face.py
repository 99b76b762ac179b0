"""The person's rigid 3D face: first guesses, refinement from all frames, and its place in the world."""

import numpy as np
from jaxtyping import Float64

from jax_talker import geometry
from jax_talker.data.camera.bundle import NormalEquations, solve
from jax_talker.data.camera.pose_fit import Fit, Seen, landmark_noise, linearised_poses, robust_weights
from jax_talker.data.camera.projection import ANCHORS, linearised
from jax_talker.data.track.landmarks import LandmarkScheme

SPREAD = 0.01  # world units, 3.5 mm: how far a person's landmarks are expected to lie from the first guess
# Landmarkers err alike in like frames (the mean face draws them, expressions move them), so a clip says no more about
# the face than this many independent frames; without the bound, small turns of a head get exaggerated.
INDEPENDENT_FRAMES = 25


def mean_shape(head: Float64[np.ndarray, "T K 3"]) -> Float64[np.ndarray, "K 3"]:
    """Mean of shapes after centring and scaling each."""
    head = head - head.mean(1, keepdims=True)
    return (head / np.linalg.norm(head, axis=(1, 2), keepdims=True)).mean(0)


def anchor_matrix(scheme: LandmarkScheme, indices: tuple[int, ...]) -> Float64[np.ndarray, "5 K"]:
    """The five anchors as combinations of the face's points."""
    one_hot = np.zeros((max(max(indices), max(scheme.points.values())) + 1, len(indices)))
    one_hot[list(indices), np.arange(len(indices))] = 1
    return scheme.anchors(one_hot)


def place(face: Float64[np.ndarray, "K 3"], anchors: Float64[np.ndarray, "5 K"]) -> Float64[np.ndarray, "K 3"]:
    """Scale and shift a face so that its anchors lie on ``geometry.FACE_ANCHORS``; its orientation stays.

    The scale is fitted across the line of sight only: depths differ most between people and landmarkers.
    """
    own = anchors @ face
    own, target = own - own.mean(0), ANCHORS - ANCHORS.mean(0)
    scale = (own[:, :2] * target[:, :2]).sum() / (own[:, :2] ** 2).sum()
    return scale * (face - (anchors @ face).mean(0)) + ANCHORS.mean(0)


def align(face: np.ndarray, onto: np.ndarray, rigid: np.ndarray) -> Float64[np.ndarray, "K 3"]:
    """Turn ``face`` back onto ``onto`` (orthogonal Procrustes over the rigid points), so that refining the shape cannot
    turn the head's own frame."""
    a, b = face[rigid] - face[rigid].mean(0), onto[rigid] - onto[rigid].mean(0)
    u, _, vt = np.linalg.svd(b.T @ a)
    turn = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    return (face - face[rigid].mean(0)) @ turn.T + onto[rigid].mean(0)


def refine_face(
    seen: Seen,
    face: Float64[np.ndarray, "K 3"],
    fit: Fit,
    guess: Float64[np.ndarray, "K 3"],
    *,
    poses_move: bool,
) -> Float64[np.ndarray, "K 3"]:
    """One robust Gauss-Newton step of every 3D point, held to its first guess where the frames say little.

    With ``poses_move`` it is the face's part of a joint step of the face and all poses (``bundle.solve``); otherwise
    poses are taken as they are.
    """
    noise = landmark_noise(seen, face, fit)
    weight = robust_weights(seen, face, fit, noise)[0] / fit.side[:, None] ** 2  # 1/px²
    frames, count = weight.shape
    weight = weight * min(1.0, INDEPENDENT_FRAMES / frames)
    residual, by_pose = linearised_poses(seen, face, fit)
    _, by_point, _ = linearised(face, fit.rotation, seen.focal)
    by_point = np.einsum("tkij,tjl->tkil", fit.side[:, None, None, None] * by_point, fit.rotation)  # of the world
    moved = np.repeat(seen.rigid & poses_move, 2)[:, None]  # landmarks that have a say in poses
    pose_weighted = by_pose * moved * np.repeat(weight, 2, axis=1)[..., None]
    information = pose_weighted.swapaxes(1, 2) @ by_pose
    regular = np.maximum(1e-9 * np.trace(information, axis1=1, axis2=2), 1e-30)  # some frames say nothing
    weighted = by_point * weight[..., None, None]
    own = np.einsum("tkia,tkib->kab", weighted, by_point) + np.eye(3) / SPREAD**2
    shared = np.zeros((count, 3, count, 3))
    shared[np.arange(count), :, np.arange(count)] = own  # a point of the face is seen by its own landmark only
    pull = np.einsum("tkia,tki->ka", weighted, residual.reshape(frames, count, 2)) + (guess - face) / SPREAD**2
    step, _ = solve(
        NormalEquations(
            shared.reshape(3 * count, -1),
            np.einsum("tkip,tkia->tkap", pose_weighted.reshape(frames, count, 2, 6), by_point).reshape(frames, -1, 6),
            information + regular[:, None, None] * np.eye(6),
            pull.ravel(),
            (pose_weighted.swapaxes(1, 2) @ residual[..., None])[..., 0],
        )
    )
    return face + step.reshape(count, 3)


def affine_rotation(
    seen: Float64[np.ndarray, "T K 2"], face: Float64[np.ndarray, "K 3"]
) -> Float64[np.ndarray, "T 3 3"]:
    """Rotations by scaled orthography: the affine fit's nearest rotation."""
    centred = face - face.mean(0)
    rows = np.einsum("tki,kj->tij", seen - seen.mean(1, keepdims=True), np.linalg.pinv(centred).T)  # [T, 2, 3]
    u, _, vt = np.linalg.svd(rows, full_matrices=False)
    two = u @ vt
    return np.concatenate([two, np.cross(two[:, 0], two[:, 1])[:, None]], 1)


def first_crop(
    seen: Float64[np.ndarray, "T K 2"], face: Float64[np.ndarray, "K 3"], focal: float
) -> tuple[Float64[np.ndarray, "T 2"], Float64[np.ndarray, " T"]]:
    """Centre and side (px) that bring the face to the landmarks' middle and size; medians, for outliers' sake."""
    middle = np.median(seen, axis=1)
    spread = np.median(np.linalg.norm(seen - middle[:, None], axis=-1), axis=1)
    own = (face - np.median(face, axis=0))[:, :2]
    return middle, np.maximum(spread / (np.median(np.linalg.norm(own, axis=-1)) * focal / geometry.RADIUS), 1e-6)
