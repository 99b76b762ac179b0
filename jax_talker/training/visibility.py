"""Which Gaussians a clip's training frames see, and which part of the face they belong to."""

from collections.abc import Iterable
from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_talker.models.detail import Layout, add_detail, nothing
from jax_talker.priors.base import Prior, Variables
from jax_talker.rendering import render
from jax_talker.types import FrameBatch, Gaussians, Latent

FAINT = 0.01  # weighted pixels of a 128² picture, in the mean over frames: a Gaussian with so few is half unseen


def layout_seen(
    prior: Prior,
    variables: Variables,
    anchor: Float[Array, "L D"],
    layout: Layout,
    batches: Iterable[FrameBatch],
) -> Layout:
    """``layout`` with who is seen and which part of the face is whose, as the frames show the anchor's Gaussians."""

    @jax.jit
    def person(variables: Variables, anchor: Array, layout: Layout) -> Gaussians:
        return add_detail(prior.gaussians(variables, Latent(anchor[None])), layout, nothing(len(layout.parent)))

    gaussians = person(variables, anchor, layout)
    total, frames, size = jnp.zeros_like(gaussians.mean[0]), 0, 1
    for batch in batches:
        total = total + _weights(prior, gaussians, batch)
        frames, size = frames + len(batch.index), batch.image.shape[1]
    seen, upper, lower = (total / max(frames, 1)).T
    share = seen * (128 / size) ** 2
    return replace(layout, seen=share / (share + FAINT), upper=upper / (seen + 1e-6), lower=lower / (seen + 1e-6))


def _weights(prior: Prior, gaussians: Gaussians, frames: FrameBatch) -> Float[Array, "M 3"]:
    """Each Gaussian's blending weight, summed over all pixels, those of the upper and those of the lower face.

    A picture is linear in colours, so these sums are the gradient of (masked) sums of its channels.
    """
    return _weights_of(
        prior,
        gaussians,
        frames.label,
        jnp.stack([jnp.ones_like(frames.valid), frames.upper, frames.lower], -1) * frames.valid[..., None],
    )


def _weights_of(prior: Prior, gaussians: Gaussians, label: Array, masks: Array) -> Float[Array, "M 3"]:
    @jax.jit
    def weights(gaussians: Gaussians, label: Array, masks: Array) -> Array:
        size = masks.shape[1]

        def total(rgb: Array) -> Array:
            scene = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(label), *x.shape[1:])), replace(gaussians, rgb=rgb))
            image = render(scene, prior.camera(label, size), size=size, background=(0.0, 0.0, 0.0)).image
            return (image * masks).sum()

        return jax.grad(total)(gaussians.rgb)[0]

    return weights(gaussians, label, masks)
