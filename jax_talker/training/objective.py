"""How far a rendered image is from a frame: L1 + (1 − SSIM) + LPIPS where its weights are at hand."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_talker.losses import ssim_map

Lpips = Callable[[Any, Float[Array, "B H W 3"], Float[Array, "B H W 3"]], Float[Array, "B H W"]]
"""Perceptual distance at every pixel, of images in [0, 1]; a network's weights come first."""


@dataclass(frozen=True)
class ImageLoss:
    """Weighted sum of image distances. ``lpips`` needs a network; without one its weight must be 0."""

    l1: float = 1.0
    ssim: float = 0.2
    lpips: float = 0.0
    network: Lpips | None = None

    def __post_init__(self):
        if self.lpips and self.network is None:
            raise ValueError("an LPIPS weight needs the LPIPS network; give its weights or set the weight to 0")

    @jax.named_scope("loss")
    def __call__(
        self,
        pred: Float[Array, "B H W 3"],
        target: Float[Array, "B H W 3"],
        mask: Float[Array, "B H W"] | None = None,
        emphasis: Float[Array, "B H W"] | None = None,
        perceptual: Any = None,
    ) -> Float[Array, ""]:
        """The weighted distance, a mean over all pixels; images in [0, 1], mask 1 inside.

        What lies outside the mask is taken from the target *before* anything with a window looks at it, so that a
        picture which is right inside costs nothing (method.md, masks). ``emphasis`` says how much each pixel weighs;
        ``perceptual`` are the network's weights.
        """
        if mask is not None:
            pred = target + mask[..., None] * (pred - target)
        total = self.l1 * _mean(jnp.abs(pred - target).mean(-1), emphasis)
        if self.ssim:
            total += self.ssim * _mean(1 - ssim_map(pred, target), emphasis)
        if self.lpips and self.network is not None:
            if perceptual is None:
                raise ValueError("the LPIPS network's weights are an argument of the loss; none were given")
            total += self.lpips * _mean(self.network(perceptual, jnp.clip(pred, 0, 1), target), emphasis)
        return total


def _mean(values: Float[Array, "B H W"], emphasis: Float[Array, "B H W"] | None) -> Float[Array, ""]:
    return (values if emphasis is None else values * emphasis).mean()
