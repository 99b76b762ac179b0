"""Spherical harmonics of the priors against those of the rasteriser."""

import jax.numpy as jnp
import numpy as np

from jax_talker.priors import sh
from kernels import spherical_harmonics as kernel_harmonics


def test_harmonics_are_the_rasterisers():
    """Priors may not import the rasteriser, so both rooms have the formula; they must mean the same colour."""
    rng = np.random.default_rng(0)
    direction = rng.standard_normal((50, 3))
    direction = jnp.asarray(direction / np.linalg.norm(direction, axis=-1, keepdims=True), jnp.float32)
    for count in (1, 4, 9, 16):
        np.testing.assert_allclose(sh.basis(direction, count), kernel_harmonics.basis(direction, count), atol=1e-6)
