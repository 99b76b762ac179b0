"""Every implementation against the reference: values, gradients, and the cases that break rasterisers."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from kernels import Camera, Gaussians, Rendered, inputs, rasterize
from kernels.constants import EPS2D
from kernels.dispatch import platform
from tests.kernels.scenes import (
    assert_close_with_band,
    assert_gradients_close,
    equal_gaussians,
    look,
    near_edges,
    quickly_compiled,
    random_gaussians,
)

IMPLEMENTATIONS = ["numba", "xla", "pallas_triton"]  # the last in interpret mode, where there is no GPU
WIDTH, HEIGHT = 40, 32
DIFFERENTIABLE = ("image", "alpha", "depth")

# Image, alpha and depth to 1e-4 (the project's aim and gsplat's promise): float32 and a 2e-7 exponential give 1e-6 for
# these scenes, and the sums of a few hundred Gaussians some digits more.
ATOL = 1e-4
# Gradients to 1e-3 of each number; measured 1e-5 and less.
RTOL = 1e-3


@pytest.fixture(params=IMPLEMENTATIONS)
def implementation(request):
    runs_here(request.param)
    return request.param


def runs_here(implementation):
    if implementation == "numba" and platform() != "cpu":
        pytest.skip(f"numba runs on CPUs, found {platform()!r}")


class Scenario(NamedTuple):
    gaussians: Gaussians
    camera: Camera
    width: int = WIDTH
    height: int = HEIGHT
    options: tuple[tuple[str, Any], ...] = ()


def fill(gaussians: Gaussians, count: int) -> Gaussians:
    """The same with transparent Gaussians up to ``count``, which change nothing (see "transparent")."""
    filler = equal_gaussians(count - gaussians.means.shape[0], opacity=0.0)
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), gaussians, filler)


def thin() -> Gaussians:
    """Needles of 1 : 1000 and more, for which the usual float32 formulas lose all digits of the determinant."""
    gaussians = random_gaussians(jax.random.key(4), count=120, thin=1e-3)
    return gaussians._replace(scales=gaussians.scales * jnp.asarray([4.0, 0.01, 1.0])[None])


def wide() -> Gaussians:
    """Far outside the view, where the Jacobian is clamped and, for gsplat, the clamp moves with the principal point."""
    gaussians = random_gaussians(jax.random.key(6), count=120)
    means = gaussians.means * jnp.asarray([4.0, 4.0, 1.0])[None]
    return gaussians._replace(means=means, scales=gaussians.scales * 3)


def crowd() -> Gaussians:
    """3,000 faint Gaussians one behind the other on one pixel: its ray ends after some of them."""
    gaussians = equal_gaussians(3000, scale=1e-3, opacity=0.03)
    depths = jnp.linspace(-0.01, 0.01, 3000)[:, None] * jnp.asarray([[0.0, 0.0, 1.0]])
    colors = jax.random.uniform(jax.random.key(15), (3000, 3))
    return gaussians._replace(means=gaussians.means + depths, colors=colors)


GSPLAT = (("antialiased", True), ("constants", "gsplat"))
# Scenes of the same sizes and options share a compilation.
SCENARIOS: dict[str, Callable[[], Scenario]] = {
    "3dgs": lambda: Scenario(random_gaussians(jax.random.key(0), count=120), look(2)),
    "thin": lambda: Scenario(thin(), look(2)),
    "wide": lambda: Scenario(wide(), look(2)),
    "behind": lambda: Scenario(equal_gaussians(120, position=(0.0, 0.0, 9.0)), look(2)),
    "transparent": lambda: Scenario(equal_gaussians(120, opacity=0.0), look(2)),
    # Wider than a thousand images and nearly opaque: one colour everywhere, alpha at its cap
    "giant": lambda: Scenario(fill(equal_gaussians(1, scale=2000.0, opacity=0.9999), 120), look(2)),
    "gsplat": lambda: Scenario(random_gaussians(jax.random.key(0), count=120), look(2), options=GSPLAT),
    "wide, gsplat": lambda: Scenario(wide(), look(2), options=GSPLAT),
    "gsplat-1.5, expected depth": lambda: Scenario(
        fill(equal_gaussians(3, scale=0.2, opacity=0.9999), 120),
        look(2),
        options=(("constants", "gsplat-1.5"), ("depth", "expected")),
    ),
    "spherical harmonics": lambda: Scenario(random_gaussians(jax.random.key(1), count=60, sh=16), look(2)),
    "scenes and views, odd size": lambda: Scenario(
        random_gaussians(jax.random.key(2), (2, 2), count=50), look(3, (2, 2), width=17, height=33), 17, 33
    ),
    "one pixel": lambda: Scenario(random_gaussians(jax.random.key(3), count=80), look(width=1, height=1), 1, 1),
    "none": lambda: Scenario(equal_gaussians(0), look(2)),
    "thousands on one pixel": lambda: Scenario(crowd(), look()),
}


class Truth(NamedTuple):
    given: tuple[Gaussians, Camera, Array]
    edge: Array  # pixels that two correct programs may decide differently
    cotangent: dict[str, Array]  # zero there
    values: dict[str, Array]
    out: Rendered
    gradient: tuple[Gaussians, Camera, Array]


@functools.partial(quickly_compiled, static_argnums=(0, 1))
def render_and_pull(implementation, options, given, cotangent):
    """Values, everything returned, and the gradients of all operands."""

    def outputs(given):
        gaussians, camera, background = given
        out = rasterize(gaussians, camera, background=background, implementation=implementation, **dict(options))
        return {name: getattr(out, name) for name in DIFFERENTIABLE}, out

    values, pull, out = jax.vjp(outputs, given, has_aux=True)
    return values, out, pull(cotangent)[0]


def options_of(scenario: Scenario):
    return (("width", scenario.width), ("height", scenario.height), *scenario.options)


@functools.cache
def truth(name: str) -> Truth:
    """The reference's answer in float64, worked out once for all implementations."""
    scenario = SCENARIOS[name]()
    gaussians, camera = scenario.gaussians, scenario.camera
    options = {"constants": "3dgs", "antialiased": False} | dict(scenario.options)
    settings = inputs.make_settings(
        scenario.width, scenario.height, None, np.inf, EPS2D, options["antialiased"], 0.0, options["constants"], None
    )
    edge = near_edges(gaussians, camera, settings)
    assert float(edge.mean()) < 0.05  # or the comparison means little
    given = (gaussians, camera, jax.random.uniform(jax.random.key(9), (*camera.intrinsics.shape[:-2], 3)))
    keys = jax.random.split(jax.random.key(3), 3)
    color, alpha, depth = (jax.random.normal(key, (*edge.shape, 3)) for key in keys)
    cotangent = {
        "image": jnp.where(edge[..., None], 0, color),
        "alpha": jnp.where(edge, 0, alpha[..., 0]),
        "depth": jnp.where(edge, 0, depth[..., 0]),
    }
    with jax.enable_x64(True):
        exactly = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (given, cotangent))
        answer = render_and_pull("reference", options_of(scenario), *exactly)
        return Truth(given, edge, cotangent, *jax.tree.map(np.asarray, answer))


