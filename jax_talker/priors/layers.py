"""Layers that the priors share: equalised dense layers, StyleGAN's mapping network, truncation, numerics.

Weights are stored as they were trained: standard normal at the start, with their gains applied at run time (equalised
learning rate; Karras et al., arXiv:1710.10196). Dense kernels are [in, out].
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_talker.priors.initial import constant, normal

NORM_EPSILON = 1e-8
MAPPING_LEARNING_RATE = 0.01  # mapping layers store weights 100 times too large and so learn 100 times slower
LRELU_SLOPE = 0.2
GAIN = math.sqrt(2)  # of lrelu, so that it keeps the variance
COMPUTE = ("float32", "tf32", "bfloat16")


def lrelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """√2 · leaky ReLU."""
    return GAIN * jax.nn.leaky_relu(x, LRELU_SLOPE)


def normalise_second_moment(x: Float[Array, "*b D"]) -> Float[Array, "*b D"]:
    """x / √(mean x² + 1e-8)."""
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + NORM_EPSILON)


class Linear(nn.Module):
    """The arrays of an equalised dense layer with their gains applied: (kernel · lr/√in, bias · lr)."""

    inputs: int
    features: int
    learning_rate: float = 1.0
    weight_scale: float = 1.0
    bias_init: float = 0.0

    @nn.compact
    def __call__(self) -> tuple[Float[Array, "I O"], Float[Array, "O"]]:
        kernel = self.param("kernel", normal(self.weight_scale / self.learning_rate), (self.inputs, self.features))
        bias = self.param("bias", constant(self.bias_init), (self.features,))
        return kernel * (self.learning_rate / math.sqrt(self.inputs)), bias * self.learning_rate


class Dense(nn.Module):
    """y = act(x · kernel · lr/√in + bias · lr)."""

    features: int
    activation: Callable | None = None
    learning_rate: float = 1.0
    weight_scale: float = 1.0
    bias_init: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "*b I"]) -> Float[Array, "*b O"]:
        inputs = x.shape[-1]
        kernel = self.param("kernel", normal(self.weight_scale / self.learning_rate), (inputs, self.features))
        bias = self.param("bias", constant(self.bias_init), (self.features,))
        gain = self.learning_rate / math.sqrt(inputs)
        a, b = (x * gain, kernel) if x.size < kernel.size else (x, kernel * gain)  # scale the smaller operand
        y = jnp.matmul(a, b, precision="highest")
        y = y + (bias * self.learning_rate).reshape((1,) * (y.ndim - 1) + (-1,))
        return self.activation(y) if self.activation else y


class Mapping(nn.Module):
    """z and an EG3D label → w. The label is embedded, both halves are normalised, z comes first."""

    w_dim: int
    layers: int
    label_scale: float = 1.0
    ignore_label: bool = False  # c_gen_conditioning_zero: a generator that does not know the pose

    @nn.compact
    def __call__(self, z: Float[Array, "B Z"], label: Float[Array, "B C"]) -> Float[Array, "B D"]:
        x = normalise_second_moment(z)
        if label.shape[-1]:
            label = jnp.zeros_like(label) if self.ignore_label else label * self.label_scale
            x = jnp.concatenate([x, normalise_second_moment(Dense(self.w_dim, name="embed")(label))], -1)
        for i in range(self.layers):
            x = Dense(self.w_dim, lrelu, MAPPING_LEARNING_RATE, name=f"fc{i}")(x)
        return x


def broadcast_and_truncate(
    w: Float[Array, "B D"], w_avg: Float[Array, "D"], num_ws: int, psi: float, cutoff: int | None
) -> Float[Array, "B L D"]:
    """Repeat w for every layer; pull the first ``cutoff`` rows (None: all) towards the mean, w_avg + ψ (w − w_avg)."""
    rows = jnp.broadcast_to(w[:, None], (w.shape[0], num_ws, w.shape[1]))
    if psi == 1:
        return rows
    truncated = np.zeros((1, num_ws, 1), bool)
    truncated[:, :cutoff] = True
    center = w_avg[None, None]
    return jnp.where(truncated, center + psi * (rows - center), rows)


@dataclass(frozen=True)
class Numerics:
    """How convolutions are computed; parameters and everything outside the convolutions stay float32."""

    dtype: jnp.dtype
    precision: jax.lax.Precision

    @classmethod
    def named(cls, compute: str) -> "Numerics":
        """``float32`` is exact everywhere; ``tf32`` lets an accelerator round products; ``bfloat16`` computes in it."""
        if compute not in COMPUTE:
            raise ValueError(f"compute must be one of {COMPUTE}, got {compute!r}")
        dtype = jnp.dtype(jnp.bfloat16 if compute == "bfloat16" else jnp.float32)
        return cls(dtype, jax.lax.Precision.HIGHEST if compute == "float32" else jax.lax.Precision.DEFAULT)

    def dot(self, x: Float[Array, "*b I"], kernel: Float[Array, "I O"]) -> Float[Array, "*b O"]:
        """x · kernel, accumulated and returned in float32."""
        return jnp.matmul(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            precision=self.precision,
            preferred_element_type=jnp.float32,
        )
