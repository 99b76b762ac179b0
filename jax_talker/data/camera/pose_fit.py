"""The fit of head poses to landmarks: a robust, joint Gauss-Newton over all frames of a clip.

What is minimised over every frame's rotation, crop centre and log side p [T, 6]:

    Σ_t Σ_k  weight_t · ρ(|seen_tk − projected_tk| / σ_k)  +  Σ_t stiffness_t · |third difference of p at t|²_M

ρ is ``bundle.geman_mcclure``, which lets go of what does not fit; σ_k is each landmark's own noise in this clip. The
second term says that heads move with little jerk. M is the mean information that a frame has on its pose, so that one
number says which frequencies pass (``smoothing.stiffness_of``), and a frame that saw little borrows from its
neighbours. The normal equations are banded: time and memory are linear in the clip's length.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64
from scipy.linalg import solveh_banded
from scipy.ndimage import median_filter
from scipy.spatial.transform import Rotation

from jax_talker.data.camera.bundle import MEDIAN_RAYLEIGH, geman_mcclure
from jax_talker.data.camera.projection import cross_matrix, linearised, project, turned
from jax_talker.data.read.boundaries import by_recording

STEPS = 8  # of Gauss-Newton, at most
SETTLED = 0.01  # px; a step that moves no landmark further is the last
LEAST_NOISE = 1e-4  # of the side; a perfect fit must not divide by nothing
UNEQUAL = 3.0  # times; how much more or less than the median landmark one may be trusted
BADLY_FITTED = 3.0  # times the clip's median cost: such a frame gets a second start
NEIGHBOURHOOD = 51  # frames whose median pose is that start: an occlusion of one second does not reach it
LEAST_WEIGHT = 1e-3  # of a frame, so that its equations stay regular
DAMPING = 1e-7  # of the mean information
# Parts of a pose vector: rotation 0–2, centre 3–4, log side 5.
EVERYTHING, ALL_BUT_SIDE, CROP, CENTRE = slice(0, 6), slice(0, 5), slice(3, 6), slice(3, 5)
DIFFERENCE = np.array([-1.0, 3.0, -3.0, 1.0])


@dataclass(frozen=True)
class Fit:
    """Poses of T frames: what the face is projected with."""

    rotation: Float64[np.ndarray, "T 3 3"]  # cam_from_world
    centre: Float64[np.ndarray, "T 2"]  # px
    side: Float64[np.ndarray, " T"]  # px

    def at(self, frames: np.ndarray) -> "Fit":
        return Fit(self.rotation[frames], self.centre[frames], self.side[frames])


@dataclass(frozen=True)
class Seen:
    """What the fit is given."""

    points: Float64[np.ndarray, "T K 2"]  # px
    rigid: Bool[np.ndarray, " K"]  # the others only get their place in the person's 3D face
    weight: Float64[np.ndarray, " T"]  # how much every frame counts, (0, 1]
    focal: float  # of the labels

    def at(self, frames: np.ndarray) -> "Seen":
        return replace(self, points=self.points[frames], weight=self.weight[frames])


def in_source(face: Float64[np.ndarray, "K 3"], fit: Fit, focal: float) -> Float64[np.ndarray, "T K 2"]:
    """World points in source pixels."""
    return fit.centre[:, None] + fit.side[:, None, None] * project(face, fit.rotation, focal)


# ---------------------------------------------------------------------------------------------------------------------
# How much each landmark counts


def _errors(seen: Seen, face: np.ndarray, fit: Fit, tied: bool) -> np.ndarray:
    """How far landmarks are from the fit [T, K], as a share of the side.

    ``tied``: from the fit moved to the median landmark. Where neighbours hold a fast head back all landmarks are
    off alike, which makes none of them an outlier.
    """
    off = seen.points - in_source(face, fit, seen.focal)
    if tied:
        off = off - np.median(off[:, seen.rigid], axis=1, keepdims=True)
    return np.linalg.norm(off, axis=-1) / fit.side[:, None]


def landmark_noise(seen: Seen, face: np.ndarray, fit: Fit, *, tied: bool = False) -> Float64[np.ndarray, " K"]:
    """σ of each landmark as a share of the side: by medians, so that outliers do not raise it."""
    error = _errors(seen, face, fit, tied)
    own = np.median(error, axis=0) / MEDIAN_RAYLEIGH
    middle = float(np.median(own[seen.rigid]))
    return np.maximum(np.clip(own, middle / UNEQUAL, middle * UNEQUAL), LEAST_NOISE)


def robust_weights(
    seen: Seen, face: np.ndarray, fit: Fit, noise: np.ndarray, *, tied: bool = False
) -> tuple[Float64[np.ndarray, "T K"], Float64[np.ndarray, " T"]]:
    """Weight of every landmark, 1/side² (Geman-McClure, iteratively reweighted), and each frame's mean cost."""
    weight, cost = geman_mcclure((_errors(seen, face, fit, tied) / noise) ** 2)
    return seen.weight[:, None] * weight / noise**2, cost[:, seen.rigid].mean(1)


