"""Cameras that stand still around a moving head: how they are turned to each other, found from its landmarks.

Every picture's camera is the label camera of ``data.camera.pose``: it looks at the head,
u = centre + side · focal · x.xy / x.z.
Cameras that stand still look past a head that moves; looking at it instead turns camera v by the angle at which it is
seen, a_v[t] = bend_v · (centre_v[t] − reference_v), ``bend`` being 1 / the camera's focal length in pixels, which is
unknown as well. So with the rotation between the cameras, side_from_front_v, and the front camera's R_0[t],

    R_v[t] = turn(a_v[t]) · side_from_front_v · turn(a_0[t])ᵀ · R_0[t]

All this is found together with the person's rigid landmarks in 3D by bundle adjustment (Levenberg–Marquardt with the
steps and the robust loss of ``bundle``): two views alone cannot tell a flat face from a small angle between them; many
views, or a turning head, can.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from jax_talker.data.camera.bundle import MEDIAN_RAYLEIGH, NormalEquations, geman_mcclure, normal_equations, solve
from jax_talker.data.camera.projection import linearised, project, turned

STEPS = 30
SHAPE_SPREAD = 0.03  # world units; how far people's faces are from the first guess, generously
POSE_SPREAD = np.radians(5)  # pull towards the first poses: it only holds what no picture tells, the world's own turn
LEAST_NOISE = 1e-5  # of the crop's side; exact landmarks must not make weights infinite
SETTLED = 3e-5  # rad and world units: 0.002°


@dataclass(frozen=True)
class Cameras:
    """V of them; the first is the front one, whose rotations are given."""

    side_from_front: Float64[np.ndarray, "V 3 3"]  # [0] is the identity
    bend: Float64[np.ndarray, " V"]  # rad per pixel
    reference: Float64[np.ndarray, "V 2"]  # px; where the camera usually sees the head
    size: Float64[np.ndarray, " V"]  # px; the usual side of its crop
    face: Float64[np.ndarray, "K 3"]  # rigid landmarks, world units

    def rotation(
        self, front: Float64[np.ndarray, "T 3 3"], front_centre: Float64[np.ndarray, "T 2"],
        view: int, centre: Float64[np.ndarray, "T 2"],
    ) -> Float64[np.ndarray, "T 3 3"]:  # fmt: skip
        """cam_from_world rotations of camera ``view`` from the front camera's, given where both see the head (px)."""
        to_front = self._turn(0, front_centre).swapaxes(1, 2) @ front
        return self._turn(view, centre) @ self.side_from_front[view] @ to_front

    def _turn(self, view: int, centre: np.ndarray) -> np.ndarray:
        return Rotation.from_rotvec(self.bend[view] * sideways(centre - self.reference[view])).as_matrix()


def sideways(offset: Float64[np.ndarray, "*n 2"]) -> Float64[np.ndarray, "*n 3"]:
    """Axis · length about which a camera turns towards what it sees at ``offset`` from its centre, per focal length."""
    return np.stack([offset[..., 1], -offset[..., 0], np.zeros(offset.shape[:-1])], -1)


def fit_crops(
    seen: Float64[np.ndarray, "*n K 2"], image: Float64[np.ndarray, "*n K 2"], weight: Float64[np.ndarray, "*n K"]
) -> tuple[Float64[np.ndarray, "*n 2"], Float64[np.ndarray, "*n"]]:
    """Centre and side (px) of the crops that show ``image`` at ``seen``: weighted least squares."""
    total = np.maximum(weight.sum(-1), 1e-12)[..., None]
    mean_seen = (weight[..., None] * seen).sum(-2) / total
    mean_image = (weight[..., None] * image).sum(-2) / total
    own, theirs = image - mean_image[..., None, :], seen - mean_seen[..., None, :]
    spread = (weight[..., None] * own * own).sum((-1, -2))
    side = (weight[..., None] * own * theirs).sum((-1, -2)) / np.maximum(spread, 1e-12)
    return mean_seen - side[..., None] * mean_image, side


def median_rotation(rotations: Float64[np.ndarray, "N 3 3"]) -> Float64[np.ndarray, "3 3"]:
    """The geometric median on SO(3) (Weiszfeld in the tangent space): half of the rotations may be nonsense."""
    median = Rotation.from_matrix(rotations[np.argmin(_angles(rotations).sum(1))])
    for _ in range(STEPS):
        away = (Rotation.from_matrix(rotations) * median.inv()).as_rotvec()
        weight = 1 / np.maximum(np.linalg.norm(away, axis=1), 1e-4)
        step = (weight[:, None] * away).sum(0) / weight.sum()
        median = Rotation.from_rotvec(step) * median
    return median.as_matrix()


