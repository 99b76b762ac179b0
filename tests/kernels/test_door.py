"""``rasterize``'s checks, the choice of an implementation, and the proof of which one ran."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels import Constants, Unsupported, constants, dispatch, rasterize
from tests.kernels.scenes import look, random_gaussians


def render(gaussians=None, camera=None, width=8, height=8, **options):
    """``rasterize`` as users call it, without the tests' annotation checks in front of its own."""
    gaussians = random_gaussians(jax.random.key(0), count=5) if gaussians is None else gaussians
    return inspect.unwrap(rasterize)(
        gaussians, look() if camera is None else camera, width=width, height=height, **options
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colors": None}, "exactly one of colors and sh"),
        ({"sh": jnp.zeros((5, 4, 3))}, "exactly one of colors and sh"),
        ({"colors": None, "sh": jnp.zeros((5, 5, 3))}, r"K in \(1, 4, 9, 16\), got \(5, 5, 3\)"),
        ({"quats": jnp.zeros((5, 3))}, r"quats must be \[5, 4\].*got \(5, 3\)"),
        ({"opacities": jnp.zeros((5, 1))}, r"opacities must be \[5\]"),
    ],
)
def test_wrong_gaussians_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        render(random_gaussians(jax.random.key(0), count=5)._replace(**change))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "at least 1, got 0 × 8"),
        ({"near": 3.0, "far": 2.0}, "0 < near < far, got near=3.0, far=2.0"),
        ({"near": 0.0}, "0 < near < far"),
        ({"eps2d": -1.0}, "not negative, got -1.0"),
        ({"radius_clip": float("nan")}, "finite"),
        ({"depth": "median"}, "'accumulated' or 'expected', got 'median'"),
        ({"capacity": 0}, "capacity must be at least 1"),
        ({"implementation": "cuda"}, "cannot use implementation"),
        ({"implementation": ()}, "choose from"),
        ({"background": jnp.zeros((2, 3))}, r"background must be \[3\] or \[1, 3\], got \(2, 3\)"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        render(**options)


def test_wrong_cameras_are_named():
    with pytest.raises(ValueError, match=r"cam_from_world must be \[2\] \+ \[V, 4, 4\]"):
        render(random_gaussians(jax.random.key(0), (2,), count=5))
    with pytest.raises(ValueError, match=r"intrinsics must be \[1, 3, 3\]"):
        render(camera=look()._replace(intrinsics=jnp.zeros((2, 3, 3))))


def test_one_background_for_all_or_one_for_each():
    gaussians, camera = random_gaussians(jax.random.key(0), (2,), count=0), look(3, (2,))
    one = render(gaussians, camera, background=jnp.asarray([0.1, 0.2, 0.3])).image
    np.testing.assert_allclose(one, jnp.broadcast_to(jnp.asarray([0.1, 0.2, 0.3]).reshape(1, 1, 1, 1, 3), one.shape))
    each = jax.random.uniform(jax.random.key(1), (2, 3, 3))
    np.testing.assert_allclose(render(gaussians, camera, background=each).image[..., 4, 4, :], each)


def test_half_precision_is_converted():
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), random_gaussians(jax.random.key(0), count=5))
    out = render(half)
    assert out.image.dtype == jnp.float32
    np.testing.assert_array_equal(out.image, render(jax.tree.map(lambda leaf: leaf.astype(jnp.float32), half)).image)
    gradient = jax.grad(lambda gaussians: render(gaussians).image.sum())(half)
    assert gradient.means.dtype == jnp.bfloat16


def test_ones_own_constants():
    with pytest.raises(ValueError, match="unknown set 'inria'; choose from"):
        inspect.unwrap(constants.resolve)("inria")
    mild = constants.SETS["3dgs"]._replace(alpha_max=0.5)
    assert isinstance(mild, Constants)
    assert float(render(width=40, height=32, constants=mild).alpha.max()) < 1
    assert not np.array_equal(
        render(width=40, height=32, constants=mild).image, render(width=40, height=32, constants="3dgs").image
    )


# ---------------------------------------------------------------------------------------------------------------------
# Dispatch


def test_the_default_of_a_cpu_is_numba():
    if dispatch.platform() != "cpu":
        pytest.skip(f"needs a CPU as the default platform, found {dispatch.platform()!r}")
    gaussians = random_gaussians(jax.random.key(0), count=5)
    default = jax.jit(lambda g: render(g).image).lower(gaussians).as_text()
    assert "kernels_cpu_rasterize" in default
    reference = jax.jit(lambda g: render(g, implementation="reference").image).lower(gaussians).as_text()
    assert "kernels_cpu_rasterize" not in reference


@pytest.mark.parametrize("implementation", [None, ("numba", "xla")])
def test_the_platform_is_that_of_lowering(implementation):
    """Traced once, wherever: lowered for a CPU the default holds numba, lowered for a GPU xla alone."""
    gaussians = random_gaussians(jax.random.key(0), count=5)
    traced = jax.jit(lambda g: render(g, implementation=implementation).image).trace(gaussians)
    cpu, gpu = (traced.lower(lowering_platforms=(name,)).as_text() for name in ("cpu", "cuda"))
    assert "kernels_cpu_rasterize" in cpu
    assert "kernels_cpu_rasterize" not in gpu
    assert "stablehlo.while" in gpu  # xla's walk through the lists
    assert "stablehlo.while" not in cpu


def test_one_name_never_falls_back_and_a_list_does():
    def refuse(why):
        def call():
            raise Unsupported(why)

        return call

    table = {"a": refuse("needs a moon"), "b": refuse("needs a sun"), "c": lambda: 3}
    with pytest.raises(Unsupported, match="needs a moon") as caught:
        dispatch.run("op", table, "a")
    assert caught.value.__notes__ == ["while trying op/a"]
    assert dispatch.run("op", table, ("a", "b", "c")) == 3
    with pytest.raises(ExceptionGroup, match="all of") as group:
        dispatch.run("op", table, ("a", "b"))
    assert [str(reason) for reason in group.value.exceptions] == ["needs a moon", "needs a sun"]


def test_a_callers_mistake_is_no_refusal():
    def wrong():
        raise ValueError("your fault")

    with pytest.raises(ValueError, match="your fault"):
        dispatch.run("op", {"a": wrong, "b": lambda: 1}, ("a", "b"))