# ---------------------------------------------------------------------------------------------------------------------
# Poses


def first_poses(seen: Seen, face: np.ndarray, start: Fit, boundaries: Sequence[int] = ()) -> Fit:
    """Every frame by itself, from ``start``; a frame that fits badly also from its neighbourhood's median pose (of its
    recording, where ``boundaries`` says that there are several)."""
    fit = refine_poses(seen, face, start)
    noise = landmark_noise(seen, face, fit)
    _, cost = robust_weights(seen, face, fit, noise)
    bad = np.flatnonzero(cost > BADLY_FITTED * max(float(np.median(cost)), 1e-12))
    if not len(bad) or len(cost) < 3:
        return fit
    middle = mean_rotation(fit.rotation)
    pose = to_vector(fit, middle)

    def median(own: np.ndarray) -> np.ndarray:
        window = min(NEIGHBOURHOOD, (len(own) - 1) // 2 * 2 + 1)
        return median_filter(own, (window, 1), mode="nearest")

    around = from_vector(by_recording(median, pose, boundaries), middle).at(bad)
    other = refine_poses(seen.at(bad), face, around, noise=noise)
    _, other_cost = robust_weights(seen.at(bad), face, other, noise)
    better = other_cost < cost[bad]
    pose[bad[better]] = to_vector(other, middle)[better]
    return from_vector(pose, middle)


def refine_poses(
    seen: Seen,
    face: Float64[np.ndarray, "K 3"],
    start: Fit,
    *,
    stiffness: Float64[np.ndarray, " T"] | None = None,
    noise: Float64[np.ndarray, " K"] | None = None,
    free: slice = EVERYTHING,
    steps: int = STEPS,
) -> Fit:
    """Gauss-Newton over the ``free`` part of every frame's rotation, centre and log side.

    ``stiffness`` [T] ties frames together (``smoothing.stiffness_of``; entry t belongs to the difference of t … t + 3);
    without it, and where it is 0, every frame stands alone. ``noise`` is estimated unless given.
    """
    frames = len(seen.points)
    middle = mean_rotation(start.rotation)
    pose = to_vector(start, middle)
    for _ in range(steps):
        fit = from_vector(pose, middle)
        tied = stiffness is not None
        sigma = landmark_noise(seen, face, fit, tied=tied) if noise is None else noise
        weight = robust_weights(seen, face, fit, sigma, tied=tied)[0] * seen.rigid
        residual, jacobian = linearised_poses(seen, face, fit, _left_jacobian(pose[:, :3]))
        jacobian = jacobian[..., free]
        weighted = jacobian.swapaxes(1, 2) * np.repeat(weight / fit.side[:, None] ** 2, 2, axis=1)[:, None]
        information, pull = weighted @ jacobian, (weighted @ residual[..., None])[..., 0]
        metric = (information / seen.weight[:, None, None]).mean(0)
        information = information + DAMPING * np.diag(np.diag(metric))
        if stiffness is None or frames < len(DIFFERENCE):
            step = np.linalg.solve(information, pull[..., None])[..., 0]
        else:
            step = _joint_step(information, pull, metric, pose[:, free], stiffness)
        change = np.zeros_like(pose)
        change[:, free] = step
        change[:, 5] = np.clip(change[:, 5], -0.5, 0.5)
        pose += change
        if np.abs(jacobian @ step[..., None]).max() < SETTLED:
            break
    return from_vector(pose, middle)


def mean_rotation(rotation: np.ndarray) -> np.ndarray:
    return Rotation.from_matrix(rotation).mean().as_matrix()


def to_vector(fit: Fit, middle: np.ndarray) -> np.ndarray:
    """[T, 6]: rotation vector from the clip's mean rotation, centre, log side."""
    turn = Rotation.from_matrix(fit.rotation @ middle.T).as_rotvec()
    return np.concatenate([turn, fit.centre, np.log(fit.side)[:, None]], 1)


def from_vector(pose: np.ndarray, middle: np.ndarray) -> Fit:
    return Fit(turned(pose[:, :3], middle), pose[:, 3:5], np.exp(pose[:, 5]))


def linearised_poses(
    seen: Seen, face: np.ndarray, fit: Fit, turns: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Residuals [T, 2K] px and their derivatives by the pose vector [T, 2K, 6].

    ``turns`` [T, 3, 3]: what small rotation in camera axes a change of the rotation's parameters is; itself if absent.
    """
    side = fit.side[:, None, None]
    image, _, by_turn = linearised(face, fit.rotation, seen.focal)
    residual = seen.points - fit.centre[:, None] - side * image
    by_vector = side[..., None] * (by_turn if turns is None else np.einsum("tkij,tjl->tkil", by_turn, turns))
    shift = np.broadcast_to(np.eye(2), (*image.shape, 2))
    jacobian = np.concatenate([by_vector, shift, (side * image)[..., None]], -1)
    return residual.reshape(len(residual), -1), jacobian.reshape(len(residual), -1, 6)


def _joint_step(
    information: np.ndarray, pull: np.ndarray, metric: np.ndarray, pose: np.ndarray, stiffness: np.ndarray
) -> np.ndarray:
    """Solve (information + third-difference prior) step = pull − prior's gradient; block-banded Cholesky."""
    frames, size = pull.shape
    reach = len(DIFFERENCE) - 1
    ties = np.zeros((reach + 1, frames))  # ties[d, t]: coefficient between frames t and t + d
    for i, a in enumerate(DIFFERENCE):
        for j in range(i, len(DIFFERENCE)):
            ties[j - i, i : frames - reach + i] += a * DIFFERENCE[j] * stiffness[: frames - reach]
    jerk = np.stack([pose[i : frames - reach + i] for i in range(reach + 1)], -1) @ DIFFERENCE
    force = np.zeros_like(pose)
    for i, a in enumerate(DIFFERENCE):
        force[i : frames - reach + i] += a * stiffness[: frames - reach, None] * jerk
    band = (reach + 1) * size
    lower = np.zeros((band, frames, size))  # solveh_banded's lower form: lower[i - j, j]
    for d in range(reach + 1):
        block = ties[d][:, None, None] * metric + (information if d == 0 else 0)  # rows of frame t + d, columns of t
        for row in range(size):
            for column in range(size):
                offset = d * size + row - column
                if offset >= 0:
                    lower[offset, :, column] = block[:, row, column]
    right = (pull - force @ metric).reshape(-1)
    return solveh_banded(lower.reshape(band, -1), right, lower=True, check_finite=False).reshape(frames, size)


def _left_jacobian(turn: np.ndarray) -> np.ndarray:
    """d ω / d θ [T, 3, 3] where exp(θ + dθ) = exp(dω) exp(θ)."""
    angle = np.linalg.norm(turn, axis=1)[:, None, None]
    small = angle < 1e-4
    safe = np.where(small, 1.0, angle)
    cross = cross_matrix(turn)
    a = np.where(small, 0.5, (1 - np.cos(safe)) / safe**2)
    b = np.where(small, 1 / 6, (safe - np.sin(safe)) / safe**3)
    return np.eye(3) + a * cross + b * (cross @ cross)
