"""Invert a picture: find the latent whose head looks like it. What scores a prior on strangers (app.prior_training)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jax_talker.losses import l1
from jax_talker.priors.base import Prior, Variables
from jax_talker.rendering import FASTEST, Rasteriser, render
from jax_talker.training.objective import ImageLoss
from jax_talker.training.state import TrainState, descend
from jax_talker.types import FrameBatch, Latent

UNITS = (-0.2, 1.0)  # from the mean face, which has a little of each


@dataclass(frozen=True)
class InversionWeights:
    """What keeps a latent where the prior knows it; distances in units of the prior's spread."""

    anchor: float = 1e-4  # squared distance from the centre
    delta: float = 3e-2  # squared distance of the rows from one another: near W, where unseen sides are right
    alpha: float = 0.3  # coverage against the head mask
    units: float = 0.3  # squared distance of each expression unit's weight from UNITS


def make_inversion_step(
    prior: Prior,
    optimiser: optax.GradientTransformation,
    loss: ImageLoss,
    weights: InversionWeights,
    *,
    spread: float,
    directions: Float[Array, "U L D"] | None = None,
    rasteriser: Rasteriser = FASTEST,
) -> Callable[..., tuple[TrainState, dict[str, Array]]]:
    """A step(state, variables, frames): params are {"anchor": [L, D]}, one latent that all frames show.

    With ``directions`` of expression units there are {"units": [U]} as well, in units of ``spread``, along which the
    latent is found first: many a unit is a long way of W+, and a mouth would stay shut.
    """

    def step(state: TrainState, variables: Variables, frames: FrameBatch) -> tuple[TrainState, dict[str, Array]]:
        centre = prior.mean_latent(variables)
        size = frames.image.shape[1]

        def objective(params: Any, frames: FrameBatch) -> tuple[Array, dict[str, Array]]:
            w = whole(params, spread, directions)
            latent = Latent(jnp.broadcast_to(w, (len(frames.index), *w.shape)))
            camera = prior.camera(frames.label, size)
            gaussians = prior.gaussians(variables, latent)
            seen = render(gaussians, camera, size=size, background=prior.background, rasteriser=rasteriser)
            image = loss(seen.image, frames.image, frames.valid)
            alpha = l1(seen.alpha[..., None], frames.head[..., None], frames.valid)
            away = ((w - centre) ** 2).mean() / spread**2
            rows = params["anchor"]  # units have rows of their own
            delta = ((rows - rows.mean(0, keepdims=True)) ** 2).mean() / spread**2
            kept = weights.anchor * away + weights.delta * delta
            if directions is not None:
                units = params["units"] / spread
                kept += weights.units * ((units - jnp.clip(units, *UNITS)) ** 2).sum()
            measured = {"image": image, "anchor": away, "delta": delta, "overflow": seen.overflow.sum()}
            return image + weights.alpha * alpha + kept, measured

        return descend(state, optimiser, objective, frames)

    return step


def whole(params: Any, spread: float, directions: Float[Array, "U L D"] | None) -> Float[Array, "L D"]:
    """The latent of params."""
    if directions is None:
        return params["anchor"]
    units = params["units"] / spread
    return params["anchor"] + jnp.einsum("u,uld->ld", units, directions, precision="highest")
