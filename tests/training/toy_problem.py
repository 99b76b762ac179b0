"""A toy problem: a state, a step and its targets, shared by the tests of the loop, its records and checkpoints."""

import jax
import jax.numpy as jnp
import numpy as np

from jax_talker.training.state import adam, create, descend

OPTIMISER = adam(0.1, 20)


def step(state, target):
    """Move towards a target, with noise from the step's own key."""
    noise = 0.01 * jax.random.normal(state.step_key(), (3,))
    return descend(state, OPTIMISER, lambda p, to: (((p["x"] - to + noise) ** 2).sum(), {"x0": p["x"][0]}), target)


def targets(bad=()):
    """A function from a step to its batch; NaN in ``bad`` ones."""
    return lambda n: np.full(3, np.nan if n in bad else 1.0 + n % 2, np.float32)


def fresh():
    return create({"x": jnp.zeros(3)}, OPTIMISER, seed=3)
