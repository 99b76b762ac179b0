"""Operations on point features [*b, N, C] that GSGAN is made of (gsgan_spec sections 2 and 6 to 8). Pure functions.

Weights come as (kernel [in, out], bias [out]) with their gains applied.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jax_talker.priors.layers import Numerics, lrelu

STD_EPSILON = 1e-8
HEADS = 8
NEIGHBOURS = 16
SIBLINGS = 4  # groups of unstyled levels, whatever the upsampling ratio
KNN_ROWS = 1024  # queries whose distances to all points are held at once
Weights = tuple[Array, Array]  # kernel [I, O], bias [O]


def affine(x: Float[Array, "*b I"], weights: Weights, numerics: Numerics) -> Float[Array, "*b O"]:
    """x · kernel + bias."""
    kernel, bias = weights
    return numerics.dot(x, kernel) + bias.reshape((1,) * (x.ndim - 1) + (-1,))


def instance_norm(x: Float[Array, "B N C"]) -> Float[Array, "B N C"]:
    """Zero mean and unit deviation over the points; the epsilon is added to the deviation."""
    centred = x - jnp.mean(x, -2, keepdims=True)
    return centred / (jnp.sqrt(jnp.mean(jnp.square(centred), -2, keepdims=True)) + STD_EPSILON)


def attention(x: Float[Array, "B N C"], to_qkv: Weights, to_out: Weights, numerics: Numerics) -> Float[Array, "B N C"]:
    """Self-attention of all points; each head's channels are laid out as query, key, value."""
    batch, points, channels = x.shape
    width = channels // HEADS
    qkv = affine(x, to_qkv, numerics).reshape(batch, points, HEADS, 3 * width)
    query, key, value = jnp.split(qkv, 3, -1)
    with jax.default_matmul_precision("highest"):
        mixed = jax.nn.dot_product_attention(query, key, value)  # scores are divided by √width
    return affine(mixed.reshape(batch, points, channels), to_out, numerics)


def mlp(x: Float[Array, "*b C"], widen: Weights, narrow: Weights, numerics: Numerics) -> Float[Array, "*b C"]:
    """Two layers with √2 · GELU (erf form) between."""
    kernel, bias = narrow
    hidden = jax.nn.gelu(affine(x, widen, numerics), approximate=False)
    return affine(hidden, (kernel * math.sqrt(2), bias), numerics)


def nearest(features: Float[Array, "N C"], count: int = NEIGHBOURS) -> Int[Array, "N count"]:
    """Indices of each point's nearest others by feature distance; the nearest of all, itself, is left out.

    Distances are held for a block of queries at a time: [block, N], never [N, N] or [N, N, C].
    """
    squares = jnp.sum(jnp.square(features), -1)

    def block(query_and_square):
        query, square = query_and_square
        product = jnp.matmul(query, features.T, precision="highest")
        distance = square[:, None] + squares[None] - 2 * product
        return jax.lax.top_k(-distance, count + 1)[1][:, 1:]

    points = features.shape[0]
    if points <= KNN_ROWS:
        return block((features, squares))
    blocks = -(-points // KNN_ROWS)
    padding = blocks * KNN_ROWS - points
    queries = jnp.pad(features, ((0, padding), (0, 0))).reshape(blocks, KNN_ROWS, -1)
    query_squares = jnp.pad(squares, (0, padding)).reshape(blocks, KNN_ROWS)
    return jax.lax.map(block, (queries, query_squares)).reshape(-1, count)[:points]


def edge_attention(
    own: Float[Array, "*b N C"],
    gather,
    logits: tuple[Weights, Weights],
    values: tuple[Weights, Weights],
    numerics: Numerics,
) -> Float[Array, "*b N C"]:
    """Attention over a few neighbours with a softmax for every channel on its own.

    With δ = n_j − n_i, logits come from δ and values from (n_i, δ). The first layers of both are linear in n_i and n_j,
    so they are applied to points, not to pairs, and their sum is formed for each pair. ``gather`` maps point features
    [*b, N, C] to those of the neighbours [*b, N, K, C].
    """
    (logit_kernel, logit_bias), logit_out = logits
    (value_kernel, value_bias), value_out = values
    channels, hidden = own.shape[-1], logit_kernel.shape[1]
    from_own, from_delta = value_kernel[:channels], value_kernel[channels:]
    neighbour = numerics.dot(own, jnp.concatenate([logit_kernel, from_delta], 1))
    for_logits, for_values = neighbour[..., :hidden], neighbour[..., hidden:]

    def pairs(of_neighbour, of_point):
        return lrelu(gather(of_neighbour) + (of_point - of_neighbour)[..., None, :])

    ones = (1,) * (own.ndim - 1)
    scores = affine(pairs(for_logits, logit_bias.reshape(*ones, -1)), logit_out, numerics)
    of_point = numerics.dot(own, from_own) + value_bias.reshape(*ones, -1)
    return jnp.sum(jax.nn.softmax(scores, -2) * affine(pairs(for_values, of_point), value_out, numerics), -2)


def siblings(features: Float[Array, "N C"]) -> Float[Array, "N K C"]:
    """The features of each point's group of consecutive points, itself included."""
    points, channels = features.shape
    groups = features.reshape(points // SIBLINGS, 1, SIBLINGS, channels)
    return jnp.broadcast_to(groups, (points // SIBLINGS, SIBLINGS, SIBLINGS, channels)).reshape(
        points, SIBLINGS, channels
    )


def upsample(
    x: Float[Array, "*b N I"], spread: Weights, skip: Weights | None, ratio: int, numerics: Numerics
) -> Float[Array, "*b M O"]:
    """Every point becomes ``ratio`` consecutive children: (its own features + a new part each) / √2."""
    children = lrelu(affine(x, spread, numerics))
    children = children.reshape(*x.shape[:-1], ratio, children.shape[-1] // ratio)
    own = x if skip is None else affine(x, skip, numerics)
    return ((own[..., None, :] + children) / math.sqrt(2)).reshape(*x.shape[:-2], -1, children.shape[-1])
