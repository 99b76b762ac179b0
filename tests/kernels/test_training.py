"""What training systems ask of a rasteriser: screen-space gradients, further channels, colours for each view, pictures
as background, and Gaussians that are switched off."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels import rasterize
from kernels.dispatch import platform
from tests.kernels.scenes import assert_gradients_close, look, quickly_compiled, random_gaussians

SIZE = {"width": 24, "height": 20}
COUNT = 40
IMPLEMENTATIONS = ["numba", "xla", pytest.param("pallas_triton", marks=pytest.mark.slow)]


def scene():
    gaussians, camera = random_gaussians(jax.random.key(0), (2,), count=COUNT), look(2, (2,), **SIZE)
    extra = jax.random.normal(jax.random.key(5), (2, COUNT, 2))
    return gaussians, camera, extra, jnp.zeros((2, 2, COUNT, 2))


@functools.partial(quickly_compiled, static_argnames=("implementation", "absgrad"))
def value_and_gradient(implementation, absgrad, gaussians, camera, extra, offset):
    def loss(gaussians, camera, extra, offset):
        out = rasterize(
            gaussians,
            camera,
            **SIZE,
            extra=extra,
            means2d_offset=offset,
            absgrad=absgrad,
            implementation=implementation,
        )
        weight = jnp.cos(jnp.arange(out.image.size, dtype=out.image.dtype)).reshape(out.image.shape)
        value = (out.image * weight).sum() + (out.extra**2 * weight[..., :2]).sum() + (out.depth * weight[..., 0]).sum()
        return value, out

    return jax.value_and_grad(loss, (0, 1, 2, 3), has_aux=True)(gaussians, camera, extra, offset)


@functools.cache
def truth(absgrad):
    return value_and_gradient("reference", absgrad, *scene())


@pytest.mark.parametrize("absgrad", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_extra_channels_and_offsets_are_the_references(implementation, absgrad):
    if implementation == "numba" and platform() != "cpu":
        pytest.skip(f"numba runs on CPUs, found {platform()!r}")
    (_, out), gradient = value_and_gradient(implementation, absgrad, *scene())
    (_, want), want_gradient = truth(absgrad)
    np.testing.assert_allclose(out.extra, want.extra, atol=1e-4)
    np.testing.assert_allclose(out.image, want.image, atol=1e-4)
    assert_gradients_close(gradient, want_gradient, rtol=1e-3)


def test_the_offsets_gradient_is_a_derivative():
    """Central differences in float64 along a random direction, and the same by moving the principal point."""
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), scene())
        gaussians, camera, extra, _ = exact
        direction = jax.random.normal(jax.random.key(1), (2, 2, COUNT, 2), jnp.float64)

        def at(step):
            return value_and_gradient("reference", False, gaussians, camera, extra, step * direction)

        slope = (at(1e-6)[0][0] - at(-1e-6)[0][0]) / 2e-6
        _, (_, d_camera, _, d_offset) = at(0.0)
        np.testing.assert_allclose((d_offset * direction).sum(), slope, rtol=1e-5)
        # 3dgs' Jacobian does not know of the principal point: it moves all centres of a view alike.
        np.testing.assert_allclose(d_offset.sum(2), d_camera.intrinsics[..., :2, 2], rtol=1e-8)


def test_absolute_gradients_do_not_cancel():
    """At least as large as the signed ones; all other gradients are the same."""
    signed, absolute = truth(False)[1], truth(True)[1]
    assert (jnp.abs(signed[3]) <= absolute[3] * (1 + 1e-5) + 1e-6).all()
    assert float(absolute[3].sum()) > 2 * float(jnp.abs(signed[3]).sum())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), signed[:3], absolute[:3])


def test_extra_channels_blend_as_colours_do():
    gaussians, camera, _, _ = scene()
    out = rasterize(gaussians, camera, **SIZE, extra=gaussians.colors)
    np.testing.assert_allclose(out.extra, out.image, atol=1e-6)  # over black
    many = rasterize(gaussians, camera, **SIZE, extra=jnp.tile(gaussians.colors, (1, 1, 7)))
    np.testing.assert_allclose(many.extra, jnp.tile(out.image, 7), atol=1e-6)
    assert rasterize(gaussians, camera, **SIZE).extra is None


def test_a_bad_channel_skips_its_gaussian():
    gaussians, camera, extra, offset = scene()
    bad = extra.at[0, 7, 1].set(jnp.nan)
    (_, out), gradient = value_and_gradient("reference", False, gaussians, camera, bad, offset)
    np.testing.assert_array_equal(out.skipped, [[1, 1], [0, 0]])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("implementation", ["reference", None])
def test_colours_of_each_view(implementation):
    gaussians, camera, _, _ = scene()
    each = jax.random.uniform(jax.random.key(2), (2, 2, COUNT, 3))
    together = rasterize(gaussians._replace(colors=each), camera, **SIZE, implementation=implementation).image
    for view in range(2):
        alone = jax.tree.map(lambda leaf, view=view: leaf[:, view : view + 1], camera)
        one = rasterize(gaussians._replace(colors=each[:, view]), alone, **SIZE, implementation=implementation).image
        np.testing.assert_allclose(together[:, view], one[:, 0], atol=1e-6)


def test_a_picture_as_background():
    gaussians, camera, _, _ = scene()
    picture = jax.random.uniform(jax.random.key(3), (2, 2, 20, 24, 3))
    black = rasterize(gaussians, camera, **SIZE)

    def render(picture):
        return rasterize(gaussians, camera, **SIZE, background=picture)

    over, pull = jax.vjp(lambda picture: render(picture).image, picture)
    np.testing.assert_allclose(over, black.image + (1 - black.alpha[..., None]) * picture, atol=1e-6)
    left = jnp.broadcast_to(1 - black.alpha[..., None], picture.shape)
    np.testing.assert_allclose(pull(jnp.ones_like(over))[0], left, atol=1e-6)
    plain = jnp.broadcast_to(jnp.asarray([0.2, 0.5, 0.7]), picture.shape)
    same = rasterize(gaussians, camera, **SIZE, background=jnp.asarray([0.2, 0.5, 0.7]))
    np.testing.assert_allclose(render(plain).image, same.image, atol=1e-6)
    broken = render(picture.at[0, 1, 3, 4, 0].set(jnp.nan))
    np.testing.assert_array_equal(broken.skipped, [[0, 1], [0, 0]])
    assert np.isfinite(broken.image).all()


def test_switched_off_is_not_there():
    """Opacity 0, documented in ``Gaussians``: the picture of the rest, zero gradients, not counted."""
    gaussians, camera, _, _ = scene()
    off = gaussians._replace(opacities=gaussians.opacities.at[:, ::2].set(0))
    rest = jax.tree.map(lambda leaf: leaf[:, 1::2], gaussians)
    out, want = rasterize(off, camera, **SIZE), rasterize(rest, camera, **SIZE)
    np.testing.assert_allclose(out.image, want.image, atol=1e-6)
    np.testing.assert_array_equal(out.skipped, 0)
    gradient = jax.grad(lambda gaussians: (rasterize(gaussians, camera, **SIZE).image ** 2).sum())(off)
    assert all(float(jnp.abs(leaf[:, ::2]).max()) == 0 for leaf in jax.tree.leaves(gradient))


def test_wrong_shapes_are_named():
    gaussians, camera, extra, offset = scene()
    unchecked = inspect.unwrap(rasterize)  # without the tests' annotation checks in front of its own
    render = functools.partial(unchecked, gaussians, camera, **SIZE)
    with pytest.raises(ValueError, match=r"means2d_offset must be \[2, 2, 40, 2\]"):
        render(means2d_offset=offset[:, 0])
    with pytest.raises(ValueError, match=r"extra must be \[2, 40\] \+ \[E\]"):
        render(extra=extra[:, :3])
    with pytest.raises(ValueError, match=r"got \(2, 2, 24, 20, 3\); a picture is \[2, 2, 20, 24, 3\]"):
        render(background=jnp.zeros((2, 2, 24, 20, 3)))
    with pytest.raises(ValueError, match=r"colors must be \[2, 40, 3\] or \[2, 2, 40, 3\]"):
        unchecked(gaussians._replace(colors=jnp.zeros((2, 3, 40, 3))), camera, **SIZE)
