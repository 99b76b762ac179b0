"""The prior's training step."""

import jax
import jax.numpy as jnp
import numpy as np
from training import tiny

from jax_talker.training import prior_step
from jax_talker.training.objective import ImageLoss
from jax_talker.training.shares import batch_of
from jax_talker.training.state import adam

LOSS = ImageLoss(1.0, 0.2)


def test_prior_step_learns_and_averages(small_prior):
    prior, variables = small_prior
    optimiser = adam(1e-2, 60, warmup=0.0)
    step = jax.jit(prior_step.make_prior_step(prior, optimiser, LOSS, prior_step.PriorWeights(), size=24))
    batch = tiny.people(prior)
    state, losses = prior_step.initial_state(variables, optimiser, 0), []
    for _ in range(30):
        state, measured = step(state, batch_of(batch))
        losses.append(float(measured["loss"]))
    assert losses[-1] < losses[0] - 1e-2
    kept = prior_step.averaged(state.params)
    assert jnp.abs(kept["buffers"]["w_avg"]).max() > 0
    np.testing.assert_array_equal(kept["buffers"]["base_position"], variables["buffers"]["base_position"])
    between = [
        float(jnp.abs(a - b).max())
        for a, b in zip(jax.tree.leaves(kept["params"]), jax.tree.leaves(state.params["live"]), strict=True)
    ]
    assert max(between) > 0  # an average lags behind
    # A step that is not applied moves nothing, averages neither.
    before = jax.tree.map(np.asarray, state.params)
    state, measured = step(state, batch_of(batch | {"image": jnp.full_like(batch["image"], jnp.nan)}))
    assert measured["skipped"] == 1
    jax.tree.map(np.testing.assert_array_equal, state.params, before)
    state, measured = step(state, batch_of(batch))
    assert measured["skipped"] == 0
    assert not np.array_equal(state.params["buffers"]["w_avg"], before["buffers"]["w_avg"])
