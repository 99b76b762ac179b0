"""Train a prior by regression: its latents are known to stand for certain heads, seen by known cameras.

Procedural heads come with the parameters they were made from, so no discriminator is needed: the generator learns
z → Gaussians such that every view looks like the head that z stands for.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jax_talker.losses import l1
from jax_talker.priors.base import Prior, Variables
from jax_talker.rendering import render_views
from jax_talker.training.objective import ImageLoss
from jax_talker.training.state import TrainState, descend

W_AVG_DECAY = 0.998  # StyleGAN2's: the mean style follows the mapping network
EMA_DECAY = 0.999


@dataclass(frozen=True)
class PriorWeights:
    """Weights of what is added to the image loss."""

    alpha: float = 0.5  # coverage against the head's true coverage
    position: float = 0.02  # squared distance of Gaussians from the template, in squared tenths of a unit


def make_prior_step(
    prior: Prior,
    optimiser: optax.GradientTransformation,
    loss: ImageLoss,
    weights: PriorWeights,
    *,
    size: int,
    template: Float[Array, "N 3"],
    implementation: str | None = None,
) -> Callable[[TrainState, dict[str, Array]], tuple[TrainState, dict[str, Array]]]:
    """A step on batches of z [B, Z], label [B, V, 25], image [B, V, H, W, 3], alpha [B, V, H, W].

    The state's ``params`` are {"live": Linen params, "ema": their average, "w_avg": [D], "buffers": fixed arrays}; only
    ``live`` is descended on.
    """

    def step(state: TrainState, batch: dict[str, Array]) -> tuple[TrainState, dict[str, Array]]:
        fixed = {name: state.params[name] for name in ("ema", "buffers", "w_avg")}
        views = batch["label"].shape[1]
        flat = lambda x: x.reshape(-1, *x.shape[2:])  # noqa: E731

        def objective(live: Any) -> tuple[Array, dict[str, Array]]:
            variables = {"params": live, "buffers": fixed["buffers"]}
            latent = prior.mapping(variables, batch["z"], jnp.zeros((len(batch["z"]), 25)))
            gaussians = prior.gaussians(variables, latent)
            cameras = prior.camera(flat(batch["label"]), size)
            cameras = jax.tree.map(lambda x: x.reshape(-1, views, *x.shape[1:]), cameras)
            seen = render_views(
                gaussians, cameras, size=size, background=prior.background, implementation=implementation
            )
            image = loss(flat(seen.image), flat(batch["image"]))
            alpha = l1(flat(seen.alpha)[..., None], flat(batch["alpha"])[..., None])
            position = (((gaussians.mean - template[None]) / 0.1) ** 2).mean()
            mse = ((seen.image - batch["image"]) ** 2).mean((2, 3, 4))
            measured = {
                "image": image,
                "alpha": alpha,
                "position": position,
                "psnr": (-10 * jnp.log10(mse)).mean(),
                "overflow": seen.overflow.sum(),
                "w_mean": jax.lax.stop_gradient(latent.w[:, 0].mean(0)),
            }
            return image + weights.alpha * alpha + weights.position * position, measured

        inner, measured = descend(replace(state, params=state.params["live"]), optimiser, objective)
        decay = jnp.minimum(EMA_DECAY, (1.0 + state.step) / (10.0 + state.step))
        ema = jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, fixed["ema"], inner.params)
        w_decay = jnp.minimum(W_AVG_DECAY, (1.0 + state.step) / (10.0 + state.step))
        w_avg = w_decay * fixed["w_avg"] + (1 - w_decay) * measured.pop("w_mean")
        params = {"live": inner.params, "ema": ema, "buffers": fixed["buffers"], "w_avg": w_avg}
        return replace(inner, params=params), measured

    return step


def initial_params(variables: Variables, w_dim: int) -> dict[str, Any]:
    """The step's parameters for freshly initialised variables."""
    return {
        "live": variables["params"],
        "ema": variables["params"],
        "buffers": variables["buffers"],
        "w_avg": jnp.zeros(w_dim),
    }
