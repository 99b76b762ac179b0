"""wav2vec 2.0 (Baevski et al. 2020, arXiv 2006.11477) and HuBERT (Hsu et al. 2021, arXiv 2106.07447): one network.

Seven convolutions make steps at 50 Hz of a 16 kHz waveform, a grouped convolution tells their order, and a stack of
transformer layers follows. The published models come in two variants: one group norm behind the first convolution and
layer norms behind the sums (base), or layer norms behind every convolution and before the layers' parts (large).

Weights come from ``python -m converters wav2vec2``; sizes and variant are read off them. Inference only.
"""

from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jax_talker.errors import UserError
from jax_talker.networks.transformer import EPS, TransformerLayer, layer_norm, stack_of
from jax_talker.networks.weights_file import Shapes, WeightsFile, check_shapes, open_weights, shapes_of

FILE, WHAT, CONVERT = "wav2vec2.safetensors", "wav2vec2 or HuBERT", "wav2vec2"
ORIGIN = "model.safetensors or pytorch_model.bin of https://huggingface.co/facebook/hubert-large-ls960-ft (Apache-2.0)"
KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
FIELD, HOP = 400, 320  # samples that a step sees, and between two steps: what the convolutions come to


class Wav2Vec2(nn.Module):
    """``samples`` of each waveform count; what stands behind them fills up a shape that was compiled before."""

    width: int = 768
    layers: int = 12
    hidden: int = 3072
    heads: int = 12
    channels: int = 512  # of the convolutions
    large: bool = False  # the variant: layer norms everywhere
    conv_bias: bool = False
    positions: int = 128  # steps that the convolution for positions sees
    groups: int = 16  # of it

    @nn.compact
    def __call__(self, wave: Float[Array, "B N"], samples: Int[Array, " B"]) -> Float[Array, "B T D"]:
        x, steps = wave[..., None], samples
        for i, (size, stride) in enumerate(zip(KERNELS, STRIDES, strict=True)):
            x = nn.Conv(self.channels, (size,), stride, "VALID", use_bias=self.conv_bias, name=f"conv{i}")(x)
            steps = (steps - size) // stride + 1
            if self.large:
                x = layer_norm(f"conv{i}_norm")(x)
            elif i == 0:
                x = OverTime(name="conv0_norm")(x, _there(x, steps))
            x = nn.gelu(x, approximate=False)
        x = nn.Dense(self.width, name="projection")(layer_norm("projection_norm")(x))
        there = _there(x, steps)
        x = jnp.where(there[..., None], x, 0)
        x = x + Positions(self.positions, self.groups, name="positions")(x)
        x = x if self.large else layer_norm("norm")(x)
        for i in range(self.layers):
            x = TransformerLayer(self.heads, self.hidden, norm_first=self.large, name=f"layer{i}")(x, there)
        return layer_norm("norm")(x) if self.large else x

    @property
    def last_norm(self) -> tuple[str, ...]:
        """Path of the layer norm that gives the features."""
        return ("norm",) if self.large else (f"layer{self.layers - 1}", "mlp_norm")


class OverTime(nn.Module):
    """PyTorch's group norm with a group for each channel: by mean and deviation over the steps that are there."""

    @nn.compact
    def __call__(self, x: Float[Array, "B T C"], there: Bool[Array, "B T"]) -> Float[Array, "B T C"]:
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
        weight = there[..., None]
        mean = x.mean(1, keepdims=True, where=weight)
        variance = ((x - mean) ** 2).mean(1, keepdims=True, where=weight)
        return (x - mean) * jax.lax.rsqrt(variance + EPS) * scale[None, None] + bias[None, None]


class Positions(nn.Module):
    """Where a step stands, by a wide grouped convolution over its neighbours."""

    size: int
    groups: int

    @nn.compact
    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        conv = nn.Conv(x.shape[-1], (self.size,), padding=self.size // 2, feature_group_count=self.groups, name="conv")
        return nn.gelu(conv(x)[:, : x.shape[1]], approximate=False)


def _there(x: Float[Array, "B T C"], steps: Int[Array, " B"]) -> Bool[Array, "B T"]:
    return jnp.arange(x.shape[1])[None] < steps[:, None]


def encode(
    net: Wav2Vec2, weights: dict[str, Any], wave: Float[Array, "B N"], samples: Int[Array, " B"]
) -> Float[Array, "B T D"]:
    """The last hidden state of standardised waveforms, in float32 throughout (a GPU would round)."""
    with jax.default_matmul_precision("highest"):
        found = net.apply({"params": weights}, wave, samples)
    assert isinstance(found, jax.Array)
    return found


def shapes(net: Wav2Vec2) -> dict[str, tuple[int, ...]]:
    """Every array of the converted weights by its path."""
    return shapes_of(net, (1, 4 * FIELD), jax.ShapeDtypeStruct((1,), jnp.int32))


def network_of(found: Shapes) -> Wav2Vec2 | None:
    """The network that arrays under ``shapes()``' names are of; None where they are of no such network."""
    stack = stack_of(found)
    conv, positions = found.get("conv0/kernel", ()), found.get("positions/conv/kernel", ())
    if stack is None or len(conv) != 3 or len(positions) != 3 or not positions[1] or positions[2] % positions[1]:
        return None
    groups = positions[2] // positions[1]
    large, bias = "conv1_norm/scale" in found, "conv0/bias" in found
    return Wav2Vec2(*stack, conv[2], large, bias, positions[0], groups)


def open_wav2vec2(given: str | Path) -> tuple[Wav2Vec2, WeightsFile]:
    """The network that converted weights (a folder or a file) are of, and the weights."""
    file = open_weights(given, FILE, what=WHAT, convert=CONVERT, origin=ORIGIN)
    net = network_of(file.shapes)
    if net is None:
        raise UserError(f"{file.path}: holds no {WHAT}; python -m converters {CONVERT} FILE OUT makes such a file")
    check_shapes(file, shapes(net), what=WHAT, convert=CONVERT)
    return net, file
