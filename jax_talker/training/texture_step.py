"""Train a morphable head in texture space: where each point is and its colour are known, so no picture is needed.

The bases stay as they were found; the network, the light's transfer, gloss and the mean skin are descended on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from jax_talker.priors import Morphable
from jax_talker.priors.base import Variables
from jax_talker.training import prior_step
from jax_talker.training.shares import WHOLE, Batch, Shares, keys_of, normal
from jax_talker.training.state import TrainState, descend
from jax_talker.types import Latent

TRAINED = ("synthesis", "residual_gain", "transfer", "gloss", "albedo_mean")
SLOW = {"transfer": 0.05, "gloss": 0.05, "albedo_mean": 0.02, "residual_gain": 0.2}  # times the network's rate


@dataclass(frozen=True)
class TextureWeights:
    """Weights of the loss's parts."""

    position: float = 1.0  # of squared distances in ``unit``
    color: float = 1.0  # of absolute differences of sRGB, times ten
    unit: float = 0.005  # world units: 1.8 mm
    jitter: float = 0.3  # deviation of the noise on identity, so that the network does not learn people by heart


def make_texture_step(
    prior: Morphable, optimiser: optax.GradientTransformation, weights: TextureWeights, shares: Shares = WHOLE
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array]]]:
    """A step on batches of rows {w [B, D], position [B, K, 3] world, color [B, K, 3] and hair_color [B, n, 3] sRGB,
    hair [B, n] alpha} and, in common, the weight [K] of the head's points.

    The state is ``state_of``'s.
    """
    k = prior.config.on_head
    where = prior.config.parts

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        fixed = state.params["buffers"]
        free = jnp.ones(prior.w_dim).at[where["units"]].set(0).at[where["light"]].set(0)
        bases = jnp.arange(prior.num_ws) < len(where)

        def objective(live: Any, batch: Batch) -> tuple[Array, dict[str, Array]]:
            rows, weight = batch.rows, batch.common
            w = jnp.repeat(rows["w"][:, None], prior.num_ws, 1)
            noise = weights.jitter * normal(keys_of(state.step_key(), batch.slot), 1, prior.w_dim)
            latent = Latent(w + noise * free[None, None] * (~bases)[None, :, None])
            position, color, _ = prior.points(joined(live, fixed), latent)
            apart = jnp.sum(jnp.square((position[:, :k] - rows["position"]) / weights.unit), -1)
            skin = jnp.abs(color[:, :k] - rows["color"]).mean(-1)
            hair = jnp.abs(color[:, k:] - rows["hair_color"]).mean(-1) * rows["hair"]
            mean = lambda x: (x * weight[None]).mean() / weight.mean()  # noqa: E731
            where_, shade, strand = mean(apart), mean(skin), (hair.sum(-1) / (rows["hair"].sum(-1) + 1)).mean()
            error = mean(jnp.square(color[:, :k] - rows["color"]).mean(-1))
            value = weights.position * where_ + 10 * weights.color * (shade + 0.3 * strand)
            return value, {"position": where_, "hair": strand, "psnr": error}

        inner, means = descend(replace(state, params=state.params["live"]), optimiser, objective, batch, shares=shares)
        measured = {"position": jnp.sqrt(means["position"]) * weights.unit, "psnr": -10 * jnp.log10(means["psnr"])}
        decay = jnp.where(means["skipped"] > 0, 1.0, prior_step.decay(state.step))
        ema = jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, state.params["ema"], inner.params)
        return replace(inner, params={"live": inner.params, "ema": ema, "buffers": fixed}), means | measured

    return step


def slower() -> optax.GradientTransformation:
    """Multiplies the updates of what is nearly right from the start."""

    def scale(updates: Any, params: Any) -> Any:
        del params
        return {name: jax.tree.map(lambda x, n=name: x * SLOW.get(n, 1.0), u) for name, u in updates.items()}

    return optax.stateless(scale)


def state_of(variables: Variables, optimiser: optax.GradientTransformation, seed: int) -> TrainState:
    """The step's state: ``prior_step``'s, with all that is not trained among its buffers."""
    params = variables["params"]
    live = {name: params[name] for name in TRAINED if name in params}
    rest = {name: x for name, x in params.items() if name not in TRAINED}
    fixed = {"params": rest, "buffers": variables["buffers"]}
    return prior_step.initial_state({"params": live, "buffers": fixed}, optimiser, seed)


def joined(trained: Any, fixed: Mapping[str, Any]) -> Variables:
    """The variables of a generator again."""
    return {"params": {**fixed["params"], **trained}, "buffers": fixed["buffers"]}
