"""The transformer layer (Vaswani et al. 2017, arXiv 1706.03762) that speech encoders are stacks of. Inference only."""

from typing import NamedTuple

import flax.linen as nn
import jax
from jaxtyping import Array, Bool, Float

from jax_talker.networks.weights_file import Shapes

EPS = 1e-5  # of PyTorch's layer norms
MOST_LAYERS = 64  # the largest published encoders have 48


class Stack(NamedTuple):
    """Sizes of a stack of layers: channels, layers, channels inside the perceptrons, attention heads."""

    width: int
    layers: int
    hidden: int
    heads: int


def stack_of(found: Shapes) -> Stack | None:
    """The sizes that converted arrays ``layer0/…`` speak of; None where there are none, or no such layers."""
    layers = sum(name.startswith("layer") and name.endswith("/up/kernel") for name in found)
    up, query = found.get("layer0/up/kernel", ()), found.get("layer0/attention/query/kernel", ())
    if len(up) != 2 or len(query) != 3 or not 0 < layers <= MOST_LAYERS or query[1] * query[2] != up[0] or not up[0]:
        return None
    return Stack(up[0], layers, up[1], query[1])


def layer_norm(name: str) -> nn.LayerNorm:
    """PyTorch's, over the last axis. Few channels are hundreds of times as large as the rest: two passes are needed."""
    return nn.LayerNorm(epsilon=EPS, use_fast_variance=False, name=name)


class SelfAttention(nn.Module):
    """Every step looks at all steps that are ``there``."""

    heads: int
    key_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "B T D"], there: Bool[Array, "B T"] | None = None) -> Float[Array, "B T D"]:
        width = x.shape[-1]

        def split(name: str, bias: bool = True) -> Array:
            return nn.DenseGeneral((self.heads, width // self.heads), use_bias=bias, name=name)(x)

        mask = None if there is None else there[:, None, None]
        found = jax.nn.dot_product_attention(split("query"), split("key", self.key_bias), split("value"), mask=mask)
        return nn.DenseGeneral(width, axis=(-2, -1), name="out")(found)


class TransformerLayer(nn.Module):
    """Attention and a perceptron of ``hidden`` channels with an exact GELU, each beside a shortcut.

    ``norm_first``: layer norms stand before both (GPT-2's order); otherwise behind the sums (the original's).
    """

    heads: int
    hidden: int
    norm_first: bool = True
    key_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "B T D"], there: Bool[Array, "B T"] | None = None) -> Float[Array, "B T D"]:
        attention = SelfAttention(self.heads, self.key_bias, name="attention")
        attention_norm, mlp_norm = layer_norm("attention_norm"), layer_norm("mlp_norm")
        up, down = nn.Dense(self.hidden, name="up"), nn.Dense(x.shape[-1], name="down")
        mlp = lambda x: down(nn.gelu(up(x), approximate=False))  # noqa: E731
        if self.norm_first:
            x = x + attention(attention_norm(x), there)
            return x + mlp(mlp_norm(x))
        x = attention_norm(x + attention(x, there))
        return mlp_norm(x + mlp(x))
