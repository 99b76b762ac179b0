"""The Pallas kernels on a machine without a GPU: they lower for CUDA in every variant, and refuse to run."""

import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from kernels import Unsupported, api, inputs, pallas_triton, rasterize
from kernels.dispatch import platform
from tests.kernels.scenes import assert_gradients_close, look, quickly_compiled, random_gaussians

KERNELS = ("splat_composite_fwd", "splat_composite_bwd", "splat_sum_rows")
DEFAULTS = {"constants": "3dgs", "antialiased": False, "capacity": None}


def render(gaussians, camera, width=40, height=32, mode="compile", **options):
    options = DEFAULTS | options
    settings = inputs.make_settings(
        width, height, None, np.inf, 0.3, options["antialiased"], 0.0, options["constants"], options["capacity"]
    )
    return pallas_triton.rasterize(inputs.to_scene(gaussians, camera, None)[0], settings, mode)


def loss(gaussians, camera, **options):
    out = render(gaussians, camera, **options)
    return (out.image**2).sum() + (out.alpha * out.depth).sum()


H100 = jax.sharding.AbstractDevice(device_kind="NVIDIA H100 80GB HBM3", num_cores=132, platform="gpu")


def lowered(function, *operands):
    """For CUDA, without a card; JAX 0.11 asks which one."""
    nowhere = jax.sharding.AbstractMesh((), (), axis_types=(), abstract_device=H100)
    with jax.sharding.use_abstract_mesh(nowhere):
        return jax.jit(function).trace(*operands).lower(lowering_platforms=("cuda",)).as_text()


