"""The label's own pinhole camera (``data.camera.pose``): what it sees of points, and how that changes with either."""

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from jax_talker import geometry

ANCHORS = np.array(
    [geometry.FACE_ANCHORS[n] for n in ("left_eye", "right_eye", "nose_tip", "mouth_left", "mouth_right")]
)
# EG3D centres its crops on the origin of a five-point template, which lies this far behind the eyes, midway between
# them and the mouth. Its labels look at the same point, so it is the pivot of ours; see docs/cameras.md.
BEHIND_EYES, PIVOT_HEIGHT = 0.039, 0.006
PIVOT = np.array([0.0, PIVOT_HEIGHT, ANCHORS[:2, 2].mean() - BEHIND_EYES])


def distance(rotation: Float64[np.ndarray, "*n 3 3"]) -> Float64[np.ndarray, "*n"]:
    """From the pivot to the camera: it stands on the sphere around the origin, on the line through the pivot."""
    along = -rotation[..., 2, :] @ PIVOT
    return np.sqrt(along**2 - PIVOT @ PIVOT + geometry.RADIUS**2) - along


def in_camera(
    face: Float64[np.ndarray, "K 3"], rotation: Float64[np.ndarray, "*n 3 3"]
) -> tuple[Float64[np.ndarray, "*n K 3"], Float64[np.ndarray, "*n K"]]:
    """Points relative to the pivot in camera axes, and their depth from the camera."""
    x = np.einsum("...ij,kj->...ki", rotation, face - PIVOT)
    return x, distance(rotation)[..., None] + x[..., 2]


def project(
    face: Float64[np.ndarray, "K 3"], rotation: Float64[np.ndarray, "*n 3 3"], focal: float
) -> Float64[np.ndarray, "*n K 2"]:
    """World points in pictures, in crop sides from the crop's centre."""
    x, z = in_camera(face, rotation)
    return focal * x[..., :2] / z[..., None]


def linearised(
    face: Float64[np.ndarray, "K 3"], rotation: Float64[np.ndarray, "*n 3 3"], focal: float
) -> tuple[Float64[np.ndarray, "*n K 2"], Float64[np.ndarray, "*n K 2 3"], Float64[np.ndarray, "*n K 2 3"]]:
    """``project``, its derivatives by the points in camera axes, and those by a small rotation ω of the camera in its
    own axes (R becomes ``turned(ω, R)``). The change of ``distance`` is left out of the derivative, it is second order.
    """
    x, z = in_camera(face, rotation)
    image = focal * x[..., :2] / z[..., None]
    by_point = np.concatenate([np.broadcast_to(focal * np.eye(2), (*z.shape, 2, 2)), -image[..., None]], -1)
    by_point = by_point / z[..., None, None]
    return image, by_point, -np.einsum("...ij,...jl->...il", by_point, cross_matrix(x))


def turned(turn: Float64[np.ndarray, "*n 3"], rotation: Float64[np.ndarray, "*m 3 3"]) -> Float64[np.ndarray, "*n 3 3"]:
    """exp(turn) · rotation: a camera after a rotation, axis · angle in radians, in its own axes."""
    return Rotation.from_rotvec(turn).as_matrix() @ rotation


def cross_matrix(x: Float64[np.ndarray, "*n 3"]) -> Float64[np.ndarray, "*n 3 3"]:
    """The matrices with cross_matrix(x) @ y = x × y."""
    zero = np.zeros(x.shape[:-1])
    rows = [[zero, -x[..., 2], x[..., 1]], [x[..., 2], zero, -x[..., 0]], [-x[..., 1], x[..., 0], zero]]
    return np.stack([np.stack(row, -1) for row in rows], -2)
