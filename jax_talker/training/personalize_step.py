"""Personalise a prior: find this person's latents, then tune the generator to the person (method.md 2).

Inversion: one anchor ``w_can`` shared by all chosen frames plus a small residual for each frame. Tuning: pivotal tuning
(PTI, arXiv 2106.05744) of the generator at those latents, with a regulariser that keeps it at its old self elsewhere in
latent space, so that what the frames do not show (other views, other expressions) is not forgotten.

Cameras may be refined with the latents: one motion of the head shared by all frames, which corrects the whole clip's
labels (landmarks do not say how the prior's heads are held), and a small one for each chosen frame, which keeps its
label's noise out of its latent.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jax_talker.losses import l1
from jax_talker.priors.base import Prior, Variables
from jax_talker.rendering import FASTEST, Rasteriser, render
from jax_talker.training.cameras import move_labels, size_of
from jax_talker.training.objective import ImageLoss
from jax_talker.training.state import TrainState, descend
from jax_talker.types import FrameBatch, Gaussians, Latent

Step = Callable[..., tuple[TrainState, dict[str, Array]]]


@dataclass(frozen=True)
class InversionWeights:
    """What keeps latents where the prior knows them."""

    residual: float = 1e-3  # squared residuals, per W+ number, in units of the prior's spread
    anchor: float = 1e-4  # squared distance of the anchor from the centre, in the same units
    delta: float = 3e-2  # squared distance of the anchor's rows from one another: near W, where unseen sides are right
    alpha: float = 0.3  # coverage against the head mask
    camera_shared: float = (
        1e-3  # squared motion of the head in all frames, in units of cameras.TURN_UNIT and SHIFT_UNIT
    )
    camera_own: float = 1e-2  # that of each frame


@dataclass(frozen=True)
class TuningWeights:
    """What keeps the tuned generator near the prior."""

    locality: float = 1.0
    alpha: float = 0.3


def latent_spread(prior: Prior, variables: Variables, key: Array, samples: int = 256) -> Float[Array, ""]:
    """Root mean square of w − w_avg over random latents: the prior's unit of distance in W."""
    z = jax.random.normal(key, (samples, prior.z_dim))
    w = prior.mapping(variables, z, jnp.zeros((samples, 25))).w
    return jnp.sqrt(((w - prior.mean_latent(variables)) ** 2).mean())


def face_loss(
    prior: Prior,
    variables: Variables,
    latent: Latent,
    frames: FrameBatch,
    loss: ImageLoss,
    alpha_weight: float,
    *,
    rasteriser: Rasteriser,
) -> tuple[Array, dict[str, Array]]:
    """Render latents [B] from the frames' cameras and compare with the frames (heads on the prior's background)."""
    size = frames.image.shape[1]
    gaussians = prior.gaussians(variables, latent)
    camera = prior.camera(frames.label, size)
    seen = render(gaussians, camera, size=size, background=prior.background, rasteriser=rasteriser)
    image = loss(seen.image, frames.image)
    alpha = l1(seen.alpha[..., None], frames.head[..., None])
    mse = ((seen.image - frames.image) ** 2).mean((1, 2, 3))
    measured = {"image": image, "psnr": (-10 * jnp.log10(mse)).mean(), "overflow": seen.overflow.sum()}
    return image + alpha_weight * alpha, measured


