"""The door between the house's types and the rasteriser."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from jax_talker import geometry
from jax_talker.rendering import Rasteriser, render, render_views, with_pixel
from jax_talker.types import Camera, Gaussians

SIZE = 32
WHITE = (1.0, 1.0, 1.0)


def scene(batch=2, count=20):
    keys = jax.random.split(jax.random.key(0), 5)
    return Gaussians(
        mean=0.15 * jax.random.normal(keys[0], (batch, count, 3)),
        quat=jax.random.normal(keys[1], (batch, count, 4)),
        scale=jnp.exp(jax.random.normal(keys[2], (batch, count, 3)) * 0.3 - 3.5),
        opacity=jax.nn.sigmoid(jax.random.normal(keys[3], (batch, count))),
        rgb=jax.random.uniform(keys[4], (batch, count, 3)),
    )


def cameras(*angles):
    labels = jnp.asarray(geometry.make_label(np.stack([geometry.orbit(*a, pivot=geometry.EG3D_PIVOT) for a in angles])))
    return geometry.camera_from_label(labels, SIZE)


def test_one_camera_each_equals_views():
    gaussians, camera = scene(), cameras((0, 0), (30, 10))
    one = render(gaussians, camera, size=SIZE, background=WHITE)
    assert one.image.shape == (2, SIZE, SIZE, 3)
    both = Camera(*(jnp.stack([x, x[::-1]], 1) for x in (camera.cam_from_world, camera.intrinsics)))
    views = render_views(gaussians, both, size=SIZE, background=WHITE)
    assert views.depth.shape == (2, 2, SIZE, SIZE)
    np.testing.assert_allclose(views.image[:, 0], one.image, atol=1e-6)
    crossed = render(
        gaussians, Camera(camera.cam_from_world[::-1], camera.intrinsics[::-1]), size=SIZE, background=WHITE
    )
    np.testing.assert_allclose(views.image[:, 1], crossed.image, atol=1e-6)


def test_background_shows_where_nothing_is():
    gaussians = replace(scene(), opacity=jnp.zeros((2, 20)))
    seen = render(gaussians, cameras((0, 0), (10, 0)), size=SIZE, background=(0.2, 0.4, 0.6))
    np.testing.assert_allclose(seen.image, jnp.broadcast_to(jnp.array([0.2, 0.4, 0.6]), seen.image.shape), atol=1e-6)
    np.testing.assert_array_equal(seen.alpha, 0)
    np.testing.assert_array_equal(seen.overflow, 0)


def test_a_larger_picture_shows_no_gaps_between_gaussians_that_were_learnt_in_a_smaller_one():
    """Points that are seen as one surface in SIZE² for the pixel that the rasteriser adds, one at every pixel."""
    camera, times = cameras((0, 0)), 4
    step = geometry.RADIUS / (geometry.FOCAL * SIZE)
    y, x = step * (np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2)
    mean = jnp.asarray(np.stack([x, y, 0 * x], -1).reshape(1, -1, 3), jnp.float32)
    count = mean.shape[1]
    surface = Gaussians(
        mean=mean,
        quat=jnp.tile(jnp.array([1.0, 0, 0, 0]), (1, count, 1)),
        scale=jnp.full((1, count, 3), 0.05 * step),
        opacity=jnp.full((1, count), 0.99),
        rgb=jnp.ones((1, count, 3)),
    )

    def covered(gaussians, pixel=1.0, size=times * SIZE):
        larger = Camera(camera.cam_from_world, geometry.camera_from_label(label, size).intrinsics)
        how = {"size": size, "background": WHITE, "rasteriser": Rasteriser(pixel=pixel)}
        alpha = np.asarray(render(gaussians, larger, **how).alpha[0])
        return float(alpha[size // 4 : -size // 4, size // 4 : -size // 4].min())

    label = jnp.asarray(geometry.make_label(np.stack([geometry.orbit(0, 0, pivot=geometry.EG3D_PIVOT)])))
    assert covered(surface, size=SIZE) > 0.9
    assert covered(surface) < 0.1  # the test's own premise
    assert covered(surface, pixel=times) > 0.5
    assert covered(with_pixel(surface, camera)) > 0.5  # files, whose viewers choose the size


def test_a_gaussian_lands_where_the_label_says():
    """World +x is the picture's right, +y its top; one unit at distance d spans focal·size/d pixels."""
    for offset, want in (((0.1, 0, 0), (1, 0)), ((0, 0.1, 0), (0, -1))):
        gaussians = Gaussians(
            mean=jnp.asarray(offset)[None, None],
            quat=jnp.array([[[1.0, 0, 0, 0]]]),
            scale=jnp.full((1, 1, 3), 0.01),
            opacity=jnp.full((1, 1), 0.99),
            rgb=jnp.zeros((1, 1, 3)),
        )
        alpha = render(gaussians, cameras((0, 0)), size=SIZE, background=WHITE).alpha[0]
        rows, columns = jnp.mgrid[:SIZE, :SIZE] + 0.5
        centre = jnp.stack([(columns * alpha).sum(), (rows * alpha).sum()]) / alpha.sum() - SIZE / 2
        shift = 0.1 * geometry.FOCAL * SIZE / geometry.RADIUS
        np.testing.assert_allclose(centre, shift * jnp.asarray(want), atol=0.05)  # a twentieth of a pixel


