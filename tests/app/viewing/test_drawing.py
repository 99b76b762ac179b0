"""Cameras of browsers, covariances, and pictures that fit a window."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jax_talker import geometry
from jax_talker.app.judging import protocols
from jax_talker.app.viewing import drawing
from jax_talker.rendering import as_splats
from jax_talker.types import Gaussians
from kernels.constants import EPS2D


@pytest.mark.parametrize("angles", [(0, 0), (-30, 0), (20, 15)])
def test_a_browsers_camera_is_the_label_that_it_came_from(angles):
    label = geometry.make_label(geometry.orbit(*angles))
    world_from_cam, intrinsics = geometry.split_label(label.astype(np.float64))
    wxyz = Rotation.from_matrix(world_from_cam[:3, :3]).as_quat(scalar_first=True)
    field = 2 * np.arctan(0.5 / intrinsics[1, 1])
    np.testing.assert_allclose(drawing.label_of(wxyz, world_from_cam[:3, 3], field), label, atol=2e-6)


def test_presets_are_where_the_labels_cameras_are(speaker):
    drawer = drawing.Drawer(speaker, 24)
    view = drawer.view(30, 0)
    np.testing.assert_allclose(view.position, geometry.orbit(30, 0)[:3, 3], atol=1e-5)
    assert np.degrees(view.field) == pytest.approx(13.37, abs=0.01)
    assert {"front", "yaw -30", "yaw -20", "yaw +20", "yaw +30"} <= set(drawing.PRESETS)
    pairs = {camera for camera in protocols.VIEWS.values() if camera != "spiral"}  # of the paper's Table 1
    assert pairs <= {f"yaw={yaw:g},pitch={pitch:g}" for yaw, pitch in drawing.PRESETS.values()}


def test_covariances_are_the_gaussians_and_the_pixels_they_were_learnt_with(speaker):
    rng = np.random.default_rng(0)
    quat, scale = rng.normal(size=(5, 4)), rng.uniform(0.01, 0.1, (5, 3))
    mean, rgb = rng.normal(size=(5, 3)) * 0.2, rng.uniform(-0.1, 1.1, (5, 3))
    given = {"mean": mean, "quat": quat, "scale": scale, "opacity": rng.uniform(0, 1.001, 5), "rgb": rgb}
    gaussians = Gaussians(**{name: jnp.asarray(x[None], jnp.float32) for name, x in given.items()})
    label = jnp.asarray(geometry.make_label(geometry.orbit(0, 0))[None])
    splats = as_splats(gaussians, geometry.camera_from_label(label, 100))
    for k in range(5):
        axes = Rotation.from_quat(quat[k], scalar_first=True).as_matrix()
        pixel = np.linalg.norm(mean[k] - [0, 0, 2.7]) / (geometry.FOCAL * 100)
        expected = axes @ np.diag(scale[k] ** 2) @ axes.T + EPS2D * pixel**2 * np.eye(3)
        np.testing.assert_allclose(splats.covariances[k], expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(splats.centers, mean, rtol=1e-6)
    np.testing.assert_allclose(splats.rgb, rgb.clip(0, 1), rtol=1e-6)
    assert 0 <= splats.opacity.min() <= splats.opacity.max() <= 1


def test_harmonics_are_coloured_as_from_the_front():
    sh = jnp.zeros((1, 1, 4, 3)).at[0, 0, 0].set(1.0).at[0, 0, 2, 0].set(0.5)  # constant, and along z
    one = jnp.zeros((1, 1, 3))
    gaussians = Gaussians(one, one[..., :1] + jnp.ones((1, 1, 4)), one + 0.1, jnp.ones((1, 1)), sh=sh)
    label = jnp.asarray(geometry.make_label(geometry.orbit(0, 0))[None])
    rgb = np.asarray(as_splats(gaussians, geometry.camera_from_label(label, 100)).rgb[0])
    constant = 0.5 + 0.28209479
    np.testing.assert_allclose(rgb, [constant - 0.48860251 * 0.5, constant, constant], rtol=1e-5)  # it looks along −z


@pytest.mark.parametrize("aspect", [0.5, 1.0, 1.7])
def test_a_picture_fits_the_window_undistorted(aspect):
    picture = np.random.default_rng(0).integers(0, 200, (40, 40, 3), np.uint8)
    got = drawing.fitted(picture, aspect)
    assert got.shape == (40, round(40 * aspect), 3)
    middle = got.shape[1] // 2
    np.testing.assert_array_equal(got[:, middle - 5 : middle + 5], picture[:, 15:25])
    if aspect > 1:
        assert (got[:, [0, -1]] == 255).all()


def test_large_heads_are_sent_as_pictures():
    assert drawing.best_way(8_836) == "splats"
    assert drawing.best_way(235_000) == "pictures"
