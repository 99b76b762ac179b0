"""PSNR and SSIM as the field's tables define them (reference: docs/architecture.md, conventions)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_talker.losses import ssim_map


def psnr(
    pred: Float[Array, "B H W C"], target: Float[Array, "B H W C"], mask: Float[Array, "B H W"] | None = None
) -> Float[Array, "B"]:
    """−10·log₁₀ of the mean squared error of each image in [0, 1], in dB; inside the mask where one is given.

    Identical images give 100 dB instead of infinity, so that means stay finite; an empty mask gives NaN.
    """
    square = ((pred - target) ** 2).mean(-1)
    weight = jnp.ones_like(square) if mask is None else mask
    mse = (square * weight).sum((-2, -1)) / weight.sum((-2, -1))
    return -10 * jnp.log10(jnp.maximum(mse, 1e-10))


def ssim(
    pred: Float[Array, "B H W C"], target: Float[Array, "B H W C"], mask: Float[Array, "B H W"] | None = None
) -> Float[Array, "B"]:
    """Mean SSIM of each image, 11 × 11 Gaussian window (the 3DGS variant, not scikit-image's default 7 × 7).

    With a mask the mean is over windows centred inside it; an empty mask gives NaN.
    """
    similar = ssim_map(pred, target)
    weight = jnp.ones_like(similar) if mask is None else mask
    return (similar * weight).sum((-2, -1)) / weight.sum((-2, -1))
