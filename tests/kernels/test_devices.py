"""A batch over two simulated devices: each renders its own part, and nothing is gathered."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from kernels import rasterize
from tests.kernels.scenes import look, quickly_compiled, random_gaussians

implementation, kind = sys.argv[1:]
gaussians, camera = random_gaussians(jax.random.key(0), (4,), count=60, sh=4), look(2, (4,))
extra, offset = jnp.ones((4, 60, 2)), jnp.zeros((4, 2, 60, 2))

def loss(gaussians, camera, extra, offset):
    out = rasterize(gaussians, camera, width=40, height=32, implementation=implementation, extra=extra,
                    means2d_offset=offset)
    return (out.image**2).sum((1, 2, 3, 4)) + out.extra.sum((1, 2, 3, 4)) + out.overflow.sum(1) + out.radii.sum((1, 2))

def step(*given):
    values, pull = jax.vjp(loss, *given)
    return values, pull(jnp.ones_like(values))

given = gaussians, camera, extra, offset
want = quickly_compiled(step)(*given)
mesh = jax.make_mesh((2,), ("data",), axis_types=(getattr(AxisType, kind),))
split = jax.device_put(given, NamedSharding(mesh, P("data")))
compiled = quickly_compiled(step).lower(*split).compile()
text = compiled.as_text()
got = compiled(*split)
for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
    assert len(a.sharding.device_set) == 2 and not a.sharding.is_fully_replicated, a.sharding
    np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max() + 1e-7)
gathers = [name for name in ("all-gather", "all-to-all", "collective-permute", "all-reduce") if name + "(" in text]
shapes = {line.split("f32[")[1].split("]")[0] for line in text.splitlines() if "kernels_cpu_rasterize" in line}
print("collectives", gathers)
print("images of a call", sorted(shapes))
"""


@pytest.mark.parametrize(
    ("implementation", "kind"),
    [
        ("numba", "Auto"),
        pytest.param("numba", "Explicit", marks=pytest.mark.slow),
        pytest.param("xla", "Auto", marks=pytest.mark.slow),
    ],
)
def test_a_split_batch_stays_split(implementation, kind):
    """It used to be gathered seven times, and rendered whole on each device."""
    root = Path(__file__).resolve().parents[2]
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, implementation, kind],
        env=os.environ | flags,
        cwd=root,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "collectives []" in done.stdout
    if implementation == "numba":
        assert "2,2,32,40,3" in done.stdout  # two of the four scenes, two views each
        assert "4,2,32,40,3" not in done.stdout
