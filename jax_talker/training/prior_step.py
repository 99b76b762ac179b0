"""Train a prior by regression: its latents are known to stand for certain heads, seen by known cameras.

Procedural heads come with the parameters they were made from, so no discriminator is needed: the generator learns
z → Gaussians such that every view looks like the head that z stands for.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jax_talker.priors.base import Prior, Variables
from jax_talker.rendering import FASTEST, Rasteriser, render_views
from jax_talker.training.objective import ImageLoss
from jax_talker.training.shares import WHOLE, Batch, Shares
from jax_talker.training.state import TrainState, create, descend

EMA_HALF_TIME = 700  # steps: what is kept is the average of the last few thousand steps


class TrainablePrior(Prior, Protocol):
    """A prior whose mean latent can follow its mapping network while that is trained."""

    def update_w_avg(self, variables: Variables, w: Float[Array, "B D"]) -> Variables: ...


@dataclass(frozen=True)
class PriorWeights:
    """Weights of what is added to the image loss."""

    alpha: float = 0.5  # coverage against the head's true coverage
    position: float = 0.02  # squared distance of Gaussians from the template, in squared tenths of a unit


def make_prior_step(
    prior: TrainablePrior,
    optimiser: optax.GradientTransformation,
    loss: ImageLoss,
    weights: PriorWeights,
    *,
    size: int,
    rasteriser: Rasteriser = FASTEST,
    shares: Shares = WHOLE,
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array]]]:
    """A step on batches of rows {z [B, Z], label [B, V, 25], image [B, V, H, W, 3], alpha [B, V, H, W]}.

    The state's ``params`` are {"live": Linen params, "ema": their moving average, "buffers": fixed arrays and the mean
    latent}; only ``live`` is descended on.
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        buffers = state.params["buffers"]

        def objective(live: Any, batch: Batch) -> tuple[Array, dict[str, Array]]:
            rows, variables = batch.rows, {"params": live, "buffers": buffers}
            count, views = rows["label"].shape[:2]
            one_per_view = lambda x: x.reshape(count * views, *x.shape[2:])  # noqa: E731
            latent = prior.mapping(variables, rows["z"], jnp.zeros((count, 25)))
            gaussians = prior.gaussians(variables, latent)
            cameras = prior.camera(one_per_view(rows["label"]), size)
            cameras = jax.tree.map(lambda x: x.reshape(count, views, *x.shape[1:]), cameras)
            seen = render_views(gaussians, cameras, size=size, background=prior.background, rasteriser=rasteriser)
            image = loss(one_per_view(seen.image), one_per_view(rows["image"]))
            alpha = jnp.abs(seen.alpha - rows["alpha"]).mean()
            position = (((gaussians.mean - buffers["base_position"][None]) / 0.1) ** 2).mean()
            mse = ((seen.image - rows["image"]) ** 2).mean((2, 3, 4))
            measured = {
                "image": image,
                "alpha": alpha,
                "position": position,
                "psnr": (-10 * jnp.log10(mse)).mean(),
                "overflow": seen.overflow.sum().astype(jnp.float32),
            }
            return image + weights.alpha * alpha + weights.position * position, measured

        inner, measured = descend(
            replace(state, params=state.params["live"]), optimiser, objective, batch, shares=shares
        )
        skipped = measured["skipped"] > 0  # then nothing moves, what is averaged neither
        kept = jnp.where(skipped, 1.0, decay(state.step))
        ema = jax.tree.map(lambda a, b: kept * a + (1 - kept) * b, state.params["ema"], inner.params)
        z = batch.rows["z"]
        w = prior.mapping({"params": ema, "buffers": buffers}, z, jnp.zeros((len(z), 25))).w[:, 0]
        moved = prior.update_w_avg({"buffers": buffers}, shares.mean(w.mean(0))[None])["buffers"]
        buffers = jax.tree.map(lambda a, b: jnp.where(skipped, a, b), buffers, moved)
        measured["overflow"] *= shares.pieces()
        return replace(inner, params={"live": inner.params, "ema": ema, "buffers": buffers}), measured

    return step


def decay(step: Array) -> Array:
    """How much of the average stays: while the run is young it is short, so that it forgets the random start."""
    return jnp.minimum(0.5 ** (1 / EMA_HALF_TIME), (1.0 + step) / (10.0 + step))


def faster_mapping(factor: float) -> optax.GradientTransformation:
    """Multiplies the updates of the mapping network's parameters by ``factor``.

    StyleGAN2's mapping network learns at a hundredth of the rate because an adversary makes it unstable otherwise. In
    regression there is none, and what z means has to be learned first.
    """

    def scale(updates: Any, params: Any) -> Any:
        del params
        return {name: jax.tree.map(lambda x: x * factor, u) if name == "mapping" else u for name, u in updates.items()}

    return optax.stateless(scale)


def initial_state(variables: Variables, optimiser: optax.GradientTransformation, seed: int) -> TrainState:
    """The step's state for freshly initialised variables."""
    state = create(variables["params"], optimiser, seed)
    ema, buffers = jax.tree.map(lambda x: jnp.array(x, copy=True), (variables["params"], variables["buffers"]))
    return replace(state, params={"live": state.params, "ema": ema, "buffers": buffers})


def averaged(params: dict[str, Any]) -> Variables:
    """The variables to keep: averaged parameters."""
    return {"params": params["ema"], "buffers": params["buffers"]}
