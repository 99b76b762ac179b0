"""Spherical harmonics of the priors: the rasteriser's, written once."""

import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker.priors import sh
from kernels import spherical_harmonics as kernel_harmonics


def test_there_is_one_set_of_constants():
    assert sh.C0 is kernel_harmonics.C0
    assert sh.basis is kernel_harmonics.basis


def test_a_colour_is_the_rasterisers():
    """Baked for a direction, a prior's colour is what the rasteriser shows a camera that looks along it."""
    rng = np.random.default_rng(0)
    means = jnp.asarray(rng.standard_normal((1, 50, 3)), jnp.float32)
    for count in (1, 4, 9, 16):
        coefficients = jnp.asarray(rng.standard_normal((1, 50, count, 3)), jnp.float32)
        pose = jnp.eye(4).at[:3, 3].set(jnp.asarray([0.1, -0.2, 4.0]))
        seen = kernel_harmonics.view_colors(coefficients, means, pose[None, None])[0, 0]
        offset = means[0] - jnp.asarray([[-0.1, 0.2, -4.0]])
        direction = offset / jnp.linalg.norm(offset, axis=-1, keepdims=True)
        np.testing.assert_allclose(sh.colour(coefficients[0], direction), seen, atol=1e-5)


def test_other_degrees_are_refused():
    with pytest.raises(ValueError, match="got 5"):
        sh.basis(jnp.ones((2, 3)), 5)
