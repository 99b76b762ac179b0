"""The project's workloads: against gsplat's pictures, and the CPU's default against itself in every way to call it."""

import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels import rasterize, suggest_capacity
from tests.kernels.scenes import assert_gradients_close, load_scene


def slow(*parameters):
    return pytest.param(*parameters, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("implementation", "name"),
    [
        (None, "head_6k_128"),
        (None, "head_65k_256"),
        (None, "head_350k_512"),
        (None, "garden"),
        ("xla", "head_6k_128"),
        slow("xla", "head_65k_256"),
        slow("xla", "head_350k_512"),
        slow("xla", "garden"),
        slow("pallas_triton", "head_6k_128"),  # in interpret mode, where there is no GPU
    ],
)
def test_equals_gsplat(shared, implementation, name):
    """gsplat's own PyTorch functions: 1e-4, but for at most 1e-3 of the pixels, at the alpha threshold (issue 3).

    There one Gaussian more or less shows, alpha 1/255 of a colour: 0.004 and, at two thresholds at once, 0.008.
    """
    scene = load_scene(name)
    size = {"width": scene.width, "height": scene.height, "constants": "gsplat"}
    capacity = suggest_capacity(scene.gaussians, scene.camera, **size) if implementation else None
    out = rasterize(scene.gaussians, scene.camera, **size, implementation=implementation, capacity=capacity)
    assert int(out.overflow.max()) == 0
    error = np.abs(np.asarray(out.image[0]) - np.load(shared / "golden" / "raster" / f"{name}.npy")).max(-1)
    assert (error > 1e-4).mean() <= 1e-3
    assert error.max() < 0.008


def test_constants_show(shared):
    """3DGS cuts Gaussians off at tile edges, below alpha 0.011; gsplat 1.5 caps alpha later."""
    scene = load_scene("head_6k_128")
    opaque = scene.gaussians._replace(opacities=jnp.ones_like(scene.gaussians.opacities))
    ours, gsplat, older = (
        rasterize(gaussians, scene.camera, width=128, height=128, constants=constants).image
        for gaussians, constants in ((scene.gaussians, "3dgs"), (scene.gaussians, "gsplat"), (opaque, "gsplat-1.5"))
    )
    assert 1e-3 < float(jnp.abs(ours - gsplat).max()) < 0.011
    capped = rasterize(opaque, scene.camera, width=128, height=128, constants="gsplat").image
    assert 1e-3 < float(jnp.abs(capped - older).max()) < 0.1


def test_batches_are_their_parts(shared):
    """Scenes and views rendered together are bit for bit the images rendered alone."""
    scene = load_scene("tiny_300")
    key = jax.random.key(0)
    means = scene.gaussians.means[None] + 0.02 * jax.random.normal(key, (3, *scene.gaussians.means.shape))
    many = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (3, *leaf.shape)), scene.gaussians)._replace(means=means)
    moved = scene.camera.cam_from_world.at[0, 0, 3].add(0.1)
    camera = jax.tree.map(
        lambda a, b: jnp.concatenate([a, b]), scene.camera, scene.camera._replace(cam_from_world=moved)
    )
    cameras = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (3, *leaf.shape)), camera)
    together = rasterize(many, cameras, width=48, height=48).image
    for i in range(3):
        for view in range(2):
            alone = rasterize(
                jax.tree.map(operator.itemgetter(i), many),
                jax.tree.map(operator.itemgetter(slice(view, view + 1)), camera),
                width=48,
                height=48,
            )
            np.testing.assert_array_equal(alone.image[0], together[i, view])


@pytest.mark.slow
def test_gradients_are_those_of_xla(shared):
    """A head, for all that a Gaussian has and for the camera; measured 1.5e-5."""
    scene = load_scene("head_6k_128")
    pull = jax.random.normal(jax.random.key(0), (1, 128, 128, 3))

    def gradient(implementation):
        def loss(gaussians, camera):
            image = rasterize(gaussians, camera, width=128, height=128, implementation=implementation).image
            return (image * pull).sum()

        return jax.grad(loss, (0, 1))(scene.gaussians, scene.camera)

    assert_gradients_close(gradient(None), gradient("xla"), rtol=1e-3)
