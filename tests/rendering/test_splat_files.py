"""Heads as .ply files: turned over as viewers expect, with ln of scales and spherical harmonics, read by others."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker import geometry
from jax_talker.rendering import render, save_splats
from jax_talker.types import Camera, Gaussians
from kernels.ply import read_ply

SIZE = 32
COUNT = 40
HALF_TURN = np.diag([1.0, -1.0, -1.0, 1.0])


def head(degree):
    """One head [N, ·] whose colours change with the side that they are seen from."""
    keys = jax.random.split(jax.random.key(1), 5)
    return Gaussians(
        mean=0.15 * jax.random.normal(keys[0], (COUNT, 3)),
        quat=jax.random.normal(keys[1], (COUNT, 4)),
        scale=jnp.exp(jax.random.normal(keys[2], (COUNT, 3)) * 0.5 - 3.5),
        opacity=jax.nn.sigmoid(jax.random.normal(keys[3], (COUNT,))),
        sh=0.3 * jax.random.normal(keys[4], (COUNT, (degree + 1) ** 2, 3)),
    )


def seen(gaussians, world_turn):
    label = jnp.asarray(geometry.make_label(np.stack([geometry.orbit(25, 15)])))
    camera = geometry.camera_from_label(label, SIZE)
    camera = Camera(camera.cam_from_world @ world_turn.astype(np.float32)[None], camera.intrinsics)
    return np.asarray(render(jax.tree.map(lambda x: x[None], gaussians), camera, size=SIZE, background=(1, 1, 1)).image)


@pytest.mark.parametrize("degree", [0, 3])
def test_turned_over_it_looks_the_same_from_the_turned_camera(tmp_path, degree):
    """Means, rotations and every order of the harmonics turn together."""
    own = head(degree)
    save_splats(tmp_path / "head.ply", own)
    read = read_ply(tmp_path / "head.ply")
    turned = Gaussians(*map(jnp.asarray, read[:4]), sh=jnp.asarray(read.sh))
    np.testing.assert_allclose(seen(turned, HALF_TURN), seen(own, np.eye(4)), atol=2e-5)
    assert np.abs(seen(turned, np.eye(4)) - seen(own, np.eye(4))).max() > 0.1
    save_splats(tmp_path / "head.ply", own, y_down=False)
    np.testing.assert_allclose(read_ply(tmp_path / "head.ply").means, own.mean, atol=1e-7)


def test_opacities_that_overshoot_are_written(tmp_path):
    own = head(0)
    over = replace(own, opacity=own.opacity.at[:2].set(jnp.array([1.0009, -0.0008])))
    save_splats(tmp_path / "head.ply", over)
    np.testing.assert_allclose(read_ply(tmp_path / "head.ply").opacities[:2], [1, 0], atol=1e-6)


def test_an_independent_reader_finds_what_the_format_promises(tmp_path):
    plyfile = pytest.importorskip("plyfile", reason="the test extra brings plyfile")
    own = head(1)
    save_splats(tmp_path / "head.ply", own)
    vertex = plyfile.PlyData.read(str(tmp_path / "head.ply"))["vertex"]
    assert vertex.count == COUNT
    np.testing.assert_allclose(np.exp(np.stack([vertex[f"scale_{i}"] for i in range(3)], 1)), own.scale, rtol=1e-5)
    np.testing.assert_allclose(1 / (1 + np.exp(-vertex["opacity"])), own.opacity, atol=1e-6)
    np.testing.assert_allclose(np.stack([vertex[c] for c in "xyz"], 1), own.mean * np.array([[1, -1, -1]]), atol=1e-7)
    np.testing.assert_allclose(np.stack([vertex[f"f_dc_{i}"] for i in range(3)], 1), own.sh[:, 0], atol=1e-7)
    rest = np.stack([vertex[f"f_rest_{i}"] for i in range(9)], 1).reshape(COUNT, 3, 3)  # by colour, then by coefficient
    np.testing.assert_allclose(np.swapaxes(rest, 1, 2), own.sh[:, 1:] * np.array([[[-1], [-1], [1]]]), atol=1e-7)
    rotation = np.asarray(geometry.rotation_from_quat(jnp.stack([vertex[f"rot_{i}"] for i in range(4)], 1)))
    want = HALF_TURN[:3, :3] @ np.asarray(geometry.rotation_from_quat(own.quat))
    np.testing.assert_allclose(rotation, want, atol=1e-5)
