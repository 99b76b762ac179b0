"""Colours of chance behind heads that were cut out onto white."""

import jax
import jax.numpy as jnp
import numpy as np

from jax_talker.training import backgrounds


def test_a_head_on_white_is_put_on_any_colour():
    colour, alpha = (
        jax.random.uniform(jax.random.key(1), (2, 4, 5, 3)),
        jax.random.uniform(jax.random.key(2), (2, 4, 5)),
    )
    behind = backgrounds.colours(jax.random.split(jax.random.key(0), 2))
    over = lambda back: colour * alpha[..., None] + (1 - alpha[..., None]) * back  # noqa: E731
    np.testing.assert_allclose(backgrounds.on(behind, over(1.0), alpha), over(behind), atol=1e-6)


def test_rows_have_colours_of_their_own():
    found = np.asarray(backgrounds.colours(jax.random.split(jax.random.key(0), 64)))[:, 0, 0]
    assert found.min() >= 0
    assert found.max() <= 1
    assert (found.std(0) > 0.2).all()  # of uniform numbers 0.29
    assert len(np.unique(found)) == found.size


def test_white_paint_is_no_substitute_for_nothing():
    paint, nothing = jnp.ones((1, 2, 2, 3)), jnp.ones((1, 2, 2, 3))
    behind = jnp.full((1, 1, 1, 3), 0.25)
    painted = backgrounds.on(behind, paint, jnp.ones((1, 2, 2)))
    empty = backgrounds.on(behind, nothing, jnp.zeros((1, 2, 2)))
    np.testing.assert_allclose(painted - empty, 0.75)
