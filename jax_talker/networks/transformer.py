"""The transformer layer (Vaswani et al. 2017, arXiv 1706.03762) that speech encoders are stacks of. Inference only."""

import flax.linen as nn
import jax
from jaxtyping import Array, Float

EPS = 1e-5  # of PyTorch's layer norms
HEAD = 64  # channels of an attention head, in every published Whisper, wav2vec2 and HuBERT


def layer_norm(name: str) -> nn.LayerNorm:
    """PyTorch's, over the last axis. Few channels are hundreds of times as large as the rest: two passes are needed."""
    return nn.LayerNorm(epsilon=EPS, use_fast_variance=False, name=name)


class SelfAttention(nn.Module):
    """Every step looks at all steps."""

    heads: int
    key_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        width = x.shape[-1]

        def split(name: str, bias: bool = True) -> Array:
            return nn.Dense(width, use_bias=bias, name=name)(x).reshape(*x.shape[:2], self.heads, width // self.heads)

        found = jax.nn.dot_product_attention(split("query"), split("key", self.key_bias), split("value"))
        return nn.Dense(width, name="out")(found.reshape(x.shape))


class TransformerLayer(nn.Module):
    """Attention and a perceptron of ``hidden`` channels with an exact GELU, each beside a shortcut.

    ``norm_first``: layer norms stand before both (GPT-2's order); otherwise behind the sums (the original's).
    """

    heads: int
    hidden: int
    norm_first: bool = True
    key_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        attention = SelfAttention(self.heads, self.key_bias, name="attention")
        attention_norm, mlp_norm = layer_norm("attention_norm"), layer_norm("mlp_norm")
        up, down = nn.Dense(self.hidden, name="up"), nn.Dense(x.shape[-1], name="down")
        mlp = lambda x: down(nn.gelu(up(x), approximate=False))  # noqa: E731
        if self.norm_first:
            x = x + attention(attention_norm(x))
            return x + mlp(mlp_norm(x))
        x = attention_norm(x + attention(x))
        return mlp_norm(x + mlp(x))
