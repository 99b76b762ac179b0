"""Winograd's convolution: the same as the direct one, and used only where it pays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker.priors import winograd


def test_equals_the_direct_convolution():
    """Value and gradients; float32 rounds a few times more than directly (values up to 40)."""
    x = jax.random.normal(jax.random.key(0), (2, 8, 12, 16))
    weight = jax.random.normal(jax.random.key(1), (3, 3, 16, 24))
    (got, pull), (want, pull_direct) = (jax.vjp(f, x, weight) for f in (winograd.conv3x3, winograd._direct))
    np.testing.assert_allclose(got, want, atol=1e-4)
    cotangent = jax.random.normal(jax.random.key(2), got.shape)
    for mine, direct in zip(pull(cotangent), pull_direct(cotangent), strict=True):
        np.testing.assert_allclose(mine, direct, atol=1e-4 * float(jnp.abs(direct).max()))


@pytest.mark.parametrize(
    ("size", "channels", "features", "yes"),
    [(64, 512, 512, True), (128, 256, 256, True), (256, 128, 128, False), (32, 512, 512, False), (128, 64, 256, False)],
)
def test_where_it_pays(size, channels, features, yes):
    assert winograd.pays((1, size, size, channels), features) == yes
