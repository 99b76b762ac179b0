"""Distances between images [B, H, W, 3] in [0, 1], optionally inside a mask [B, H, W]."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

# Constants of the SSIM paper (Wang et al. 2004, doi:10.1109/TIP.2003.819861) for a dynamic range of 1.
SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2
LONG, STRIP = 256, 128  # pixels: up to where one product is as fast; rows that a strip makes of more


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
    """Gaussian window of SSIM, separable, zero padding.

    Each pass is a product with a banded matrix: on a CPU 7 to 20 times faster than convolutions of one channel, forward
    and backward, and on an accelerator it is the operation that hardware does best. The matrix of a long axis is cut
    into strips without most of its zeros, or work would grow with the square of its length.
    """
    return _pass("wk,...hkc->...hwc", _pass("hk,...kwc->...hwc", images, -3), -2)


def _pass(product: str, images: Float[Array, "*b H W C"], axis: int) -> Float[Array, "*b H W C"]:
    size = images.shape[axis]
    matrix, strip = _window_matrix(size), size if size <= LONG else STRIP
    parts = []
    for first in range(0, size, strip):
        last = min(size, first + strip)
        reached = slice(max(0, first - SSIM_WINDOW // 2), min(size, last + SSIM_WINDOW // 2))
        seen = jax.lax.slice_in_dim(images, reached.start, reached.stop, axis=axis)
        parts.append(jnp.einsum(product, jnp.asarray(matrix[first:last, reached]), seen, precision="highest"))
    return jnp.concatenate(parts, axis)


def _window_matrix(size: int) -> Float32[np.ndarray, "S S"]:
    """[out, in]: row i holds the window centred on i, cut off at the borders."""
    offset = np.arange(size)[None] - np.arange(size)[:, None]
    window = np.exp(-(offset**2) / (2 * SSIM_SIGMA**2)) * (np.abs(offset) <= SSIM_WINDOW // 2)
    whole = np.exp(-((np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2) ** 2) / (2 * SSIM_SIGMA**2)).sum()
    return (window / whole).astype(np.float32)
