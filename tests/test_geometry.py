"""Rotations, rigid transforms, labels and trajectories, by their properties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker import geometry

ATOL = 1e-6  # float32 products of unit vectors; labels hold camera distances of 2.7, hence the factors below


def random_quats(n, seed=0):
    return jax.random.normal(jax.random.key(seed), (n, 4))


def test_rotations_are_orthonormal_and_right_handed():
    r = geometry.rotation_from_quat(random_quats(20))
    np.testing.assert_allclose(r @ jnp.swapaxes(r, -1, -2), np.broadcast_to(np.eye(3), r.shape), atol=4 * ATOL)
    np.testing.assert_allclose(jnp.linalg.det(r), 1, atol=4 * ATOL)


def test_quaternion_product_is_the_product_of_rotations():
    a, b = random_quats(8, 1), random_quats(8, 2)
    a, b = (q / jnp.linalg.norm(q, axis=-1, keepdims=True) for q in (a, b))
    product = geometry.rotation_from_quat(geometry.quat_multiply(a, b))
    np.testing.assert_allclose(product, geometry.rotation_from_quat(a) @ geometry.rotation_from_quat(b), atol=10 * ATOL)


def test_invert_rigid_undoes():
    rotation = geometry.rotation_from_quat(random_quats(5))
    pose = jnp.zeros((5, 4, 4)).at[:, :3, :3].set(rotation).at[:, 3, 3].set(1)
    pose = pose.at[:, :3, 3].set(jax.random.normal(jax.random.key(3), (5, 3)))
    product = geometry.invert_rigid(pose) @ pose
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(4), (5, 4, 4)), atol=10 * ATOL)


def test_frontal_camera_is_eg3ds():
    np.testing.assert_allclose(
        geometry.orbit(0, 0, pivot=geometry.EG3D_PIVOT),
        np.diag([1, -1, -1, 1]) + 2.7 * np.eye(4)[2][:, None] * np.eye(4)[3],
    )


@pytest.mark.parametrize(("yaw", "pitch"), [(30, 0), (-20, 10), (0, -30), (75, 40)])
def test_orbit_looks_at_the_pivot_from_the_right_side(yaw, pitch):
    label = jnp.asarray(geometry.make_label(geometry.orbit(yaw, pitch)))
    camera = geometry.camera_from_label(label, 128)
    pivot = camera.cam_from_world @ jnp.array([*geometry.PIVOT, 1.0])
    pixel = camera.intrinsics @ pivot[:3]
    np.testing.assert_allclose(pixel[:2] / pixel[2], 64, atol=1e-3)  # the image centre, to a thousandth of a pixel
    center = geometry.split_label(label)[0][:3, 3]
    np.testing.assert_allclose(np.linalg.norm(center), geometry.RADIUS, rtol=1e-6)
    assert np.sign(center[0]) == np.sign(yaw)
    assert np.sign(center[1]) == np.sign(pitch)
    up_in_camera = camera.cam_from_world[:3, :3] @ jnp.array([0.0, 1.0, 0.0])
    np.testing.assert_allclose(up_in_camera[0], 0, atol=ATOL)  # no roll
    assert up_in_camera[1] < 0  # y is down in the image


def test_camera_from_label_scales_with_the_image():
    label = jnp.asarray(geometry.make_label(geometry.orbit(10, 5)))
    small, large = geometry.camera_from_label(label, 128), geometry.camera_from_label(label, 512)
    np.testing.assert_allclose(small.intrinsics[:2] * 4, large.intrinsics[:2], rtol=1e-6)
    np.testing.assert_array_equal(small.intrinsics[2], [0, 0, 1])


def test_spiral_closes_and_stays_in_bounds():
    path = geometry.spiral(121, yaw=30, pitch=20, period=120)
    np.testing.assert_allclose(path[0], path[120], atol=1e-9)
    centers = path[:, :3, 3]
    assert np.abs(np.degrees(np.arcsin(centers[:, 1] / geometry.RADIUS))).max() == pytest.approx(20)
