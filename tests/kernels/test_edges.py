"""At the limits: counts that do not fit, cameras and quaternions that are none, constants that make holes.

Each of these was a fault that was found by running the code at its limits.
"""

import functools
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels import Constants, Unsupported, constants, grow_capacity, inputs, rasterize
from kernels.binning import Shapes, bin_splats, count_pairs
from kernels.capacity import LIMIT, default_capacity, roomy
from kernels.dispatch import platform
from tests.kernels.scenes import assert_gradients_close, look, quickly_compiled, random_gaussians

IMPLEMENTATIONS = ["reference", "numba"]  # xla and pallas_triton share their projection with reference


def runs_here(implementation):
    if implementation == "numba" and platform() != "cpu":
        pytest.skip(f"numba runs on CPUs, found {platform()!r}")


# ---------------------------------------------------------------------------------------------------------------------
# Counts


def full_screen(count, width, height):
    """Splats that cover everything; no projection needed."""
    shape = (1, 1, count)
    center = jnp.broadcast_to(jnp.asarray([width / 2, height / 2]), (*shape, 2))
    falloff = jnp.broadcast_to(jnp.asarray([1e-9, 0.0, 1e-9]), (*shape, 3))
    bounds = jnp.broadcast_to(jnp.asarray([0, width, 0, height], jnp.int32), (*shape, 4))
    return Shapes(center, falloff, jnp.ones(shape), jnp.full(shape, 0.5), bounds, jnp.ones(shape, bool))


@pytest.mark.parametrize(("count", "pairs"), [(32_767, 32_767 << 16), (33_000, LIMIT - 1)])
def test_counts_stop_where_int32_ends(count, pairs):
    """33,000 Gaussians in each of the 65,536 tiles of 4096² are 2.16e9 pairs: they used to count as −2.13e9."""
    settings = inputs.make_settings(4096, 4096, None, np.inf, 0.3, False, 0.0, "3dgs", 1000)
    splats = full_screen(count, 4096, 4096)
    assert count_pairs(splats, settings).tolist() == [pairs]
    bins = jax.jit(functools.partial(bin_splats, settings=settings))(splats)
    assert bins.overflow.tolist() == [pairs - 1000]
    assert int((bins.end - bins.first).sum()) == 1000
    assert grow_capacity(1000, bins.overflow) == 1 << 31


@pytest.mark.parametrize(("capacity", "batch"), [(1 << 31, 1), (1 << 30, 2)])
def test_lists_beyond_int32_are_refused(capacity, batch):
    given = random_gaussians(jax.random.key(0), (batch,), count=3), look(1, (batch,))
    render = functools.partial(rasterize, width=8, height=8, implementation="xla", capacity=capacity)
    with pytest.raises(Unsupported, match=rf"{capacity} places of capacity × {batch} images are too many"):
        jax.eval_shape(render, *given)


def test_capacities_leave_little_unused():
    for number in (1, 7, 8, 9, 1000, 1_780_534, 2**20, 2**31 + 1):
        assert number <= roomy(number) <= max(number * 9 / 8, number + 1), number
    assert len({roomy(number) for number in range(1, 1 << 16)}) < 150  # few programs are compiled
    assert default_capacity(350_000, 512, 512) == 1 << 22


TOO_MANY = """
import jax, jax.numpy as jnp
from kernels import Camera, Gaussians, rasterize
count, size = 526_000, 1024  # × 4,096 tiles: 2.15e9 pairs
gaussians = Gaussians(
    jnp.tile(jnp.asarray([[0.0, 0.0, 2.0]]), (count, 1)), jnp.tile(jnp.asarray([[1.0, 0, 0, 0]]), (count, 1)),
    jnp.full((count, 3), 100.0), jnp.full(count, 0.5), jnp.ones((count, 3)))
camera = Camera(jnp.eye(4)[None], jnp.asarray([[[500.0, 0, 512], [0, 500, 512], [0, 0, 1]]]))
render = lambda g: rasterize(g, camera, width=size, height=size, implementation="numba").image
try:
    jax.block_until_ready(render(gaussians))
except jax.errors.JaxRuntimeError as error:
    print("refused:", error)
few = jax.tree.map(lambda leaf: leaf[:3], gaussians)
print("alive", float(render(few).mean()))
"""


@pytest.mark.skipif(platform() != "cpu", reason=f"numba runs on the CPU, found {platform()!r}")
def test_numba_refuses_what_its_lists_cannot_number():
    """It used to write outside its memory. In a process of its own, which must live on."""
    root = Path(__file__).resolve().parents[2]
    env = os.environ | {"PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", TOO_MANY], env=env, cwd=root, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "more than 2^31 (tile, Gaussian) pairs at once" in done.stdout
    assert "alive 0.87" in done.stdout  # 1 − ½³


# ---------------------------------------------------------------------------------------------------------------------
# Cameras


@functools.partial(quickly_compiled, static_argnums=0)
def render_and_gradient(implementation, gaussians, camera, weight):
    def loss(gaussians, camera):
        out = rasterize(gaussians, camera, width=20, height=16, implementation=implementation)
        return ((out.image**2).sum((1, 2, 3)) * weight).sum(), out

    return jax.grad(loss, (0, 1), has_aux=True)(gaussians, camera)


