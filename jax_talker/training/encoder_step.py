"""Train an encoder: the latents of what a prior draws are known, so this is regression."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from jax_talker.priors.base import Prior, Variables
from jax_talker.priors.encoder import SIZE, Encoder
from jax_talker.training.head_step import attribute_distance
from jax_talker.training.shares import WHOLE, Batch, Shares, keys_of
from jax_talker.training.state import TrainState, descend
from jax_talker.types import Latent

CUT = (0.75, 1.2)  # of a picture's height: where a neck may end, as mattes make it end; beyond 1 it goes on
FADE = 0.04  # of the height, over which it fades
NOISE = 0.03  # deviation, at most
LEAST = 0.02  # of the mean influence: what a number of w counts at least
CHUNK = 8  # numbers of w whose influence is measured at once


def make_encoder_step(
    encoder: Encoder,
    optimiser: optax.GradientTransformation,
    influence: Float[Array, "D"],
    background: tuple[float, float, float],
    shares: Shares = WHOLE,
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array]]]:
    """A step on batches of rows {image [B, S, S, 3], label [B, 25], away [B, D] in units of the spread}. The state's
    params are {"net"}; ``influence`` says what each number of w counts."""

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        def objective(params: Any, batch: Batch) -> tuple[Array, dict[str, Array]]:
            rows = batch.rows
            image = jax.vmap(worse, (0, 0, None))(keys_of(state.step_key(), batch.slot), rows["image"], background)
            off = encoder.numbers(params, image, rows["label"]) - rows["away"]
            value = (influence[None] * off**2).mean()
            return value, {"of": (influence[None] * rows["away"] ** 2).mean()}  # what the mean latent's loss would be

        return descend(state, optimiser, objective, batch, shares=shares)

    return step


def worse(
    key: Key[Array, ""], image: Float[Array, "S S 3"], background: tuple[float, float, float]
) -> Float[Array, "S S 3"]:
    """A picture as films have it: a neck that ends somewhere, and noise."""
    cut_key, noise_key, size_key = jax.random.split(key, 3)
    row = (jnp.arange(SIZE) + 0.5) / SIZE
    end = jax.random.uniform(cut_key, (), minval=CUT[0], maxval=CUT[1])
    there = jnp.clip((end - row) / FADE + 0.5, 0, 1)[:, None, None]
    noise = NOISE * jax.random.uniform(size_key, ()) * jax.random.normal(noise_key, image.shape)
    return jnp.clip(there * image + (1 - there) * jnp.asarray(background)[None, None] + noise, 0, 1)


def influences(prior: Prior, variables: Variables, spread: Float[Array, "D"]) -> Float[Array, "D"]:
    """How much each number of w, moved by its spread from the mean, changes what is drawn; of mean 1."""
    centre = prior.mean_latent(variables)

    @jax.jit
    def far(variables: Variables, steps: Float[Array, "C D"]) -> Float[Array, "C"]:
        moved = prior.gaussians(variables, Latent(centre[None] + steps[:, None]))
        still = prior.gaussians(variables, Latent(centre[None]))
        each = jax.vmap(lambda g: attribute_distance(jax.tree.map(lambda x: x[None], g), still))
        return each(moved)

    steps = jnp.diag(spread)
    padded = jnp.concatenate([steps, jnp.zeros((-len(steps) % CHUNK, len(spread)))])
    found = jnp.concatenate([far(variables, part) for part in jnp.split(padded, len(padded) // CHUNK)])[: len(steps)]
    return jnp.maximum(found / found.mean(), LEAST)
