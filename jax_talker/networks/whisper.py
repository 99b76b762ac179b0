"""Whisper's encoder (Radford et al. 2022, arXiv 2212.04356): log-mel of 30 s → features at 50 Hz. Inference only.

Weights come from ``python -m converters whisper``; every size is read off them, so each published one fits.
"""

from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from jax_talker.errors import UserError
from jax_talker.networks.transformer import TransformerLayer, layer_norm, stack_of
from jax_talker.networks.weights_file import Shapes, WeightsFile, check_shapes, open_weights, shapes_of

FILE, WHAT, CONVERT = "whisper.safetensors", "Whisper's encoder", "whisper"
ORIGIN = "model.safetensors of https://huggingface.co/openai/whisper-base (MIT)"
HEAD = 64  # channels of an attention head, in every published size


class WhisperEncoder(nn.Module):
    """Two convolutions, which halve the rate, fixed positions, and a stack of transformer layers."""

    width: int = 512
    layers: int = 6
    hidden: int = 2048
    heads: int = 8
    bands: int = 80
    positions: int = 1500  # steps that it sees at once, no more and no fewer

    @nn.compact
    def __call__(self, mel: Float[Array, "B T M"]) -> Float[Array, "B t D"]:
        x = nn.gelu(nn.Conv(self.width, (3,), padding=1, name="conv1")(mel), approximate=False)
        x = nn.gelu(nn.Conv(self.width, (3,), strides=2, padding=1, name="conv2")(x), approximate=False)
        x = x + self.param("positions", nn.initializers.normal(0.02), (self.positions, self.width))[None]
        for i in range(self.layers):
            x = TransformerLayer(self.heads, self.hidden, key_bias=False, name=f"layer{i}")(x)
        return layer_norm("norm")(x)


def encode(net: WhisperEncoder, weights: dict[str, Any], mel: Float[Array, "B T M"]) -> Float[Array, "B t D"]:
    """Features [B, positions, D] of log-mel [B, 2 · positions, M], in float32 throughout (a GPU would round)."""
    with jax.default_matmul_precision("highest"):
        found = net.apply({"params": weights}, mel)
    assert isinstance(found, jax.Array)
    return found


def shapes(net: WhisperEncoder) -> dict[str, tuple[int, ...]]:
    """Every array of the converted weights by its path."""
    return shapes_of(net, (1, 2 * net.positions, net.bands))


def open_whisper(given: str | Path) -> tuple[WhisperEncoder, WeightsFile]:
    """The network that converted weights (a folder or a file) are of, and the weights."""
    file = open_weights(given, FILE, what=WHAT, convert=CONVERT, origin=ORIGIN)
    net = _network(file.shapes)
    if net is None:
        raise UserError(
            f"{file.path}: holds no {WHAT}; python -m converters {CONVERT} FILE OUT makes what is read here"
        )
    check_shapes(file, shapes(net), what=WHAT, convert=CONVERT)
    return net, file


def _network(found: Shapes) -> WhisperEncoder | None:
    stack, conv, positions = stack_of(found), found.get("conv1/kernel", ()), found.get("positions", ())
    if stack is None or len(conv) != 3 or len(positions) != 2:
        return None
    return WhisperEncoder(*stack, bands=conv[1], positions=positions[0])