@pytest.mark.parametrize("sh", [None, 4])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("pose", ["zero", "flat"])
def test_a_singular_camera_is_skipped(implementation, sh, pose):
    """A pose that pads a batch, all zero, or that maps space to a plane: nothing drawn, all counted, gradients as if
    it were not there. (It used to make every mean's gradient NaN.)"""
    runs_here(implementation)
    gaussians, camera = random_gaussians(jax.random.key(1), count=20, sh=sh), look(2, width=20, height=16)
    one = camera.cam_from_world[0]
    bad = jnp.zeros((4, 4)) if pose == "zero" else one.at[1, :3].set(one[0, :3])
    padded = camera._replace(cam_from_world=camera.cam_from_world.at[1].set(bad))

    (got, got_camera), out = render_and_gradient(implementation, gaussians, padded, jnp.ones(2))
    (want, want_camera), _ = render_and_gradient(implementation, gaussians, camera, jnp.asarray([1.0, 0.0]))
    assert out.skipped.tolist() == [0, 20]
    np.testing.assert_array_equal(out.alpha[1], 0)
    assert_gradients_close((got, got_camera), (want, want_camera), rtol=1e-5)


def test_cameras_of_any_scale_are_no_singular_ones():
    poses = look(3).cam_from_world
    for scale in (1e-6, 1e-3, 1.0, 1e6):
        assert not inputs.singular(poses.at[:, :3, :3].multiply(scale)).any()
    assert inputs.singular(jnp.zeros((4, 4)))


# ---------------------------------------------------------------------------------------------------------------------
# Quaternions and constants


@pytest.mark.parametrize("length", [2e19, 3e-23, 1e30])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_quaternions_of_any_length_turn(implementation, length):
    """Squares of 2e19 overflow: such a quaternion used to become the identity; those of 3e-23 vanish."""
    runs_here(implementation)
    gaussians = random_gaussians(jax.random.key(2), count=20, thin=0.05)
    unit = gaussians._replace(quats=gaussians.quats / jnp.linalg.norm(gaussians.quats, axis=-1, keepdims=True))
    long = unit._replace(quats=unit.quats * length)
    camera = look(2, width=20, height=16)
    (turn, _), got = render_and_gradient(implementation, long, camera, jnp.ones(2))
    (want_turn, _), want = render_and_gradient(implementation, unit, camera, jnp.ones(2))
    assert got.skipped.tolist() == [0, 0]
    np.testing.assert_allclose(got.image, want.image, atol=1e-5)  # rounding of another length
    scale = float(jnp.abs(want_turn.quats).max())
    np.testing.assert_allclose(turn.quats * length, want_turn.quats, atol=1e-3 * scale)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("alpha_max", 0.99995),
        ("alpha_max", 1.0),
        ("alpha_max", float("nan")),
        ("alpha_max", 0.001),
        ("near", 0.0),
        ("fov_margin", -0.1),
        ("radius_sigmas", float("inf")),
        ("compensation_min", 1.5),
    ],
)
def test_constants_out_of_range_are_named(field, value):
    """A Gaussian of alpha above 0.9999 would end every ray at itself, undrawn: a hole."""
    wrong = constants.SETS["3dgs"]._replace(**{field: value})
    given = random_gaussians(jax.random.key(0), count=3), look()
    with pytest.raises(ValueError, match=f"constants.{field}|near and radius_sigmas"):
        rasterize(*given, width=8, height=8, constants=wrong)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_the_highest_alpha_makes_no_hole(implementation):
    runs_here(implementation)
    solid = random_gaussians(jax.random.key(0), count=1)._replace(
        means=jnp.zeros((1, 3)), scales=jnp.full((1, 3), 0.5), opacities=jnp.ones(1)
    )
    highest: Constants = constants.SETS["gsplat"]._replace(alpha_max=0.9999)
    out = rasterize(solid, look(), width=40, height=32, constants=highest, implementation=implementation)
    assert float(out.alpha[0, 14:18, 18:22].min()) > 0.95  # a hole would show as 0 where it is most solid


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_gsplat_floors_the_compensation(implementation):
    """A Gaussian far thinner than a pixel keeps 0.005 of its opacity with ``gsplat``, and nothing with older ones."""
    runs_here(implementation)
    speck = random_gaussians(jax.random.key(0), count=1)._replace(
        means=jnp.zeros((1, 3)), scales=jnp.full((1, 3), 1e-5), opacities=jnp.ones(1)
    )
    camera = look(width=8, height=8)
    camera = camera._replace(intrinsics=camera.intrinsics.at[:, :2, 2].set(4.5))

    def most(name):
        return rasterize(
            speck, camera, width=8, height=8, antialiased=True, constants=name, implementation=implementation
        ).alpha.max()

    assert 0.004 < float(most("gsplat")) <= 0.005
    assert float(most("gsplat-1.5")) == 0
    assert float(most("3dgs")) == 0
