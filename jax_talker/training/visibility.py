"""Which Gaussians a clip's training frames see, and which part of the face they belong to."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jax_talker.models.detail import Layout, add_detail, nothing
from jax_talker.priors.base import Prior
from jax_talker.rendering import FASTEST, Rasteriser, render
from jax_talker.types import FrameBatch, Gaussians

WHOLE = 0.98  # of the head's mask: less is an edge
EDGE = 1 / 128  # of a picture's side: how near to an edge colours may be the background's, where poses are not exact
FAINT = 0.01  # weighted pixels of a 128² picture, in the mean over frames: a Gaussian with so few is half unseen


def layout_seen(
    prior: Prior,
    drawn: Callable[[FrameBatch], Gaussians],
    layout: Layout,
    batches: Iterable[FrameBatch],
    rasteriser: Rasteriser = FASTEST,
) -> tuple[Layout, Rasteriser]:
    """``layout`` with who is seen, which part of the face is whose and who may take on colours, as the frames show what
    is ``drawn`` of them.

    Nobody counts as unseen for want of room: also returned is the rasteriser with what room was needed.
    """
    count = len(layout.parent)
    person = jax.jit(lambda bare: add_detail(bare, layout, nothing(count)))
    total, frames, size = jnp.zeros((count, 4)), 0, 1
    for batch in batches:
        gaussians = person(drawn(batch))
        weights, rasteriser = _weights(prior, gaussians, batch, rasteriser)
        total = total + weights
        frames, size = frames + len(batch.index), batch.image.shape[1]
    seen, *parts = (total / max(frames, 1)).T
    share = seen * (128 / size) ** 2
    upper, lower, inside = (part / (seen + 1e-6) for part in parts)
    colours = jnp.clip(4 * inside - 3, 0, 1)
    return replace(layout, seen=share / (share + FAINT), upper=upper, lower=lower, colours=colours), rasteriser


def _weights(
    prior: Prior, gaussians: Gaussians, frames: FrameBatch, rasteriser: Rasteriser = FASTEST
) -> tuple[Float[Array, "M 4"], Rasteriser]:
    """Each Gaussian's blending weight, summed over all pixels, those of the upper face, those of the lower one, and
    those that are the head's alone, as is all around them (``EDGE``).

    A picture is linear in colours, so these sums are the gradient of (masked) sums of its channels. Also returned is
    the rasteriser with the room that the frames needed.
    """
    size = frames.image.shape[1]
    reach = 2 * max(1, round(EDGE * size)) + 1
    least = -nn.max_pool(-frames.head[..., None], (reach, reach), padding="SAME")[..., 0]
    masks = [jnp.ones_like(frames.valid), frames.upper, frames.lower, (least > WHOLE).astype(jnp.float32)]
    masks = jnp.stack([*masks, masks[0], masks[0]], -1) * frames.valid[..., None]
    while True:  # room at least doubles each time
        found = [_weights_of(prior, rasteriser, gaussians, frames.label, m) for m in (masks[..., :3], masks[..., 3:])]
        (first, overflow), (second, _) = found
        if not (lost := int(overflow.max())):
            return jnp.concatenate([first, second[:, :1]], 1), rasteriser
        rasteriser = rasteriser.grown(gaussians.mean.shape[1], size, lost)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _weights_of(
    prior: Prior, rasteriser: Rasteriser, gaussians: Gaussians, label: Array, masks: Array
) -> tuple[Float[Array, "M 3"], Int[Array, "B"]]:
    size = masks.shape[1]

    def total(rgb: Array) -> tuple[Array, Array]:
        scene = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(label), *x.shape[1:])), replace(gaussians, rgb=rgb))
        black = (0.0, 0.0, 0.0)
        shown = render(scene, prior.camera(label, size), size=size, background=black, rasteriser=rasteriser)
        return (shown.image * masks).sum(), shown.overflow

    slope, overflow = jax.grad(total, has_aux=True)(gaussians.rgb)
    return slope.sum(0), overflow