def test_spherical_harmonics_of_degree_zero_are_a_colour():
    gaussians = scene()
    constant = 0.28209479177387814
    sh = (gaussians.rgb - 0.5)[:, :, None] / constant
    camera = cameras((0, 0), (30, 0))
    by_sh = render(replace(gaussians, rgb=None, sh=sh), camera, size=SIZE, background=WHITE)
    by_rgb = render(gaussians, camera, size=SIZE, background=WHITE)
    np.testing.assert_allclose(by_sh.image, by_rgb.image, atol=1e-5)


def test_gradients_reach_gaussians_and_camera():
    camera = cameras((0, 0), (30, 0))

    def loss(gaussians, camera):
        return (render(gaussians, camera, size=SIZE, background=WHITE).image ** 2).sum()

    gradients = jax.grad(loss, argnums=(0, 1))(scene(), camera)
    for leaf in jax.tree.leaves(gradients):
        assert jnp.isfinite(leaf).all()
        assert jnp.abs(leaf).max() > 1e-6


def test_what_the_rasteriser_tells_arrives():
    """Skipped, radii, extra channels, colours of each view, pictures as background."""
    gaussians, camera = scene(), cameras((0, 0), (30, 10))
    bad = replace(gaussians, mean=gaussians.mean.at[1, 3, 0].set(jnp.nan))
    extra = jax.random.uniform(jax.random.key(4), (2, 20, 5))
    picture = jax.random.uniform(jax.random.key(5), (2, SIZE, SIZE, 3))
    seen = render(bad, camera, size=SIZE, background=picture, extra=extra)
    np.testing.assert_array_equal(seen.skipped, [0, 1])
    assert seen.radii.shape == (2, 20)
    assert int(seen.radii[1, 3]) == 0 < int(seen.radii.max())
    assert seen.extra.shape == (2, SIZE, SIZE, 5)
    black = render(bad, camera, size=SIZE, background=(0, 0, 0))
    np.testing.assert_allclose(seen.image, black.image + (1 - black.alpha[..., None]) * picture, atol=1e-6)
    assert black.extra is None
    views = Camera(*(jnp.stack([x, x], 1) for x in (camera.cam_from_world, camera.intrinsics)))
    each = jnp.stack([gaussians.rgb, 1 - gaussians.rgb], 1)
    both = render_views(gaussians, views, size=SIZE, background=WHITE, view_rgb=each)
    other = render(replace(gaussians, rgb=1 - gaussians.rgb), camera, size=SIZE, background=WHITE)
    np.testing.assert_allclose(both.image[:, 1], other.image, atol=1e-6)