# What takes long to compile, or to interpret. The first six scenarios share one compilation.
SLOW = {
    "numba": {"one pixel", "gsplat-1.5, expected depth"},
    "xla": {
        "wide, gsplat",
        "gsplat-1.5, expected depth",
        "spherical harmonics",
        "one pixel",
        "thousands on one pixel",
    },
    "pallas_triton": {
        "gsplat",
        "wide, gsplat",
        "gsplat-1.5, expected depth",
        "spherical harmonics",
        "one pixel",
        "thousands on one pixel",
    },
}
SCENARIO_CASES = [
    pytest.param(one, name, marks=[pytest.mark.slow] if name in SLOW[one] and platform() == "cpu" else [])
    for one in IMPLEMENTATIONS
    for name in SCENARIOS
]


@pytest.mark.parametrize(("implementation", "name"), SCENARIO_CASES)
def test_equals_the_reference(implementation, name):
    """Values to ATOL, every gradient to RTOL, radii and counts exactly."""
    runs_here(implementation)
    want = truth(name)
    values, out, gradient = render_and_pull(implementation, options_of(SCENARIOS[name]()), want.given, want.cotangent)
    for field in DIFFERENTIABLE:
        # A flip is one Gaussian more or less at alpha = 1/255: at most that much of its colour or depth.
        scale = max(1.0, float(jnp.abs(want.values[field]).max()))
        assert_close_with_band(
            values[field], want.values[field], want.edge, atol=ATOL * scale, flips_at_most=0.05, band=0.01 * scale
        )
    np.testing.assert_array_equal(out.radii, want.out.radii)
    np.testing.assert_array_equal(out.skipped, want.out.skipped)
    np.testing.assert_array_equal(out.overflow, 0)
    assert_gradients_close(gradient, want.gradient, rtol=RTOL)


