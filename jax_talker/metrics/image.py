"""PSNR and SSIM as the field's tables define them (reference: docs/architecture.md, conventions)."""

import functools
import operator

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_talker.losses import ssim_map

BOX = 7  # px; scikit-image's default window
BOX_C1, BOX_C2 = 0.01**2, 0.03**2  # its K1 and K2, squared, for a dynamic range of 1


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


def ssim_skimage(pred: Float[Array, "B H W C"], target: Float[Array, "B H W C"]) -> Float[Array, "B"]:
    """Mean SSIM of each image as scikit-image's ``structural_similarity(…, channel_axis=-1)`` computes it by default:
    7 × 7 uniform windows that lie wholly inside the image, sample covariances, mean over colours. Images in [0, 1].
    """
    if min(pred.shape[1:3]) < BOX:
        raise ValueError(f"images of {pred.shape[1]} × {pred.shape[2]} px hold no window of {BOX} × {BOX}")
    # Centred first: in float32 the difference of two means of squares would lose the variance of bright, flat regions.
    maps = jnp.stack([pred - 0.5, target - 0.5])
    maps = jnp.concatenate([maps, maps**2, (maps[0] * maps[1])[None]])
    mean_p, mean_t, pp, tt, pt = _box_mean(_box_mean(maps, -3), -2)
    unbiased = BOX**2 / (BOX**2 - 1)
    var_p, var_t, cov = ((a - b) * unbiased for a, b in ((pp, mean_p**2), (tt, mean_t**2), (pt, mean_p * mean_t)))
    mean_p, mean_t = mean_p + 0.5, mean_t + 0.5
    similar = (2 * mean_p * mean_t + BOX_C1) * (2 * cov + BOX_C2)
    return (similar / ((mean_p**2 + mean_t**2 + BOX_C1) * (var_p + var_t + BOX_C2))).mean((1, 2, 3))


def _box_mean(maps: Float[Array, "*b H W C"], axis: int) -> Float[Array, "*b h w C"]:
    """The mean of ``BOX`` neighbours along an axis, wherever all of them are inside."""
    inside = maps.shape[axis] - BOX + 1
    shifted = [jax.lax.slice_in_dim(maps, k, k + inside, axis=axis) for k in range(BOX)]
    return functools.reduce(operator.add, shifted) / BOX