VARIANTS = {
    "3dgs": lambda: (random_gaussians(jax.random.key(0)), look(2), {}),
    "gsplat": lambda: (random_gaussians(jax.random.key(0)), look(), {"constants": "gsplat", "antialiased": True}),
    "spherical harmonics": lambda: (random_gaussians(jax.random.key(0), sh=16), look(2), {}),
    "batch, odd size": lambda: (
        random_gaussians(jax.random.key(0), (2, 2)),
        look(3, (2, 2), width=17, height=33),
        {"width": 17, "height": 33},
    ),
    "one pixel": lambda: (random_gaussians(jax.random.key(0)), look(), {"width": 1, "height": 1}),
    "none": lambda: (random_gaussians(jax.random.key(0), count=0), look(), {}),
    "capacity": lambda: (random_gaussians(jax.random.key(0)), look(), {"capacity": 77}),
    # Tile and place of a pair need more than 32 bits: another sort
    "large": lambda: (
        random_gaussians(jax.random.key(0)),
        look(),
        {"width": 4096, "height": 4096, "capacity": 1 << 18},
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_lowers_for_cuda_on_any_host(name):
    """The lowered program holds the kernels by name: forward one of them, with gradients all three."""
    gaussians, camera, options = VARIANTS[name]()
    forward = lowered(functools.partial(render, **options), gaussians, camera)
    assert [kernel in forward for kernel in KERNELS] == [name != "none", False, False]  # no Gaussians: nothing to draw
    backward = lowered(jax.value_and_grad(functools.partial(loss, **options), (0, 1)), gaussians, camera)
    assert [kernel in backward for kernel in KERNELS] == [name != "none"] * 3
    for text in (forward, backward):
        assert ("triton" in text) == (name != "none")
        assert "mosaic" not in text  # what a pallas_call without compiler parameters would become


def test_lowers_inside_transformations():
    """vmap, scan, and shard_map over two of its devices, each with gradients."""
    gaussians, camera = random_gaussians(jax.random.key(0), (4,), count=50), look(2, (4,))
    gradient = jax.grad(loss, (0, 1))
    assert KERNELS[1] in lowered(jax.vmap(gradient), gaussians, camera)
    scanned = lowered(
        lambda *given: jax.lax.scan(lambda _, one: (None, gradient(*one)), None, given)[1], gaussians, camera
    )
    assert KERNELS[1] in scanned
    mesh = jax.sharding.AbstractMesh((2,), ("data",), axis_types=(AxisType.Auto,), abstract_device=H100)
    mapped = jax.shard_map(gradient, mesh=mesh, in_specs=PartitionSpec("data"), out_specs=PartitionSpec("data"))
    assert KERNELS[1] in lowered(mapped, gaussians, camera)


@pytest.mark.slow
def test_one_or_two_programs_a_tile(monkeypatch):
    """Many tiles get one program each backward, few get two: the same gradients but for the order of sums."""
    gaussians, camera = random_gaussians(jax.random.key(0), count=60), look(2)
    mode = "compile" if platform() == "gpu" else "interpret"
    given, results = (gaussians, camera), []
    for few in (1 << 20, 0):
        monkeypatch.setattr(pallas_triton, "_FEW", few)
        results.append(quickly_compiled(jax.grad(functools.partial(loss, mode=mode), (0, 1)))(*given))
    assert_gradients_close(*results, rtol=1e-4)


def test_exports_for_cuda():
    gaussians, camera = random_gaussians(jax.random.key(0), count=50), look()
    # JAX does not promise that it can load a Triton call in years to come, and says so unless told that we know.
    checks = [jax.export.DisabledSafetyCheck.custom_call("__gpu$xla.gpu.triton")]
    gradient = jax.jit(jax.grad(loss, (0, 1)))
    program = jax.export.export(gradient, platforms=["cuda"], disabled_checks=checks)(gaussians, camera)
    assert program.platforms == ("cuda",)


@pytest.mark.skipif(platform() == "gpu", reason="there is a GPU")
def test_refuses_without_a_gpu(monkeypatch):
    monkeypatch.setitem(api.IMPLEMENTATIONS, "pallas_triton", pallas_triton.rasterize)
    gaussians, camera = random_gaussians(jax.random.key(0), count=3), look()
    with pytest.raises(Unsupported, match="needs a GPU, found 'cpu'"):
        rasterize(gaussians, camera, width=5, height=7, implementation="pallas_triton")
    taken = rasterize(gaussians, camera, width=5, height=7, implementation=("pallas_triton", "xla"))
    assert taken.image.shape == (1, 7, 5, 3)


def test_refuses_what_its_indices_cannot_reach():
    gaussians, camera = random_gaussians(jax.random.key(0), count=3), look()
    with pytest.raises(Unsupported, match="32-bit indices"):
        jax.eval_shape(functools.partial(render, capacity=1 << 27), gaussians, camera)


def test_refuses_a_jax_without_triton(monkeypatch):
    monkeypatch.setattr(pallas_triton, "plgpu", None)
    with pytest.raises(Unsupported, match="no Triton lowering"):
        render(random_gaussians(jax.random.key(0), count=3), look())


@pytest.mark.slow
def test_vmap_is_the_loop():
    """Values and gradients of the door, mapped by JAX rather than by the door."""
    gaussians, camera = random_gaussians(jax.random.key(1), (2,), count=40), look(1, (2,), width=20, height=17)

    def one(gaussians, camera):
        out = rasterize(gaussians, camera, width=20, height=17, implementation="pallas_triton")
        return (out.image**2).sum()

    value_and_gradient = jax.value_and_grad(one, (0, 1))
    mapped = quickly_compiled(jax.vmap(value_and_gradient))(gaussians, camera)
    each = [
        quickly_compiled(value_and_gradient)(*jax.tree.map(operator.itemgetter(i), (gaussians, camera))) for i in (0, 1)
    ]
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    for got, want in zip(jax.tree.leaves(mapped), jax.tree.leaves(together), strict=True):
        # 1e-5 of the largest: XLA may sum the projection's gradient in another order
        np.testing.assert_allclose(got, want, atol=1e-5 * float(jnp.abs(want).max()) + 1e-7)
