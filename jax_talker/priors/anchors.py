"""How a level of GSGAN places Gaussians relative to the coarser level's anchors (gsgan_spec sections 9 and 10)."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

OPACITY_INIT = math.log(0.1 / 0.9)
SIZES = {"xyz": 3, "scale": 3, "rotation": 4, "color": 3, "opacity": 1}


@struct.dataclass
class Splats:
    """Gaussians before their last activation, as the original keeps them. Trees of anything else may have its form."""

    xyz: Any  # [*b, N, 3]
    scale: Any  # [*b, N, 3] log σ
    rotation: Any  # [*b, N, 4] wxyz, not normalised
    color: Any  # [*b, N, 3] SH coefficient of degree 0
    opacity: Any  # [*b, N, 1] logit


def split(heads: Float[Array, "*b N 14"]) -> Splats:
    """The outputs of the five heads, side by side in the order of SIZES."""
    parts = jnp.split(heads, [3, 6, 10, 13], -1)
    return Splats(*parts)


def concatenate(levels: list[Splats]) -> Splats:
    """Levels one after another along the points."""
    return jax.tree.map(lambda *parts: jnp.concatenate(parts, -2), *levels)


def repeat(splats: Splats, ratio: int) -> Splats:
    """Each point ``ratio`` times in a row: parents, seen from their children."""
    return jax.tree.map(lambda x: jnp.repeat(x, ratio, -2, total_repeat_length=ratio * x.shape[-2]), splats)


def below(x: Float[Array, "*b N 3"], start: float, threshold: float) -> Float[Array, "*b N 3"]:
    """A smooth minimum of ``start + x`` and ``threshold``."""
    return threshold + jax.nn.log_sigmoid(start + x - threshold)


def inside(parent: Splats, step: Float[Array, "*b N 3"]) -> Float[Array, "*b N 3"]:
    """R(q) · diag(σ) · tanh(step) + centre: a point inside the parent's ellipsoid."""
    local = jnp.exp(parent.scale) * jnp.tanh(step)
    q = parent.rotation / jnp.linalg.norm(parent.rotation, axis=-1, keepdims=True)
    real, axis = q[..., :1], q[..., 1:]
    twice = 2 * jnp.cross(axis, local)
    return parent.xyz + local + real * twice + jnp.cross(axis, twice)


def child(parent: Splats, h: Splats, *, split_above: float, log_ratio: float, smallest: float) -> Splats:
    """A finer level's Gaussians from its heads and its parents, repeated for the children.

    Parents larger than ``split_above`` along any axis split: their children start smaller by the split ratio.
    """
    large = jnp.max(jnp.exp(parent.scale), -1, keepdims=True) > split_above
    base = jnp.where(large, jnp.clip(parent.scale - log_ratio, -100, 0), parent.scale)
    return Splats(
        xyz=inside(parent, h.xyz),
        scale=jnp.clip(base + jax.nn.log_sigmoid(h.scale), smallest, 0),
        rotation=parent.rotation + h.rotation,
        color=parent.color + h.color,
        opacity=parent.opacity + h.opacity,
    )


def first(h: Splats, xyz: Float[Array, "*b N 3"], scale_init: float, scale_threshold: float) -> Splats:
    """Gaussians of a coarsest level from its heads, at given places."""
    return Splats(
        xyz=xyz,
        scale=below(h.scale, scale_init, scale_threshold),
        rotation=h.rotation.at[..., 0].add(1),
        color=h.color,
        opacity=OPACITY_INIT + h.opacity,
    )
