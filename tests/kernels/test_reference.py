"""The truth itself: its gradients against finite differences, in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels import rasterize
from tests.kernels.scenes import look, quickly_compiled, random_gaussians


@pytest.mark.parametrize(
    ("constants", "antialiased", "sh"),
    [
        ("3dgs", False, None),
        pytest.param("gsplat", True, 16, marks=pytest.mark.slow),
        pytest.param("gsplat-1.5", True, None, marks=pytest.mark.slow),
    ],
)
def test_gradient_agrees_with_finite_differences(constants, antialiased, sh):
    """Central differences along random directions, one operand after the other.

    The step is small enough that no pixel crosses a threshold (the test would fail then), and large enough that
    rounding leaves 1e-6: ε² truncation and 1e-16/ε rounding meet near ε = 1e-6.
    """
    with jax.enable_x64(True):
        gaussians = random_gaussians(jax.random.key(0), count=10, sh=sh)
        background = jnp.asarray([0.3, 0.6, 0.9])
        given = jax.tree.map(
            lambda leaf: leaf.astype(jnp.float64), (gaussians, look(2, width=20, height=16), background)
        )

        def loss(given):
            out = rasterize(
                given[0],
                given[1],
                background=given[2],
                width=20,
                height=16,
                implementation="reference",
                constants=constants,
                antialiased=antialiased,
            )
            weights = jnp.cos(jnp.arange(out.image.size, dtype=jnp.float64)).reshape(out.image.shape)
            return (
                (out.image * weights).sum() + (out.alpha * weights[..., 0]).sum() + (out.depth * weights[..., 1]).sum()
            )

        value_of, gradient = quickly_compiled(loss), quickly_compiled(jax.grad(loss))(given)
        leaves, tree = jax.tree.flatten(given)
        slopes = jax.tree.leaves(gradient)
        for number, leaf in enumerate(leaves):
            direction = jax.random.normal(jax.random.key(number), leaf.shape, jnp.float64)
            if leaf.shape[-2:] in ((4, 4), (3, 3)):
                # Only what the convention uses: no bottom row, no skew.
                used = (
                    jnp.ones(leaf.shape[-2:]).at[-1].set(0)
                    if leaf.shape[-1] == 4
                    else jnp.eye(3).at[:2, 2].set(1).at[2].set(0)
                )
                direction *= used[None]

            def along(step, number=number, leaf=leaf, direction=direction):
                moved = [*leaves[:number], leaf + step * direction, *leaves[number + 1 :]]
                return value_of(jax.tree.unflatten(tree, moved))

            step = 1e-6
            difference = (along(step) - along(-step)) / (2 * step)
            np.testing.assert_allclose((slopes[number] * direction).sum(), difference, rtol=1e-5, atol=1e-7)


def test_float64_throughout():
    with jax.enable_x64(True):
        gaussians = jax.tree.map(
            functools.partial(jnp.asarray, dtype=jnp.float64), random_gaussians(jax.random.key(1), count=5)
        )
        out = rasterize(gaussians, look(dtype=jnp.float64), width=8, height=8, implementation="reference")
        assert out.image.dtype == out.depth.dtype == jnp.float64
        with pytest.raises(NotImplementedError, match="numba works in float32, got float64"):
            rasterize(gaussians, look(dtype=jnp.float64), width=8, height=8, implementation="numba")