# ---------------------------------------------------------------------------------------------------------------------
# What the scenarios are meant to show, so that the comparison above cannot pass on empty pictures


def test_scenarios_show_what_they_say():
    assert truth("scenes and views, odd size").values["image"].shape == (2, 2, 3, 33, 17, 3)
    for name in ("behind", "transparent", "none"):
        case = truth(name)
        assert float(case.values["alpha"].max()) == 0, name
        assert all(float(jnp.abs(leaf).max(initial=0)) == 0 for leaf in jax.tree.leaves(case.gradient[:2])), name
    assert int(truth("behind").out.radii.max()) == 0
    np.testing.assert_allclose(truth("giant").values["alpha"], 0.99, atol=1e-6)
    assert float(jnp.abs(truth("giant").gradient[0].opacities).max()) == 0  # a capped alpha does not move
    assert float(truth("thousands on one pixel").values["alpha"].max()) > 0.99
    for name in ("3dgs", "thin", "wide", "wide, gsplat", "spherical harmonics"):
        assert float(truth(name).values["alpha"].mean()) > 0.05, name


@pytest.mark.slow
def test_slow_scenarios_show_what_they_say():
    assert float(truth("gsplat-1.5, expected depth").values["alpha"].max()) > 0.9989
    assert float(truth("one pixel").values["alpha"].mean()) > 0.05


# ---------------------------------------------------------------------------------------------------------------------
# Edge cases. All of them are scenes of COUNT Gaussians and two views, so that each implementation is compiled once.

COUNT = 30
BACKGROUND = jnp.asarray([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])


@functools.partial(quickly_compiled, static_argnames=("implementation", "options"))
def render_and_gradient(implementation, gaussians, camera, background=BACKGROUND, options=()):
    """(Rendered, gradients of gaussians, camera and background) of a loss that depends on all outputs."""

    def loss(gaussians, camera, background):
        out = rasterize(
            gaussians,
            camera,
            background=background,
            width=WIDTH,
            height=HEIGHT,
            implementation=implementation,
            **dict(options),
        )
        return (out.image**2).sum() + out.depth.sum() + (out.alpha**2).sum(), out

    gradient, out = jax.grad(loss, (0, 1, 2), has_aux=True)(gaussians, camera, background)
    return out, gradient


@pytest.mark.parametrize(
    "option", [("near", 1.8), pytest.param(("far", 2.2), marks=pytest.mark.slow), ("radius_clip", 3.0)]
)
@pytest.mark.parametrize(
    "implementation", ["numba", *(pytest.param(one, marks=pytest.mark.slow) for one in ("xla", "pallas_triton"))]
)
def test_near_far_and_radius_clip(implementation, option):
    """Decided by the projection, which ``xla`` and ``pallas_triton`` share."""
    runs_here(implementation)
    gaussians = random_gaussians(jax.random.key(7), count=COUNT)
    everything, _ = render_and_gradient(implementation, gaussians, look(2))
    some, _ = render_and_gradient(implementation, gaussians, look(2), options=(option,))
    wanted, _ = render_and_gradient("reference", gaussians, look(2), options=(option,))
    np.testing.assert_allclose(some.image, wanted.image, atol=ATOL)
    np.testing.assert_array_equal(some.radii, wanted.radii)
    assert 0 < (some.radii > 0).sum() < (everything.radii > 0).sum()


def test_a_single_gaussian_is_the_formula(implementation):
    """Its centre on a pixel's centre: alpha there is the opacity, and the colour is blended with exactly that."""
    matrix = jnp.asarray([[50.0, 0, 20.5], [0, 50, 16.5], [0, 0, 1]])
    camera = Camera(jnp.stack([jnp.eye(4)] * 2), jnp.stack([matrix] * 2))
    gaussians = fill(equal_gaussians(1, position=(0.0, 0.0, 2.0), opacity=0.6), COUNT)
    out, _ = render_and_gradient(implementation, gaussians, camera)
    np.testing.assert_allclose(out.alpha[:, 16, 20], 0.6, rtol=1e-6)
    blended = 0.6 * jnp.asarray([[0.9, 0.5, 0.1]]) + 0.4 * BACKGROUND
    np.testing.assert_allclose(out.image[:, 16, 20], blended, rtol=1e-6)
    np.testing.assert_allclose(out.depth[:, 16, 20], 1.2, rtol=1e-6)


