"""The convolutions of StyleGAN2 with weights that all samples share: [B, H, W, C] images, [3, 3, I, O] weights.

Modulation is done outside, by scaling inputs and outputs, so that a batch is one convolution.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

import jax_talker.priors.winograd as winograd

FIR_GAIN = 4.0  # per axis the filter is (1, 3, 3, 1) / 4: it sums to 2, as an upsampling by 2 needs
LAYOUT = ("NHWC", "HWIO", "NHWC")


def conv(
    x: Float[Array, "B H W I"], weight: Float[Array, "kh kw I O"], *, padding, precision: jax.lax.PrecisionLike = None
) -> Float[Array, "B H2 W2 O"]:
    """Cross-correlation, as torch.conv2d."""
    return jax.lax.conv_general_dilated(x, weight, (1, 1), padding, dimension_numbers=LAYOUT, precision=precision)


def conv3x3(
    x: Float[Array, "B H W I"], weight: Float[Array, "3 3 I O"], *, precision: jax.lax.PrecisionLike = None
) -> Float[Array, "B H W O"]:
    """3 × 3 cross-correlation with one pixel of zero padding."""

    def direct(x, weight):
        return conv(x, weight, padding=((1, 1), (1, 1)), precision=precision)

    if x.dtype == jnp.float32 and winograd.pays(x.shape, weight.shape[-1]):
        return jax.lax.platform_dependent(x, weight, cpu=winograd.conv3x3, default=direct)
    return direct(x, weight)


def conv3x3_up(
    x: Float[Array, "B H W I"], weight: Float[Array, "3 3 I O"], *, precision: jax.lax.PrecisionLike = None
) -> Float[Array, "B 2*H 2*W O"]:
    """Transposed 3 × 3 convolution with stride 2 (kernel not flipped), then the (1, 3, 3, 1) low-pass filter.

    Before the filter, row 2m of the result is W₀·x[m] + W₂·x[m−1] and row 2m+1 is W₁·x[m]: four small convolutions,
    one for each parity of row and column, and no multiplication by the zeros that a dilated input would hold.
    """
    even_rows, odd_rows = weight[2::-2], weight[1:2]

    def phase(rows, row_padding, columns, column_padding):
        return conv(x, rows[:, columns], padding=(row_padding, column_padding), precision=precision)

    even, odd = slice(2, None, -2), slice(1, 2)
    ee = phase(even_rows, (1, 1), even, (1, 1))  # [B, H+1, W+1, O]
    eo = phase(even_rows, (1, 1), odd, (0, 0))
    oe = phase(odd_rows, (0, 0), even, (1, 1))
    oo = phase(odd_rows, (0, 0), odd, (0, 0))  # [B, H, W, O]
    rows = zip(_filter(ee, oe, axis=1), _filter(eo, oo, axis=1), strict=True)
    return _interleave([_filter(e, o, axis=2) for e, o in rows])


def upsample(image: Float[Array, "B H W C"]) -> Float[Array, "B 2*H 2*W C"]:
    """Zero-insertion upsampling by 2 with the same low-pass filter: StyleGAN2's skip connection."""

    def phases(x, axis):
        """out[2m] = (x[m−1]·1 + x[m]·3)/4·…: with zeros between samples only two taps meet data."""
        size = x.shape[axis]
        padded = jnp.pad(x, [(1, 1) if a == axis else (0, 0) for a in range(x.ndim)])
        before, after = (jax.lax.slice_in_dim(padded, s, s + size, axis=axis) for s in (0, 2))
        return (before + 3 * x) / FIR_GAIN, (3 * x + after) / FIR_GAIN

    return _interleave([phases(rows, axis=2) for rows in phases(image, axis=1)])


def _filter(even, odd, axis: int):
    """Low-pass filter of a signal given by its even (n + 1) and odd (n) samples; even and odd samples of the result."""
    size = odd.shape[axis]
    left, right = (jax.lax.slice_in_dim(even, s, s + size, axis=axis) for s in (0, 1))
    padded = jnp.pad(odd, [(1, 1) if a == axis else (0, 0) for a in range(odd.ndim)])
    before, after = (jax.lax.slice_in_dim(padded, s, s + size, axis=axis) for s in (0, 2))
    return (before + 3 * (left + odd) + right) / FIR_GAIN, (left + 3 * (odd + right) + after) / FIR_GAIN


def _interleave(phases):
    """[[ee, eo], [oe, oo]], each [B, H, W, C] → [B, 2H, 2W, C]."""
    batch, height, width, channels = phases[0][0].shape
    rows = jnp.stack([jnp.stack(row, 3) for row in phases], 2)  # [B, H, 2, W, 2, C]
    return rows.reshape(batch, 2 * height, 2 * width, channels)
