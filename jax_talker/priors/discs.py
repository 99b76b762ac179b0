"""Gaussians as flat discs on a surface whose points know their neighbours: rotations and scales are not learnt, they
follow the shape, so that a stretched lip keeps its cover and a turned cheek its shading.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jax_talker.geometry import quat_multiply, rotation_from_quat

STRETCH = 2.0  # at most, of the logarithm of a disc's width against its width on the mean shape: lids unfold
TINY = 1e-5  # world units: keeps directions and gradients finite where points coincide
LEAST_W = 0.05  # of 1 + trace of the rotation from the mean shape: discs that turn by more than 150° stop there


def raised(x: Array, ndim: int) -> Array:
    """``x`` with axes of length 1 in front."""
    return x.reshape((1,) * (ndim - x.ndim) + x.shape)


def tangents(
    points: Float[Array, "*b N 3"], neighbours: Int[Array, "N 4"]
) -> tuple[Float[Array, "*b N 3"], Float[Array, "*b N 3"]]:
    """How the points move from texel to texel along u and along v: central differences, one-sided at borders.

    ``neighbours``: the points to the left, right, above and below; a point names itself where it has none.
    """
    own = jnp.arange(neighbours.shape[0])
    left, right, above, below = (neighbours[:, k] for k in range(4))

    def along(before, after):
        steps = jnp.maximum((before != own).astype(jnp.float32) + (after != own), 1)
        ends = jnp.take(points, after, axis=-2) - jnp.take(points, before, axis=-2)
        return ends / raised(steps[:, None], ends.ndim)

    return along(left, right), along(above, below)


def frames(
    u: Float[Array, "*b N 3"], v: Float[Array, "*b N 3"], turn: Float[Array, "N 2"]
) -> tuple[Float[Array, "*b N 3 3"], Float[Array, "*b N 2"]]:
    """Columns (first axis, second axis, normal) of discs, and how far apart texels lie along the two axes.

    ``turn`` (cosine, sine) turns the texture's axes to those across which the mean shape is not sheared.
    """
    c, s = (raised(x, u.ndim) for x in (turn[:, :1], turn[:, 1:]))
    first, second = c * u + s * v, c * v - s * u
    long = length(first)
    axis = first / long
    across = jnp.cross(axis, second / length(second))  # of unit vectors: the product of two short ones drowns in TINY
    normal = across / length(across)
    other = jnp.cross(normal, axis)
    wide = length(jnp.sum(second * other, -1, keepdims=True))
    return jnp.stack([axis, other, normal], -1), jnp.concatenate([long, wide], -1)


def quat_from_rotation(rotation: Float[Array, "*b 3 3"]) -> Float[Array, "*b 4"]:
    """(w, x, y, z) of a rotation by less than 150°; beyond, of some rotation between."""
    m = rotation
    w = 0.5 * jnp.sqrt(jnp.maximum(1 + m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2], LEAST_W))
    off = [m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]]
    return jnp.stack([w, *(x / (4 * w) for x in off)], -1)


def stretched(width: Float[Array, "*b N 2"], mean_width: Float[Array, "N 2"]) -> Float[Array, "*b N 2"]:
    """Widths held within a factor e^STRETCH of those of the mean shape."""
    mean_width = raised(mean_width, width.ndim)
    ratio = jnp.log(width / mean_width)
    return mean_width * jnp.exp(STRETCH * jnp.tanh(ratio / STRETCH))


def turned(frame: Float[Array, "*b N 3 3"], rest: Float[Array, "N 4"]) -> Float[Array, "*b N 4"]:
    """Quaternions of ``frame`` by way of those of the mean shape, ``rest``, from which no disc turns far."""
    usual = raised(rotation_from_quat(rest), frame.ndim)
    away = jnp.einsum("...ij,...kj->...ik", frame, jnp.broadcast_to(usual, frame.shape), precision="highest")
    return quat_multiply(quat_from_rotation(away), jnp.broadcast_to(rest, (*away.shape[:-2], 4)))


def length(x: Float[Array, "*b C"]) -> Float[Array, "*b 1"]:
    """|x|, a little more than 0 at 0."""
    return jnp.sqrt(jnp.sum(jnp.square(x), -1, keepdims=True) + TINY**2)
