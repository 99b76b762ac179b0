"""Head pose from landmarks: per frame an EG3D camera label and the crop of the picture that it describes.

The head is held fixed in the world (y up, face along +z) and the camera moves around it. One rigid 3D face of the
person, the same in all frames, is projected into every picture by a pinhole camera:

    x_cam = R · (X − PIVOT) + (0, 0, distance)        u = centre + side · focal · x_cam.xy / x_cam.z

R (the camera's rotation), centre and side (the crop, in source pixels) are fitted to each frame's rigid landmarks, the
person's 3D face to all frames. ``distance`` follows from the label's convention: the camera stands on the sphere of
``geometry.RADIUS`` around the world's origin and looks along a line through the pivot, roll kept (EG3D's "orig" labels;
reference/peers.md H.2). So the crop takes up what the label cannot say: where the head is in the picture and how large.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32, Float64
from scipy.ndimage import median_filter
from scipy.spatial.transform import Rotation

from jax_talker import geometry
from jax_talker.data.landmarks import AVERAGE_FACE, MOVING, LandmarkScheme

ANCHORS = np.array(
    [geometry.FACE_ANCHORS[n] for n in ("left_eye", "right_eye", "nose_tip", "mouth_left", "mouth_right")]
)
# EG3D centres its crops on the origin of a five-point template, which lies this far behind the eyes, midway between
# them and the mouth. Its labels look at the same point, so it is the pivot of ours; see docs/prepare.md.
BEHIND_EYES, PIVOT_HEIGHT = 0.039, 0.006
PIVOT = np.array([0.0, PIVOT_HEIGHT, ANCHORS[:2, 2].mean() - BEHIND_EYES])
CAM_FROM_GL = np.diag([1.0, -1.0, -1.0])  # camera axes: OpenCV (y down, z forward) from OpenGL (y up, z backward)
GAUSS_NEWTON_STEPS, SHAPE_ROUNDS = 8, 4
SIDE_MEDIAN, SIDE_SMOOTH = 25, 5.0  # frames
NO_SMOOTHING = 0.3  # frames; narrower, a frame's neighbours have no say
SHAPE_PRIOR = 0.02  # pull of the first guess on the person's 3D face, as a share of one frame's pull per frame


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


def track_head(
    points: Float64[np.ndarray, "T P 2"],
    scheme: LandmarkScheme,
    *,
    depth: Float64[np.ndarray, "T P"] | None = None,
    rotation: Float64[np.ndarray, "T 3 3"] | None = None,
    smooth: float = 1.0,
    focal: float = geometry.FOCAL,
) -> HeadTrack:
    """Fit labels and crops to landmarks in source pixels.

    With ``depth`` (same unit, away from the camera) and ``rotation`` (cam_from_head) the person's 3D face starts from
    their mean, without them from an average face. ``smooth`` is the width of the temporal filter in frames
    (see ``smooth_in_time``), 0 for none; it acts on the landmarks, so crop and label stay consistent.
    """
    if depth is not None and rotation is not None:
        indices = (*scheme.rigid, *(scheme.points[n] for n in MOVING))
        head = np.einsum("tji,tpj->tpi", rotation, np.concatenate([points, depth[..., None]], -1))
        first_guess = _mean_shape(head[:, list(indices)])
    else:
        names = [n for n in AVERAGE_FACE if n not in MOVING] + list(MOVING)
        indices = tuple(scheme.points[n] for n in names)
        first_guess = np.array([AVERAGE_FACE[n] for n in names])
    weight = np.ones(len(indices))
    weight[-len(MOVING) :] = 0  # the mouth's corners only help to place the face in the world
    anchors = _anchor_matrix(scheme, indices)
    face = _place(first_guess, anchors)
    seen = points[:, list(indices)]
    if rotation is None:
        rotation = _affine_rotation(seen[:, weight > 0], face[weight > 0])
    fit = _Fit(rotation, *_first_crop(seen, face, focal))
    for _ in range(SHAPE_ROUNDS):
        fit = _fit_poses(seen, face, weight, fit, focal)
        face = _place(_align(_refine_face(seen, face, fit, focal), face, weight), anchors)
    fit = _fit_poses(seen, face, weight, fit, focal)
    steady = smooth >= NO_SMOOTHING
    fit = replace(fit, side=_slow(fit.side) if steady else fit.side)
    fit = _fit_poses(smooth_in_time(seen, smooth), face, weight, fit, focal, side_too=not steady)
    cam_from_world = _camera(fit.rotation)
    residual = np.linalg.norm(_project(face, fit, focal) - seen, axis=-1)[:, weight > 0].mean(1) / fit.side
    return HeadTrack(
        label=geometry.make_label(_inverse(cam_from_world), focal).astype(np.float32),
        cam_from_world=cam_from_world,
        centre=fit.centre,
        side=fit.side,
        euler=euler_angles(fit.rotation),
        face=face,
        indices=indices,
        error=residual,
        nose_tip=(anchors @ face)[2],
    )


def world_landmarks(
    points: Float64[np.ndarray, "T P 2"], depth: Float64[np.ndarray, "T P"], head: HeadTrack, focal: float
) -> Float64[np.ndarray, "T P 3"]:
    """Landmarks in the head's world: they project exactly onto ``points``, their depth comes from the landmarker.

    ``depth`` is relative; it is shifted so that the rigid landmarks lie, on average, as deep as the person's 3D face.
    """
    fit = _Fit(head.cam_from_world[:, :3, :3], head.centre, head.side)
    _, z_face = _in_camera(head.face, fit.rotation)
    relative = depth * geometry.RADIUS / (focal * head.side)[:, None]  # px → world units at the camera's distance
    rigid = list(head.indices)
    z = relative - relative[:, rigid].mean(1, keepdims=True) + z_face.mean(1, keepdims=True)
    across = (points - head.centre[:, None]) / head.side[:, None, None] / focal * z[..., None]
    x = np.concatenate([across, (z - _distance(fit.rotation)[:, None])[..., None]], -1)
    return np.einsum("tji,tkj->tki", fit.rotation, x) + PIVOT


def smooth_in_time(values: Float[np.ndarray, "T *rest"], width: float) -> Float[np.ndarray, "T *rest"]:
    """Local quadratic regression with Gaussian weights of ``width`` frames; below 0.3 it leaves the values alone.

    Unlike a plain Gaussian it keeps the height of quick nods and turns: with width 1 it passes 71 % at 5.9 Hz (25 fps),
    where a Gaussian of 2 frames, as used for MTCNN landmarks, already halves 2.3 Hz. The ends need no padding.
    """
    frames = len(values)
    if width < NO_SMOOTHING or frames < 3:
        return values
    reach = max(1, int(np.ceil(4 * width)))
    flat, smoothed = values.reshape(frames, -1), np.empty((frames, values[0].size))
    for t in range(frames):
        first, last = max(0, t - reach), min(frames, t + reach + 1)
        offset = (np.arange(first, last) - t) / width
        powers = np.vander(offset, 3, increasing=True)
        weighted = powers.T * np.exp(-0.5 * offset**2)
        smoothed[t] = np.linalg.solve(weighted @ powers, weighted)[0] @ flat[first:last]
    return smoothed.reshape(values.shape)


def euler_angles(cam_from_world: Float64[np.ndarray, "T 3 3"]) -> Float64[np.ndarray, "T 3"]:
    """Degrees [yaw, pitch, roll]: where the camera stands around the head, as in ``geometry.orbit`` but exactly along
    the line of sight (yaw > 0: the person's left side is seen; pitch > 0: from above), and how far the head leans to
    the image's right."""
    towards_camera, up = -cam_from_world[:, 2], cam_from_world[:, :, 1]
    yaw = np.arctan2(towards_camera[:, 0], towards_camera[:, 2])
    pitch = np.arcsin(np.clip(towards_camera[:, 1], -1, 1))
    roll = np.arctan2(up[:, 0], -up[:, 1])
    return np.degrees(np.stack([yaw, pitch, roll], 1))


def jitter(values: Float[np.ndarray, "T D"]) -> Float[np.ndarray, " D"]:
    """Mean |second difference| in time: what the eye sees as trembling."""
    return np.abs(np.diff(values, 2, axis=0)).mean(0) if len(values) > 2 else np.zeros(values.shape[1])


# ---------------------------------------------------------------------------------------------------------------------
# The fit


@dataclass(frozen=True)
class _Fit:
    rotation: np.ndarray  # [T, 3, 3] cam_from_world
    centre: np.ndarray  # [T, 2] px
    side: np.ndarray  # [T] px


def _distance(rotation: np.ndarray) -> np.ndarray:
    """From the pivot to the camera [T]: it stands on the sphere around the origin, on the line through the pivot."""
    along = -rotation[:, 2] @ PIVOT
    return np.sqrt(along**2 - PIVOT @ PIVOT + geometry.RADIUS**2) - along


def _in_camera(face: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points relative to the pivot in camera axes [T, K, 3], and their depth from the camera [T, K]."""
    x = np.einsum("tij,kj->tki", rotation, face - PIVOT)
    return x, _distance(rotation)[:, None] + x[..., 2]


def _project(face: np.ndarray, fit: _Fit, focal: float) -> np.ndarray:
    """[T, K, 2] px."""
    x, z = _in_camera(face, fit.rotation)
    return fit.centre[:, None] + fit.side[:, None, None] * focal * x[..., :2] / z[..., None]


def _slow(side: np.ndarray) -> np.ndarray:
    """The crop's size without what expressions do to it: median over a second, then smoothed.

    A blink or a grimace pulls landmarks together for a few frames, and the picture would zoom with it; a head that
    leans towards the camera takes longer.
    """
    window = min(SIDE_MEDIAN, (len(side) - 1) // 2 * 2 + 1)
    return np.exp(smooth_in_time(median_filter(np.log(side), window, mode="nearest"), SIDE_SMOOTH))


def _fit_poses(
    seen: np.ndarray, face: np.ndarray, weight: np.ndarray, start: _Fit, focal: float, *, side_too: bool = True
) -> _Fit:
    """Gauss-Newton over rotation, centre and (``side_too``) log side of every frame; the change of ``distance`` is left
    out of the derivative, it is second order."""
    unknowns = [0, 1, 2, 4, 5, 3][: 6 if side_too else 5]
    rotation, centre, side = start.rotation, start.centre, start.side
    for _ in range(GAUSS_NEWTON_STEPS):
        x, z = _in_camera(face, rotation)
        image = focal * x[..., :2] / z[..., None]  # [T, K, 2], in sides
        residual = seen - centre[:, None] - side[:, None, None] * image
        turn = -_cross_matrix(x)  # d x / d ω for a small rotation ω in camera axes, [T, K, 3, 3]
        by_turn = (turn[..., :2, :] * focal - image[..., None] * turn[..., 2:, :]) / z[..., None, None]
        shift = np.broadcast_to(np.eye(2), (*image.shape, 2))
        jacobian = np.concatenate([by_turn, image[..., None], shift / side[:, None, None, None]], -1)
        jacobian = (jacobian * side[:, None, None, None]).reshape(len(seen), -1, 6)[..., unknowns]
        weighted = jacobian.swapaxes(1, 2) * np.repeat(weight, 2)
        step = np.zeros((len(seen), 6))
        step[:, unknowns] = np.linalg.solve(weighted @ jacobian, weighted @ residual.reshape(len(seen), -1, 1))[..., 0]
        rotation = Rotation.from_rotvec(step[:, :3]).as_matrix() @ rotation
        side = side * np.exp(np.clip(step[:, 3], -0.5, 0.5))
        centre = centre + step[:, 4:]
    return _Fit(rotation, centre, side)


def _refine_face(seen: np.ndarray, face: np.ndarray, fit: _Fit, focal: float) -> np.ndarray:
    """One Gauss-Newton step of every 3D point given all poses, held by its present place where poses say little."""
    x, z = _in_camera(face, fit.rotation)
    residual = (seen - _project(face, fit, focal)) / fit.side[:, None, None]
    ray = x[..., :2] / z[..., None]
    scale = focal / z[..., None, None]
    jacobian = scale * (fit.rotation[:, None, :2] - ray[..., None] * fit.rotation[:, None, 2:])  # [T, K, 2, 3]
    held = SHAPE_PRIOR * len(seen) * (focal / geometry.RADIUS) ** 2 * np.eye(3)
    normal = np.einsum("tkia,tkib->kab", jacobian, jacobian) + held
    return face + np.linalg.solve(normal, np.einsum("tkia,tki->ka", jacobian, residual)[..., None])[..., 0]


def _cross_matrix(x: np.ndarray) -> np.ndarray:
    zero = np.zeros(x.shape[:-1])
    rows = [[zero, -x[..., 2], x[..., 1]], [x[..., 2], zero, -x[..., 0]], [-x[..., 1], x[..., 0], zero]]
    return np.stack([np.stack(row, -1) for row in rows], -2)


# ---------------------------------------------------------------------------------------------------------------------
# First guesses and gauges


def _mean_shape(head: np.ndarray) -> np.ndarray:
    """Mean of [T, K, 3] shapes after centring and scaling each."""
    head = head - head.mean(1, keepdims=True)
    return (head / np.linalg.norm(head, axis=(1, 2), keepdims=True)).mean(0)


def _anchor_matrix(scheme: LandmarkScheme, indices: tuple[int, ...]) -> np.ndarray:
    """[5, K]: the five anchors as combinations of the face's points."""
    one_hot = np.zeros((max(max(indices), max(scheme.points.values())) + 1, len(indices)))
    one_hot[list(indices), np.arange(len(indices))] = 1
    return scheme.anchors(one_hot)


def _place(face: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Scale and shift a face so that its anchors lie on ``geometry.FACE_ANCHORS``; its orientation stays.

    The scale is fitted across the line of sight only: depths differ most between people and landmarkers.
    """
    own = anchors @ face
    own, target = own - own.mean(0), ANCHORS - ANCHORS.mean(0)
    scale = (own[:, :2] * target[:, :2]).sum() / (own[:, :2] ** 2).sum()
    return scale * (face - (anchors @ face).mean(0)) + ANCHORS.mean(0)


def _align(face: np.ndarray, onto: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Turn ``face`` back onto ``onto`` (orthogonal Procrustes over the rigid points), so that refining the shape cannot
    turn the head's own frame."""
    rigid = weight > 0
    a, b = face[rigid] - face[rigid].mean(0), onto[rigid] - onto[rigid].mean(0)
    u, _, vt = np.linalg.svd(b.T @ a)
    turn = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    return (face - face[rigid].mean(0)) @ turn.T + onto[rigid].mean(0)


def _affine_rotation(seen: np.ndarray, face: np.ndarray) -> np.ndarray:
    """Rotations [T, 3, 3] by scaled orthography: the affine fit's nearest rotation."""
    centred = face - face.mean(0)
    rows = np.einsum("tki,kj->tij", seen - seen.mean(1, keepdims=True), np.linalg.pinv(centred).T)  # [T, 2, 3]
    u, _, vt = np.linalg.svd(rows, full_matrices=False)
    two = u @ vt
    return np.concatenate([two, np.cross(two[:, 0], two[:, 1])[:, None]], 1)


def _first_crop(seen: np.ndarray, face: np.ndarray, focal: float) -> tuple[np.ndarray, np.ndarray]:
    spread = np.linalg.norm(seen - seen.mean(1, keepdims=True), axis=(1, 2))
    own = np.linalg.norm((face - face.mean(0))[:, :2]) * focal / geometry.RADIUS
    return seen.mean(1), spread / own


def _camera(rotation: np.ndarray) -> np.ndarray:
    """cam_from_world [T, 4, 4]."""
    pose = np.zeros((len(rotation), 4, 4))
    pose[:, :3, :3] = rotation
    pose[:, :3, 3] = -rotation @ PIVOT
    pose[:, 2, 3] += _distance(rotation)
    pose[:, 3, 3] = 1
    return pose


def _inverse(pose: np.ndarray) -> np.ndarray:
    inverse = np.zeros_like(pose)
    inverse[:, :3, :3] = pose[:, :3, :3].swapaxes(1, 2)
    inverse[:, :3, 3] = -np.einsum("tji,tj->ti", pose[:, :3, :3], pose[:, :3, 3])
    inverse[:, 3, 3] = 1
    return inverse
