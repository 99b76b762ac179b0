"""The image loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker.training.objective import ImageLoss

LOSS = ImageLoss(1.0, 0.2)


def pictures(seed, count=1):
    return jnp.asarray(np.random.default_rng(seed).random((count, 24, 24, 3)), jnp.float32)


def test_what_is_right_inside_the_mask_costs_nothing():
    """Whatever lies outside, also beside the border: no window sees it (it cost 0.05 when windows came first)."""
    truth, other = pictures(0), pictures(1)
    mask = jnp.zeros((1, 24, 24)).at[:, :10].set(1.0)
    right = jnp.where(mask[..., None] > 0, truth, other)
    assert LOSS(right, truth, mask) == pytest.approx(0, abs=1e-6)
    assert LOSS(right, truth) > 0.1
    gradient = jax.grad(lambda p: LOSS(p, truth, mask))(other)
    assert not gradient[:, 10:].any()
    assert gradient[:, :10].any()


def test_emphasis_counts_pixels_more():
    truth, other = pictures(0), pictures(1)
    whole = LOSS(other, truth, None, jnp.ones((1, 24, 24)))
    np.testing.assert_allclose(whole, LOSS(other, truth), rtol=1e-6)
    np.testing.assert_allclose(LOSS(other, truth, None, jnp.full((1, 24, 24), 3.0)), 3 * whole, rtol=1e-6)


def test_an_lpips_weight_needs_its_network_and_its_weights():
    with pytest.raises(ValueError, match="needs the LPIPS network"):
        ImageLoss(1.0, 0.2, lpips=1.0)
    distance = ImageLoss(0.0, 0.0, 2.0, lambda weights, a, b: weights * jnp.abs(a - b).mean(-1))
    with pytest.raises(ValueError, match="none were given"):
        distance(pictures(0), pictures(1))
    np.testing.assert_allclose(
        distance(pictures(0), pictures(1), perceptual=jnp.float32(3)),
        6 * jnp.abs(pictures(0) - pictures(1)).mean(),
        rtol=1e-5,
    )
