"""What only a GPU can show; ``make gpu-check`` runs these. The other tests of this folder run there as well."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels import rasterize, suggest_capacity
from tests.kernels.scenes import load_scene

pytestmark = pytest.mark.gpu
SCENES = ["head_6k_128", "head_65k_256", "head_350k_512", "garden"]


@functools.cache
def workload(name):
    scene = load_scene(name)
    size = {"width": scene.width, "height": scene.height, "constants": "gsplat"}
    return scene, {**size, "capacity": suggest_capacity(scene.gaussians, scene.camera, **size)}


def gradients(scene, options, implementation):
    pull = jax.random.normal(jax.random.key(0), (1, scene.height, scene.width, 3))

    @jax.jit
    def gradient(gaussians, camera):
        def loss(gaussians, camera):
            out = rasterize(gaussians, camera, implementation=implementation, **options)
            return (out.image * pull).mean(), out.overflow

        return jax.grad(loss, (0, 1), has_aux=True)(gaussians, camera)

    return gradient(scene.gaussians, scene.camera)


def test_the_kernel_is_what_runs_where_it_is_asked_for(shared):
    """Read off the program, not believed. ``xla`` is the default until a card's result is committed."""
    scene, options = workload("tiny_300")

    def text(**how):
        return jax.jit(lambda g, c: rasterize(g, c, **options, **how)).lower(scene.gaussians, scene.camera).as_text()

    assert "splat_composite_fwd" in text(implementation="pallas_triton")
    assert "splat_composite_fwd" not in text()
    assert "kernels_cpu_rasterize" not in text()


@pytest.mark.parametrize("implementation", ["pallas_triton", "xla"])
@pytest.mark.parametrize("name", SCENES)
def test_equals_gsplat(shared, implementation, name):
    """As tests/kernels/test_workloads.py, for what runs on a GPU."""
    scene, options = workload(name)
    out = rasterize(scene.gaussians, scene.camera, implementation=implementation, **options)
    assert int(out.overflow.max()) == 0
    error = np.abs(np.asarray(out.image[0]) - np.load(shared / "golden" / "raster" / f"{name}.npy")).max(-1)
    assert (error > 1e-4).mean() <= 1e-3
    assert error.max() < 0.008


@pytest.mark.parametrize("name", SCENES)
def test_gradients_are_those_of_xla(shared, name):
    """1e-3 of each number or of the leaf's mean square, but for at most 1e-3 of the numbers, whose Gaussians have
    pixels at the alpha threshold. (numba and xla differ so in 1e-4 of the garden's numbers, by 0.06 at most.)"""
    scene, options = workload(name)
    (mine, overflow), (theirs, _) = (gradients(scene, options, one) for one in ("pallas_triton", "xla"))
    assert int(overflow.max()) == 0
    for got, want in zip(jax.tree.leaves(mine), jax.tree.leaves(theirs), strict=True):
        got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
        error = np.abs(got - want) / (np.abs(want) + np.sqrt((want**2).mean()))
        assert (error > 1e-3).mean() <= 1e-3
        assert error.max() < 0.25


def test_gradients_are_the_same_in_every_run(shared):
    """Bit for bit: there are no atomics in the kernels."""
    scene, options = workload("head_65k_256")
    first, again = (gradients(scene, options, "pallas_triton")[0][0] for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first, again)


@pytest.mark.parametrize("implementation", ["pallas_triton", "xla"])
def test_a_batch_is_its_parts(shared, implementation):
    """Eight heads at once, each moved a little: bit for bit the images rendered alone."""
    scene, options = workload("head_6k_128")
    options = options | {"implementation": implementation}
    shifts = 0.01 * jax.random.normal(jax.random.key(0), (8, 1, 3))
    many = jax.tree.map(lambda leaf: jnp.stack([leaf] * 8), (scene.gaussians, scene.camera))
    moved = many[0]._replace(means=many[0].means + shifts)
    options = options | {"capacity": 2 * options["capacity"]}
    together = rasterize(moved, many[1], **options)
    assert int(together.overflow.max()) == 0
    for i in (0, 3, 7):
        one = scene.gaussians._replace(means=moved.means[i])
        np.testing.assert_array_equal(rasterize(one, scene.camera, **options).image, together.image[i])
