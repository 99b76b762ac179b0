"""StyleGAN2's synthesis network as GGHead uses it (gghead_spec section 3; Karras et al., arXiv:1912.04958)."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

import jax_talker.priors.conv as conv
from jax_talker.priors.initial import constant, normal
from jax_talker.priors.layers import NORM_EPSILON, Dense, Numerics, lrelu

NOISE = ("const", "none", "random")


class StyledConv(nn.Module):
    """Modulated and demodulated 3 × 3 convolution, noise, bias, lrelu, clamp; with ``up``, doubles the image."""

    features: int
    resolution: int  # of the output
    numerics: Numerics
    up: bool = False
    clamp: float | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W I"], w: Float[Array, "B D"], noise: str, key: Key[Array, ""] | None
    ) -> Float[Array, "B H2 W2 O"]:
        size = (self.resolution, self.resolution)
        weight = self.param("weight", normal(1.0), (3, 3, x.shape[-1], self.features))
        bias = self.param("bias", constant(0.0), (self.features,))
        strength = self.param("noise_strength", constant(0.0), ())
        image = self.variable("buffers", "noise_const", lambda: normal(1.0)(self.make_rng("params"), size))
        style = Dense(x.shape[-1], bias_init=1.0, name="affine")(w)

        # Scaling inputs by the style and outputs by the demodulation equals scaling the weights for each sample.
        energy = jnp.matmul(jnp.square(style), jnp.sum(jnp.square(weight), (0, 1)), precision="highest")
        demodulation = jax.lax.rsqrt(energy + NORM_EPSILON)
        convolve = conv.conv3x3_up if self.up else conv.conv3x3
        x = x * style[:, None, None].astype(x.dtype)
        y = convolve(x, weight.astype(x.dtype), precision=self.numerics.precision).astype(jnp.float32)
        y = y * demodulation[:, None, None]
        if key is not None:
            y = y + jax.random.normal(key, (y.shape[0], *size, 1)) * strength
        elif noise == "const":
            y = y + (image.value * strength)[None, :, :, None]
        y = lrelu(y + bias[None, None, None])
        y = y if self.clamp is None else jnp.clip(y, -self.clamp, self.clamp)
        return y.astype(self.numerics.dtype)


class ToImage(nn.Module):
    """Modulated 1 × 1 convolution without demodulation: features → attribute channels, float32."""

    features: int
    numerics: Numerics
    clamp: float | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"], w: Float[Array, "B D"]) -> Float[Array, "B H W O"]:
        inputs = x.shape[-1]
        weight = self.param("weight", normal(1.0), (inputs, self.features))
        bias = self.param("bias", constant(0.0), (self.features,))
        style = Dense(inputs, bias_init=1.0, name="affine")(w) / math.sqrt(inputs)
        modulated = (weight[None] * style[:, :, None]).astype(x.dtype)  # small: one matrix for each sample
        y = jnp.einsum(
            "bhwi,bio->bhwo", x, modulated, precision=self.numerics.precision, preferred_element_type=jnp.float32
        )
        y = y + bias[None, None, None]
        return y if self.clamp is None else jnp.clip(y, -self.clamp, self.clamp)


class Block(nn.Module):
    """One resolution: (upsampling convolution,) convolution, and what it adds to the image."""

    resolution: int
    features: int
    channels: int
    numerics: Numerics
    clamp: float | None

    @nn.compact
    def __call__(self, x, image, rows: list[Float[Array, "B D"]], noise: str, keys: list):
        size, numerics = self.resolution, self.numerics
        *convolutions, to_image = rows
        if x is None:
            const = self.param("const", normal(1.0), (size, size, self.features))
            x = jnp.broadcast_to(const[None], (rows[0].shape[0], *const.shape)).astype(numerics.dtype)
        else:
            up = StyledConv(self.features, size, numerics, up=True, clamp=self.clamp, name="conv0")
            x = up(x, convolutions[0], noise, keys[0])
        x = StyledConv(self.features, size, numerics, clamp=self.clamp, name="conv1")(
            x, convolutions[-1], noise, keys[1]
        )
        new = ToImage(self.channels, numerics, self.clamp, name="torgb")(x, to_image)
        return x, new if image is None else conv.upsample(image) + new


class Synthesis(nn.Module):
    """W+ → image [B, R, R, channels] by StyleGAN2's skip architecture, from a learned 4 × 4 constant upwards."""

    resolution: int
    channels: int
    channel_base: int
    channel_max: int
    numerics: Numerics
    clamp: float | None = None

    @nn.compact
    def __call__(
        self, ws: Float[Array, "B L D"], noise: str = "const", key: Key[Array, ""] | None = None
    ) -> tuple[Float[Array, "B R R C"], list[tuple[Array, Array]]]:
        """The image, and (features, image) after each block. ``noise``: const, none, or random (needs ``key``)."""
        if noise not in NOISE or (noise == "random") != (key is not None):
            raise ValueError(f"noise must be one of {NOISE}, with a key for random and only then; got {noise!r}")
        sizes = block_sizes(self.resolution)
        keys = [None] * 2 * len(sizes) if key is None else list(jax.random.split(key, 2 * len(sizes)))
        x = image = None
        seen: list[tuple[Any, Any]] = []
        for i, size in enumerate(sizes):
            features = min(self.channel_base // size, self.channel_max)
            block = Block(size, features, self.channels, self.numerics, self.clamp, name=f"b{size}")
            rows = [ws[:, row] for row in block_rows(i)]
            x, image = block(x, image, rows, noise, keys[2 * i : 2 * i + 2])
            seen.append((x, image))
        return seen[-1][1], seen


def block_sizes(resolution: int) -> list[int]:
    """[4, 8, …, resolution]."""
    return [4 << i for i in range(int(math.log2(resolution)) - 1)]


def block_rows(block: int) -> range:
    """Rows of W+ that a block's layers read: (conv0,) conv1, torgb; the next block's conv0 shares the torgb's row."""
    return range(2) if block == 0 else range(2 * block - 1, 2 * block + 2)


def layer_names(resolution: int) -> tuple[str, ...]:
    """The layer that each row of W+ feeds first."""
    names: dict[int, str] = {}
    for i, size in enumerate(block_sizes(resolution)):
        layers = ("conv1", "torgb") if i == 0 else ("conv0", "conv1", "torgb")
        for row, layer in zip(block_rows(i), layers, strict=True):
            names.setdefault(row, f"b{size}.{layer}")
    return tuple(names[row] for row in sorted(names))