def solve_cameras(
    seen: Float64[np.ndarray, "V T K 2"],
    start: Cameras,
    front: Float64[np.ndarray, "T 3 3"],
    *,
    focal: float,
) -> Cameras:
    """Refine cameras so that it explains ``seen``: rigid landmarks, px of each camera's picture, NaN where unseen.

    ``front`` are the front camera's rotations; they are refined as well, but only the cameras are returned.
    """
    there = np.asarray(np.isfinite(seen).all(-1))
    seen = np.where(there[..., None], seen, 0.0)
    centre, side = _first_crops(seen, there, start, front, focal)
    state = _State(start, front, centre, side, np.median(side, 1))
    bend = start.bend
    cost, damping = np.inf, 1e-4
    for _ in range(STEPS):
        residual = _residual(seen, state, focal)
        length = np.linalg.norm(residual, axis=-1)
        noise = max(float(np.median(length[there])) / MEDIAN_RAYLEIGH, LEAST_NOISE)
        weight = there * geman_mcclure((length / noise) ** 2)[0] / noise**2
        cost = _cost(residual, weight, state, start, front, bend)
        equations = _normal_equations(residual, weight, state, start, front, focal, bend)
        for _ in range(8):
            step = solve(equations, damping=damping)
            moved = _moved(state, *step, bend)
            if _cost(_residual(seen, moved, focal), weight, moved, start, front, bend) < cost:
                state, damping = moved, damping / 5
                break
            damping *= 8
        else:
            break
        if np.abs(step[0]).max() < SETTLED:
            break
    return state.cameras


# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _State:
    cameras: Cameras
    front: np.ndarray  # [T, 3, 3]
    centre: np.ndarray  # [V, T, 2] px
    side: np.ndarray  # [V, T] px
    unit: np.ndarray  # [V] px in which a camera's residuals are measured; fixed, or a face could shrink to fit better

    @property
    def scale(self) -> np.ndarray:
        """[V, T]: crop sides in units."""
        return self.side / self.unit[:, None]

    @property
    def rotation(self) -> np.ndarray:
        """[V, T, 3, 3]."""
        views = range(len(self.centre))
        return np.stack([self.cameras.rotation(self.front, self.centre[0], v, self.centre[v]) for v in views])


def _first_crops(seen, there, cameras: Cameras, front: np.ndarray, focal: float) -> tuple[np.ndarray, np.ndarray]:
    """Crops of the first guess; where a camera sees nothing, its usual one."""
    image = project(cameras.face, cameras.side_from_front[:, None] @ front, focal)
    centre, side = fit_crops(seen, image, there.astype(float))
    blind = ~there.any(-1)
    for v, unseen in enumerate(blind):
        centre[v, unseen], side[v, unseen] = np.median(centre[v, ~unseen], 0), np.median(side[v, ~unseen])
    return centre, np.maximum(side, 1e-3 * np.median(side, 1, keepdims=True))


def _residual(seen: np.ndarray, state: _State, focal: float) -> np.ndarray:
    """[V, T, K, 2] in units."""
    image = project(state.cameras.face, state.rotation, focal)
    away = (seen - state.centre[:, :, None]) / state.unit[:, None, None, None]
    return away - state.scale[..., None, None] * image


def _cost(residual, weight, state: _State, start: Cameras, front: np.ndarray, bend: np.ndarray) -> float:
    turned = Rotation.from_matrix(state.front @ front.swapaxes(1, 2)).as_rotvec()
    return float(
        (weight[..., None] * residual**2).sum()
        + ((state.cameras.face - start.face) ** 2).sum() / SHAPE_SPREAD**2
        + (turned**2).sum() / POSE_SPREAD**2
        + ((state.cameras.bend / bend - 1) ** 2).sum()
    )


def _normal_equations(residual, weight, state: _State, start: Cameras, front, focal, bend) -> NormalEquations:
    frames = weight.shape[1]
    shared, own = _jacobians(state, focal, bend)
    residual = residual.transpose(1, 0, 2, 3).reshape(frames, -1)
    weight = np.repeat(weight.transpose(1, 0, 2).reshape(frames, -1), 2, 1)
    return _with_priors(normal_equations(shared, own, residual, weight), state, start, front, bend)


