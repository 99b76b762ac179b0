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


WORK = """
import sys, time
import jax, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from kernels import rasterize
from tests.kernels.scenes import look, random_gaussians

size = {"width": 160, "height": 128}
gaussians, camera = random_gaussians(jax.random.key(0), (8,), count=4000), look(2, (8,), **size)
step = jax.jit(jax.grad(lambda *given: (rasterize(*given, implementation="numba", **size).image ** 2).sum()))
mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
spread = P("data") if sys.argv[1] == "split" else P()
both = jax.device_put((gaussians, camera), NamedSharding(mesh, spread))

def processor_seconds(given):
    start = time.process_time()
    for _ in range(4):
        jax.block_until_ready(step(*given))
    return time.process_time() - start

for given in ((gaussians, camera), both):  # compile
    jax.block_until_ready(step(*given))
turns = [(processor_seconds((gaussians, camera)), processor_seconds(both)) for _ in range(5)]
print(np.median([on_two / on_one for on_one, on_two in turns]))
"""


def run(program, *arguments):
    root = Path(__file__).resolve().parents[2]
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | flags,
        cwd=root,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


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
    said = run(PROGRAM, implementation, kind)
    assert "collectives []" in said
    if implementation == "numba":
        assert "2,2,32,40,3" in said  # two of the four scenes, two views each
        assert "4,2,32,40,3" not in said


@pytest.mark.slow
@pytest.mark.parametrize(("spread", "least", "most"), [("split", 0.7, 1.4), ("copied", 1.6, 2.6)])
def test_each_device_takes_half_the_time(spread, least, most):
    """Of processors, which other programs disturb less than the clock: two devices together take what one takes alone,
    so each half of it. A batch that lies whole on each device takes twice as much, which shows what is measured."""
    assert least < float(run(WORK, spread)) < most