def make_inversion_step(
    prior: Prior,
    optimiser: optax.GradientTransformation,
    loss: ImageLoss,
    weights: InversionWeights,
    *,
    spread: float,
    rasteriser: Rasteriser = FASTEST,
) -> Step:
    """A step(state, variables, frames, which): params are {"anchor": [L, D], "residual": [K, L, D]}.

    ``which`` [B] tells which of the K chosen frames the batch holds. With {"camera": {"shared": [6], "own": [K, 6]}}
    among the params cameras are refined as well (``cameras.move_labels``).
    """

    def step(
        state: TrainState, variables: Variables, frames: FrameBatch, which: Int[Array, "B"]
    ) -> tuple[TrainState, dict[str, Array]]:
        center = prior.mean_latent(variables)

        def objective(params: Any) -> tuple[Array, dict[str, Array]]:
            latent = Latent(params["anchor"][None] + params["residual"][which])
            seen = frames
            if camera := params.get("camera"):
                motion = camera["shared"][None] + camera["own"][which]
                seen = replace(frames, label=move_labels(frames.label, motion))
            value, measured = face_loss(prior, variables, latent, seen, loss, weights.alpha, rasteriser=rasteriser)
            residual = (params["residual"] ** 2).mean() / spread**2
            away = ((params["anchor"] - center) ** 2).mean() / spread**2
            # As e4e's delta regulariser (Tov et al. 2021, arXiv 2102.02766): a latent of W+ far from W fits what is
            # seen and is free to be wrong elsewhere.
            delta = ((params["anchor"] - params["anchor"].mean(0, keepdims=True)) ** 2).mean() / spread**2
            measured |= {"residual": residual, "anchor": away, "delta": delta}
            kept = weights.residual * residual + weights.anchor * away + weights.delta * delta
            if camera:
                measured["camera"] = size_of(camera["shared"])
                kept += weights.camera_shared * measured["camera"] + weights.camera_own * size_of(camera["own"])
            return value + kept, measured

        return descend(state, optimiser, objective)

    return step


def attribute_distance(a: Gaussians, b: Gaussians) -> Float[Array, ""]:
    """How differently two sets of the same Gaussians look, without rendering them: each attribute in its own unit."""
    mean = (((a.mean - b.mean) / 0.02) ** 2).mean()  # 0.02 units: 7 mm
    scale = (jnp.log(a.scale / b.scale) ** 2).mean()
    turn = 1 - ((a.quat * b.quat).sum(-1) ** 2 / ((a.quat**2).sum(-1) * (b.quat**2).sum(-1))).mean()
    opacity = ((a.opacity - b.opacity) ** 2).mean() / 0.25**2
    rgb = 0.0 if a.rgb is None or b.rgb is None else ((a.rgb - b.rgb) ** 2).mean() / 0.25**2
    return mean + scale + turn + opacity + rgb


def make_tuning_step(
    prior: Prior,
    optimiser: optax.GradientTransformation,
    loss: ImageLoss,
    weights: TuningWeights,
    *,
    neighbours: int = 2,
    rasteriser: Rasteriser = FASTEST,
) -> Step:
    """A step(state, original, latents, frames, which): params are the generator's, ``latents`` [K, L, D] stand still.

    The regulariser draws ``neighbours`` latents between the anchor and random ones and asks the tuned generator for the
    Gaussians that the original makes there.
    """

    def step(
        state: TrainState,
        original: Variables,
        latents: Float[Array, "K L D"],
        frames: FrameBatch,
        which: Int[Array, "B"],
    ) -> tuple[TrainState, dict[str, Array]]:
        z_key, t_key = jax.random.split(state.step_key())
        z = jax.random.normal(z_key, (neighbours, prior.z_dim))
        elsewhere = prior.mapping(original, z, jnp.zeros((neighbours, 25))).w
        t = jax.random.uniform(t_key, (neighbours, 1, 1), minval=0.3, maxval=1.0)
        anchor = latents.mean(0)
        between = Latent(anchor[None] + t * (elsewhere - anchor[None]))
        kept = prior.gaussians(original, between)

        def objective(params: Any) -> tuple[Array, dict[str, Array]]:
            variables = {**original, "params": params}
            value, measured = face_loss(
                prior, variables, Latent(latents[which]), frames, loss, weights.alpha, rasteriser=rasteriser
            )
            locality = attribute_distance(prior.gaussians(variables, between), kept)
            return value + weights.locality * locality, measured | {"locality": locality}

        return descend(state, optimiser, objective)

    return step