def _jacobians(state: _State, focal: float, bend: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of ``_residual``'s image by the shared unknowns [T, V·K·2, S], which are turns [V − 1]·3, bends [V]
    (relative) and the face [K]·3, and by every frame's own [T, V·K·2, 3 + 3 V]: the front camera's turn [3] and crops
    [V]·(centre, log side)."""
    (views, frames), points = state.side.shape, len(state.cameras.face)
    rotation = state.rotation
    image, by_point, by_turn = linearised(state.cameras.face, rotation, focal)
    by_point, by_turn = (d * state.scale[..., None, None, None] for d in (by_point, by_turn))
    shared = np.zeros((views, frames, points, 2, 3 * (views - 1) + views + 3 * points))
    own = np.zeros((views, frames, points, 2, 3 + 3 * views))
    bends, faces = 3 * (views - 1), 3 * (views - 1) + views
    front_from_view = state.front[None] @ rotation.swapaxes(2, 3)
    for v in range(views):
        view_turn = state.cameras._turn(v, state.centre[v])
        if v:
            shared[v, ..., 3 * (v - 1) : 3 * v] = by_turn[v] @ view_turn[:, None]
            by_view = np.einsum("tkij,tj->tki", by_turn[v], sideways(state.centre[v] - state.cameras.reference[v]))
            front_axis = np.einsum(
                "tij,tj->ti",
                front_from_view[v].swapaxes(1, 2),
                sideways(state.centre[0] - state.cameras.reference[0]),
            )
            shared[v, ..., bends + v] = by_view * bend[v]
            shared[v, ..., bends] = -np.einsum("tkij,tj->tki", by_turn[v], front_axis) * bend[0]
        own[v, ..., :3] = by_turn[v] @ front_from_view[v].swapaxes(1, 2)[:, None]
        own[v, ..., 3 + 3 * v : 5 + 3 * v] = np.eye(2) / state.unit[v]
        own[v, ..., 5 + 3 * v] = state.scale[v][:, None, None] * image[v]
    for k in range(points):
        shared[:, :, k, :, faces + 3 * k : faces + 3 * k + 3] = by_point[:, :, k] @ rotation
    shared, own = (j.transpose(1, 0, 2, 3, 4).reshape(frames, -1, j.shape[-1]) for j in (shared, own))
    return shared, own


def _with_priors(equations: NormalEquations, state: _State, start: Cameras, front, bend) -> NormalEquations:
    """What is known beforehand: distances, faces and first poses are roughly right."""
    hss, _, hoo, gs, go = equations
    bends = 3 * (len(bend) - 1)
    faces = bends + len(bend)
    known = np.r_[np.zeros(bends), np.ones(len(bend)), np.full(len(gs) - faces, 1 / SHAPE_SPREAD**2)]
    away = np.r_[np.zeros(bends), state.cameras.bend / bend - 1, (state.cameras.face - start.face).ravel()]
    pose_known = np.r_[np.full(3, 1 / POSE_SPREAD**2), np.zeros(hoo.shape[1] - 3)]
    turn = Rotation.from_matrix(state.front @ front.swapaxes(1, 2)).as_rotvec()
    go = go - pose_known * np.pad(turn, [(0, 0), (0, hoo.shape[1] - 3)])
    hoo = hoo + np.diag(pose_known)
    regular = 1e-9 * np.diagonal(hoo, axis1=1, axis2=2).max()  # crops of cameras that see nothing
    return equations._replace(
        shared=hss + np.diag(known),
        own=hoo + regular * np.eye(hoo.shape[1]),
        shared_pull=gs - known * away,
        own_pull=go,
    )


def _moved(state: _State, shared: np.ndarray, own: np.ndarray, bend: np.ndarray) -> _State:
    cameras, views = state.cameras, len(state.centre)
    bends, faces = 3 * (views - 1), 3 * (views - 1) + views
    turns = np.concatenate([np.zeros((1, 3)), shared[:bends].reshape(-1, 3)])
    cameras = replace(
        cameras,
        side_from_front=turned(turns, cameras.side_from_front),
        bend=cameras.bend + shared[bends:faces] * bend,
        face=cameras.face + shared[faces:].reshape(-1, 3),
    )
    crops = own[:, 3:].reshape(-1, views, 3).swapaxes(0, 1)
    return _State(
        cameras,
        turned(own[:, :3], state.front),
        state.centre + crops[..., :2],
        state.side * np.exp(np.clip(crops[..., 2], -0.5, 0.5)),
        state.unit,
    )


def _angles(rotations: np.ndarray) -> np.ndarray:
    """Angles [N, N] between rotations (of at most a few hundred of them)."""
    trace = np.einsum("aij,bij->ab", rotations, rotations)
    return np.arccos(np.clip((trace - 1) / 2, -1, 1))
