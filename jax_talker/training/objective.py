"""How far a rendered image is from a frame: L1 + (1 − SSIM) + LPIPS where its weights are at hand."""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_talker.losses import l1, masked_mean, ssim_map

Lpips = Callable[[Float[Array, "B H W 3"], Float[Array, "B H W 3"]], Float[Array, "B H W"]]
"""Perceptual distance at every pixel, of images in [0, 1]."""


@dataclass(frozen=True)
class ImageLoss:
    """Weighted sum of image distances inside a mask. ``lpips`` needs a network; without one its weight must be 0."""

    l1: float = 1.0
    ssim: float = 0.2
    lpips: float = 0.0
    network: Lpips | None = None

    def __post_init__(self):
        if self.lpips and self.network is None:
            raise ValueError("an LPIPS weight needs the LPIPS network; give its weights or set the weight to 0")

    def __call__(
        self,
        pred: Float[Array, "B H W 3"],
        target: Float[Array, "B H W 3"],
        mask: Float[Array, "B H W"] | None = None,
    ) -> Float[Array, ""]:
        """The weighted distance; images in [0, 1], mask 1 inside. An empty mask costs nothing."""
        total = self.l1 * l1(pred, target, mask)
        if self.ssim:
            total += self.ssim * masked_mean(1 - ssim_map(pred, target), mask)
        if self.lpips and self.network is not None:
            total += self.lpips * masked_mean(self.network(jnp.clip(pred, 0, 1), target), mask)
        return total