def test_equal_depths_keep_their_order(implementation):
    """Two Gaussians in one place: the first of the list is in front."""
    pair = equal_gaussians(2)._replace(colors=jnp.asarray([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    out, _ = render_and_gradient(implementation, fill(pair, COUNT), look(2), background=0 * BACKGROUND)
    red, green, _ = jnp.moveaxis(out.image, -1, 0)
    assert float(red.max()) > 0.7
    assert float(green.max()) < 0.25


def test_what_does_not_matter(implementation):
    """The order of the list, the length of the quaternions, and a Gaussian behind the camera change nothing."""
    gaussians = fill(random_gaussians(jax.random.key(10), count=COUNT - 1), COUNT)
    image = render_and_gradient(implementation, gaussians, look(2))[0].image
    order = jax.random.permutation(jax.random.key(11), COUNT)
    longer = gaussians._replace(quats=gaussians.quats * jnp.linspace(0.01, 100, COUNT)[:, None])
    behind = jax.tree.map(
        lambda leaf, other: leaf.at[-1].set(other[0]), gaussians, equal_gaussians(1, position=(0.0, 0.0, 5.0))
    )
    for same in (jax.tree.map(lambda leaf: leaf[order], gaussians), longer, behind):
        # 1e-5: normalising a quaternion rounds differently for each length
        np.testing.assert_allclose(render_and_gradient(implementation, same, look(2))[0].image, image, atol=1e-5)


@pytest.mark.parametrize("value", [jnp.nan, jnp.inf, -jnp.inf])
@pytest.mark.parametrize(
    "field", ["means", "quats", "scales", "opacities", "colors", pytest.param("sh", marks=pytest.mark.slow)]
)
def test_not_finite_is_skipped_and_counted(implementation, field, value):
    """A bad Gaussian is left out and counted; image and gradients are those of the scene without it."""
    gaussians = random_gaussians(jax.random.key(12), count=COUNT, sh=4 if field == "sh" else None)
    leaf = getattr(gaussians, field)
    bad = gaussians._replace(**{field: leaf.at[(7, *[0] * (leaf.ndim - 1))].set(value)})
    without = gaussians._replace(opacities=gaussians.opacities.at[7].set(0))
    got, (gradient, *others) = render_and_gradient(implementation, bad, look(2))
    want, (want_gradient, *want_others) = render_and_gradient(implementation, without, look(2))
    np.testing.assert_array_equal(got.skipped, [1, 1])
    np.testing.assert_array_equal(want.skipped, [0, 0])
    np.testing.assert_allclose(got.image, want.image, atol=1e-6)
    assert all(float(jnp.abs(leaf[7]).max()) == 0 for leaf in jax.tree.leaves(gradient))
    assert_gradients_close((gradient, others), (want_gradient, want_others), rtol=RTOL)


@pytest.mark.parametrize(
    "change",
    [("scales", 1e30), ("means", 3e38), ("quats", 0.0), ("scales", 1e-30), ("quats", 1e-30)],
    ids=["huge scale", "huge mean", "zero quaternion", "tiny scale", "tiny quaternion"],
)
def test_extreme_numbers_never_poison(implementation, change):
    field, value = change
    gaussians = random_gaussians(jax.random.key(13), count=COUNT)
    gaussians = gaussians._replace(**{field: getattr(gaussians, field).at[3].set(value)})
    out, gradient = render_and_gradient(implementation, gaussians, look(2))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((out, gradient)))
    assert float(out.alpha.max()) > 0.1  # the others are still there


def test_camera_or_background_not_finite(implementation):
    camera = look(2)
    bad = camera._replace(cam_from_world=camera.cam_from_world.at[0, 1, 2].set(jnp.nan))
    back = BACKGROUND.at[1, 1].set(jnp.inf)
    gaussians = random_gaussians(jax.random.key(14), count=COUNT)
    out, gradient = render_and_gradient(implementation, gaussians, bad, background=back)
    np.testing.assert_array_equal(out.skipped, [COUNT, 1])
    np.testing.assert_allclose(out.image[0], jnp.broadcast_to(back[0][None, None], out.image[0].shape))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((out, gradient)))
    assert float(out.alpha[1].max()) > 0.1
