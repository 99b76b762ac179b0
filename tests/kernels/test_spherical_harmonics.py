"""Spherical harmonics: orthonormal, and the colours of 3DGS."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels.spherical_harmonics import C0, basis, camera_center, view_colors
from tests.kernels.scenes import look


def test_orthonormal_on_the_sphere():
    """∫ Y_i Y_j = δ_ij by Gauss-Legendre in z and the trapezoid in the angle: exact for polynomials of degree 6."""
    z, weights = np.polynomial.legendre.leggauss(8)
    angle = np.arange(16) * 2 * np.pi / 16
    radius = np.sqrt(1 - z**2)[:, None]
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.broadcast_to(z[:, None], (8, 16))], -1)
    values = np.asarray(basis(jnp.asarray(points, jnp.float32), 16))
    products = np.einsum("pa,paI,paJ->IJ", weights[:, None] * np.full((1, 16), 2 * np.pi / 16), values, values)
    np.testing.assert_allclose(products, np.eye(16), atol=1e-5)  # float32


def test_degree_one_is_that_of_3dgs():
    """rgb = max(0, C0·s0 − C1·y·s1 + C1·z·s2 − C1·x·s3 + ½), the direction from the camera to the Gaussian."""
    sh = jax.random.normal(jax.random.key(0), (1, 6, 4, 3))
    means = jax.random.normal(jax.random.key(1), (1, 6, 3))
    camera = look(2, (1,))
    got = view_colors(sh, means, camera.cam_from_world)
    for view in range(2):
        pose = np.asarray(camera.cam_from_world[0, view], np.float64)
        center = np.linalg.inv(pose)[:3, 3]
        direction = np.asarray(means[0], np.float64) - center
        x, y, z = (direction / np.linalg.norm(direction, axis=-1, keepdims=True)).T[..., None]
        s0, s1, s2, s3 = np.moveaxis(np.asarray(sh[0], np.float64), 1, 0)
        c1 = 0.4886025119029199
        want = np.maximum(0, C0 * s0 - c1 * y * s1 + c1 * z * s2 - c1 * x * s3 + 0.5)
        np.testing.assert_allclose(got[0, view], want, atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_camera_center_is_the_inverse(scale):
    pose = np.asarray(look(3).cam_from_world, np.float64)
    pose[:, :3, :3] *= scale
    want = np.linalg.inv(pose)[:, :3, 3]
    np.testing.assert_allclose(camera_center(jnp.asarray(pose, jnp.float32)), want, atol=1e-5)
