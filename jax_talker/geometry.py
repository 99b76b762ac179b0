"""Rigid transforms, rotations, EG3D camera labels and camera trajectories.

World: y up, the face looks along +z, the head is near the origin (EG3D's world). Cameras: OpenCV axes (x right,
y down, z forward), so the frontal camera stands at (0, 0, 2.7) with rotation diag(1, −1, −1).

Yaw and pitch move the *camera* around the head: yaw > 0 towards +x (the image's right, the person's left),
pitch > 0 upwards. Angles are in degrees at the doors of the programs and here.
"""

from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_talker.types import Camera

FOCAL = 4.2647  # focal length over image size of every EG3D label (FFHQ processing); full field of view 13.37°
RADIUS = 2.7  # distance of EG3D's cameras from the world origin
EG3D_PIVOT = (0.0, 0.0, 0.2)  # the point that EG3D's own camera sampler looks at
PIVOT = (0.0, 0.005, 0.145)  # where the axes of EG3D's camera labels meet: behind the eyes; our cameras look there

A = TypeVar("A", Array, np.ndarray)  # what works on the device and on the host

# Where five points of an average face lie in EG3D's world (x to the person's left): what real video is aligned to, and
# what the procedural head is built around. Found by undoing EG3D's recipe (five-point crop, Deep3D camera, scale 0.27,
# offset, radius 2.7) for many poses: these points land where its crops have them, to 0.13 px at 512².
FACE_ANCHORS = {
    "left_eye": (0.078, 0.079, 0.184),
    "right_eye": (-0.078, 0.079, 0.184),
    "nose_tip": (0.0, -0.006, 0.290),
    "mouth_left": (0.063, -0.091, 0.207),
    "mouth_right": (-0.063, -0.091, 0.207),
}


def invert_rigid(target_from_source: Float[A, "*b 4 4"]) -> Float[A, "*b 4 4"]:
    """Inverse of a rotation and translation: [R t]⁻¹ = [Rᵀ −Rᵀt]. NumPy's arrays stay NumPy's, in their precision."""
    xp: Any = np if isinstance(target_from_source, np.ndarray) else jnp
    rotation = xp.swapaxes(target_from_source[..., :3, :3], -1, -2)
    # A sum, not a product of matrices, which some devices do in less than full precision.
    translation = -(rotation * target_from_source[..., None, :3, 3]).sum(-1)
    top = xp.concatenate([rotation, translation[..., None]], -1)
    return xp.concatenate([top, target_from_source[..., 3:, :]], -2)


def rotation_from_quat(quat_wxyz: Float[Array, "*b 4"]) -> Float[Array, "*b 3 3"]:
    """Rotation matrix of a quaternion (w, x, y, z), which is normalised first."""
    w, x, y, z = jnp.moveaxis(quat_wxyz / jnp.linalg.norm(quat_wxyz, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2)


def quat_multiply(a_wxyz: Float[Array, "*b 4"], b_wxyz: Float[Array, "*b 4"]) -> Float[Array, "*b 4"]:
    """Hamilton product: rotating by ``quat_multiply(a, b)`` is rotating by b, then by a."""
    aw, ax, ay, az = jnp.moveaxis(a_wxyz, -1, 0)
    bw, bx, by, bz = jnp.moveaxis(b_wxyz, -1, 0)
    return jnp.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        -1,
    )


# ---------------------------------------------------------------------------------------------------------------------
# EG3D labels


def make_label(world_from_cam: np.ndarray, focal: float = FOCAL) -> np.ndarray:
    """EG3D label [*b, 25] of cameras [*b, 4, 4]: 16 row-major numbers of world_from_cam, then normalised intrinsics."""
    world_from_cam = np.asarray(world_from_cam, np.float32)
    intrinsics = np.array([focal, 0, 0.5, 0, focal, 0.5, 0, 0, 1], np.float32)
    batch = world_from_cam.shape[:-2]
    return np.concatenate([world_from_cam.reshape(*batch, 16), np.broadcast_to(intrinsics, (*batch, 9))], -1)


def split_label(label: Float[A, "*b 25"]) -> tuple[Float[A, "*b 4 4"], Float[A, "*b 3 3"]]:
    """(world_from_cam [*b, 4, 4], intrinsics normalised by the image size [*b, 3, 3])."""
    batch = label.shape[:-1]
    return label[..., :16].reshape(*batch, 4, 4), label[..., 16:].reshape(*batch, 3, 3)


def camera_from_label(label: Float[Array, "*b 25"], size: int) -> Camera:
    """The camera that the label describes, for square images of ``size`` pixels (no quirk of any prior)."""
    world_from_cam, intrinsics = split_label(label)
    pixels = jnp.asarray([[size, 1, size], [1, size, size], [1, 1, 1]], intrinsics.dtype)
    scaled = intrinsics * jnp.broadcast_to(pixels, intrinsics.shape)
    return Camera(cam_from_world=invert_rigid(world_from_cam), intrinsics=scaled)


# ---------------------------------------------------------------------------------------------------------------------
# Cameras around a head (host side, NumPy)


def orbit(yaw: float, pitch: float, *, radius: float = RADIUS, pivot: tuple[float, float, float] = PIVOT) -> np.ndarray:
    """world_from_cam [4, 4] of a camera on a sphere around the world origin that looks at ``pivot``, without roll.

    The angles (degrees) place the camera; with ``pivot=EG3D_PIVOT`` this is EG3D's sampler.
    """
    yaw, pitch = np.radians(yaw), np.radians(pitch)
    center = radius * np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    return look_at(center, np.asarray(pivot))


def look_at(center: np.ndarray, target: np.ndarray) -> np.ndarray:
    """world_from_cam [4, 4] of a camera at ``center`` [3] that looks at ``target`` [3], world y up in the image."""
    forward = (target - center) / np.linalg.norm(target - center)
    right = np.cross(forward, (0.0, 1.0, 0.0))
    right /= np.linalg.norm(right)
    world_from_cam = np.eye(4)
    world_from_cam[:3, :3] = np.stack([right, np.cross(forward, right), forward], 1)
    world_from_cam[:3, 3] = center
    return world_from_cam


def spiral(frames: int, *, yaw: float = 30.0, pitch: float = 20.0, period: int = 120) -> np.ndarray:
    """world_from_cam [frames, 4, 4] along an ellipse of ±yaw, ±pitch; ``period`` frames are one round."""
    phase = 2 * np.pi * np.arange(frames) / period
    return np.stack([orbit(yaw * np.sin(p), pitch * np.cos(p)) for p in phase])
