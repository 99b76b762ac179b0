"""The optimiser of heads: what hardly has a gradient hardly moves, where an entry is a Gaussian's."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_talker.training.state import PER_GAUSSIAN, create, descend, direction

STEPS = 50


def moved(gradients, names):
    """How far STEPS steps of ``direction`` go, by ``gradients(step)``, for params of these names alike."""
    optimiser = direction()
    params = dict.fromkeys(names, jnp.zeros_like(gradients(0)))
    state, total = optimiser.init(params), params
    update = jax.jit(optimiser.update)
    for step in range(STEPS):
        updates, state = update(dict.fromkeys(names, gradients(step)), state, params)
        total = jax.tree.map(jnp.add, total, updates)
    return total


@pytest.mark.parametrize("size", [1.0, 1e-3])
def test_noise_moves_talkers_and_not_gaussians(size):
    """One Gaussian that is always pulled, and one that is by a thousandth of that, to and fro, as few pixels do."""
    noise = np.random.default_rng(0).standard_normal(STEPS)
    found = moved(lambda step: size * jnp.array([1.0, 1e-3 * noise[step]]), ["talker", "detail"])
    # Without eps Adam goes by 1 a step, whatever the gradient's size; noise goes by its square root.
    np.testing.assert_allclose(found["talker"][0], -STEPS, rtol=0.01)
    assert abs(found["talker"][1]) > 1
    # An entry of √2 times the array's size, and a hundredth of CALM: 1.41 / (1.41 + 0.1) a step, and nearly none.
    np.testing.assert_allclose(found["detail"][0], -STEPS * 1.414 / 1.514, rtol=0.02)
    assert abs(found["detail"][1]) < 0.02 * abs(found["talker"][1])


@pytest.mark.parametrize("name", PER_GAUSSIAN)
def test_what_has_no_gradient_rests(name):
    found = moved(lambda _: jnp.zeros(3), [name])
    np.testing.assert_array_equal(found[name], 0)


@pytest.mark.parametrize("broken", ["value", "gradient"])
def test_a_step_that_is_not_finite_in_value_or_gradient_changes_nothing(broken):
    """A NaN beside the parameters leaves their gradient finite; √x at 0 has a finite value and no finite gradient."""
    optimiser = optax.adam(0.1)
    state = create({"x": jnp.zeros(2)}, optimiser, 0)

    def loss(params, batch):
        if broken == "value":
            return (params["x"] - 1.0).sum() + batch, {}
        return jnp.sqrt(params["x"].sum() + 0 * batch), {}

    after, measured = descend(state, optimiser, loss, jnp.float32(np.nan if broken == "value" else 0.0))
    assert measured["skipped"] == 1
    assert np.isfinite(measured["grad_norm"]) == (broken == "value")
    jax.tree.map(np.testing.assert_array_equal, (after.params, after.opt_state), (state.params, state.opt_state))
    assert after.step == 1
    after, measured = descend(state, optimiser, lambda params, batch: ((params["x"] - batch).sum(), {}), jnp.float32(0))
    assert measured["skipped"] == 0
    assert (after.params["x"] != 0).all()
