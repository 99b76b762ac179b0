"""What holds for ``xla`` beside agreement: transformations, devices, memory, and lanes that change nothing."""

import functools
import operator
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels import inputs, rasterize, xla
from kernels.binning import pack, shapes_of
from kernels.projection import project
from tests.kernels.scenes import look, quickly_compiled, random_gaussians


def loss(gaussians, camera):
    return (rasterize(gaussians, camera, width=40, height=32, implementation="xla").image ** 2).sum()


@pytest.mark.slow
def test_vmap_and_scan_are_the_loop():
    gaussians, camera = random_gaussians(jax.random.key(0), (2,), count=40), look(1, (2,))
    value_and_gradient = jax.value_and_grad(loss, (0, 1))
    alone = quickly_compiled(value_and_gradient)
    each = [alone(*jax.tree.map(operator.itemgetter(i), (gaussians, camera))) for i in range(2)]
    want = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    vmapped = quickly_compiled(jax.vmap(value_and_gradient))(gaussians, camera)

    def scan(*given):
        return jax.lax.scan(lambda _, one: (None, value_and_gradient(*one)), None, given)[1]

    scanned = quickly_compiled(scan)(gaussians, camera)
    for got in (vmapped, scanned):
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            # Sums over Gaussians and pixels in another order
            np.testing.assert_allclose(a, b, atol=1e-5 * float(jnp.abs(b).max()) + 1e-7)


def test_lanes_change_nothing():
    """However many tiles are worked on side by side, and whichever lane takes which: the same bits."""
    gaussians, camera = random_gaussians(jax.random.key(0), count=200), look(2)
    settings = inputs.make_settings(40, 32, None, np.inf, 0.3, False, 0.0, "3dgs", None)
    splats = project(inputs.to_scene(gaussians, camera, None)[0], settings)
    given = pack(splats), shapes_of(splats)
    one, some = (
        quickly_compiled(functools.partial(xla.composite, settings=settings, lanes=lanes))(*given) for lanes in (1, 5)
    )
    assert float(one[0].light.min()) < 0.2
    jax.tree.map(np.testing.assert_array_equal, one, some)


def temporary_bytes(count, size, capacity):
    gaussians, camera = random_gaussians(jax.random.key(0), count=count), look(1, width=size, height=size)

    def loss(gaussians):
        out = rasterize(gaussians, camera, width=size, height=size, implementation="xla", capacity=capacity)
        return (out.image**2).sum()

    return jax.jit(jax.grad(loss)).lower(gaussians).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.slow
def test_memory_is_linear():
    """Of forward and backward, as the compiler plans it: twice of everything takes twice the room, not four times."""
    small, large = temporary_bytes(2000, 64, 1 << 14), temporary_bytes(8000, 128, 1 << 16)
    assert large < 4.5 * small
    pixels, pairs, splats = 128 * 128, 1 << 16, 8000
    assert large < 100 * (pixels + pairs) + 500 * splats


PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from kernels import rasterize
from tests.kernels.scenes import look, quickly_compiled, random_gaussians

gaussians, camera = random_gaussians(jax.random.key(0), (2,), count=60), look(1, (2,))

def loss(gaussians, camera):
    return (rasterize(gaussians, camera, width=40, height=32, implementation="xla").image ** 2).sum()

gradient = jax.grad(loss, (0, 1))
want = quickly_compiled(gradient)(gaussians, camera)
mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
split = jax.device_put((gaussians, camera), NamedSharding(mesh, P("data")))
mapped = quickly_compiled(jax.shard_map(gradient, mesh=mesh, in_specs=P("data"), out_specs=P("data")))(*split)
for a, b in zip(jax.tree.leaves(mapped), jax.tree.leaves(want), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max() + 1e-7)
"""


@pytest.mark.slow
def test_shard_map_on_two_devices():
    root = Path(__file__).resolve().parents[2]
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=os.environ | flags, cwd=root, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
