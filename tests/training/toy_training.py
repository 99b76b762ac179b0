"""A training of seconds on the real loop, log and checkpoints, for tests that end it at random moments."""

import jax
import jax.numpy as jnp
import numpy as np

from jax_talker.training.checkpoint import Checkpoints
from jax_talker.training.log import Log
from jax_talker.training.loop import Every, run
from jax_talker.training.state import adam, create, descend

STEPS = 40
OPTIMISER = adam(0.1, STEPS)


def step(state, target):
    """Towards a target, with noise from the step's own key."""
    noise = jax.random.normal(state.step_key(), (2000,))

    def loss(params, target):
        return ((jnp.tanh(params["a"] @ noise[:200]) - target) ** 2).mean() + (params["b"] * noise).mean() ** 2, {}

    return descend(state, OPTIMISER, loss, target)


def batch(number):
    return np.sin(number + np.arange(200), dtype=np.float32)


def main(workdir):
    """Train to the end in ``workdir``, from the newest checkpoint that lies there."""
    start = create({"a": jnp.ones((200, 200)) / 200, "b": jnp.ones(2000)}, OPTIMISER, seed=0)
    with Log(workdir + ".records") as log, Checkpoints(workdir) as checkpoints:
        state = checkpoints.resumed(start, True)
        every = Every(scalars=7, images=0, checkpoint=3)
        run("toy", state, STEPS, step, batch, log=log, every=every, checkpoints=checkpoints)
