"""Distances between images [B, H, W, 3] in [0, 1], optionally inside a mask [B, H, W]."""

import functools
import operator

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

# Constants of the SSIM paper (Wang et al. 2004, doi:10.1109/TIP.2003.819861) for a dynamic range of 1.
SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2


def masked_mean(values: Float[Array, "*b H W"], mask: Float[Array, "*b H W"] | None) -> Float[Array, ""]:
    """Mean over the mask's pixels, all images together; over all pixels when there is no mask. 0 for an empty mask."""
    if mask is None:
        return values.mean()
    return (values * mask).sum() / jnp.maximum(mask.sum(), 1.0)


def l1(
    pred: Float[Array, "*b H W C"], target: Float[Array, "*b H W C"], mask: Float[Array, "*b H W"] | None = None
) -> Float[Array, ""]:
    """Mean absolute difference over colours and (masked) pixels."""
    return masked_mean(jnp.abs(pred - target).mean(-1), mask)


def ssim_map(pred: Float[Array, "*b H W C"], target: Float[Array, "*b H W C"]) -> Float[Array, "*b H W"]:
    """SSIM at every pixel, mean over colours: 11 × 11 Gaussian window of σ 1.5, borders padded with zeros.

    This is the variant of the 3DGS code, which the field's tables use; images are compared as they are, in [0, 1].
    """
    # One blur of five stacked maps instead of five: on a CPU the passes are bound by memory.
    maps = jnp.stack([pred, target, pred * pred, target * target, pred * target])
    mean_p, mean_t, pp, tt, pt = blur(maps)
    var_p, var_t, cov = pp - mean_p**2, tt - mean_t**2, pt - mean_p * mean_t
    similar = (2 * mean_p * mean_t + SSIM_C1) * (2 * cov + SSIM_C2)
    return (similar / ((mean_p**2 + mean_t**2 + SSIM_C1) * (var_p + var_t + SSIM_C2))).mean(-1)


def blur(images: Float[Array, "*b H W C"]) -> Float[Array, "*b H W C"]:
    """Gaussian window of SSIM, separable, zero padding."""
    offsets = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    window = np.exp(-(offsets**2) / (2 * SSIM_SIGMA**2))
    window = (window / window.sum()).tolist()
    for axis in (-3, -2):
        size = images.shape[axis]
        pad = [(0, 0)] * images.ndim
        pad[axis] = (SSIM_WINDOW // 2, SSIM_WINDOW // 2)
        padded = jnp.pad(images, pad)
        # Weighted sums of slices: XLA fuses them into one loop, where a depthwise convolution would be slow on a CPU.
        slices = (w * lax.slice_in_dim(padded, k, k + size, axis=axis) for k, w in enumerate(window))
        images = functools.reduce(operator.add, slices)
    return images
