"""Density control: Gaussians cloned, split and pruned where the picture asks for it, in arrays that never change size.

Kerbl et al. 2023 (doi:10.1145/3592433, section 5.2), in the form that GaussianTalker and TalkingGaussian use it. The
rasteriser knows nothing of it: it gives ``radii`` and, through ``means2d_offset``, the screen-space gradients; what is
observed is collected by ``observe``, and ``control`` acts on it every few hundred steps.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from jax_talker.errors import UserError

Tree = TypeVar("Tree")
OFF = -20.0  # opacity logit of a place that no Gaussian has: 2e-9, far below what is drawn, without gradients


@struct.dataclass
class Cloud:
    """N places for Gaussians, as they are optimised. A place that is not ``alive`` holds nothing and is not drawn."""

    mean: Float[Array, "N 3"]
    quat: Float[Array, "N 4"]  # wxyz, any length
    log_scale: Float[Array, "N 3"]
    opacity_logit: Float[Array, "N"]
    rest: Any  # a tree of [N, …]: colours, spherical harmonics, features
    alive: Bool[Array, "N"]


@struct.dataclass
class Observed:
    """What has been seen of each place since the last ``control``."""

    gradient: Float[Array, "N"]  # Σ over images that show it of the length of dL/d(centre), in NDC: pixels · size/2
    images: Int[Array, "N"]


@struct.dataclass
class Changes:
    """What one ``control`` did, for the log."""

    cloned: Int[Array, ""]
    split: Int[Array, ""]
    pruned: Int[Array, ""]
    lost: Int[Array, ""]  # wanted to be cloned or split, but found no free place; 0: capacity suffices
    alive: Int[Array, ""]


@dataclass(frozen=True)
class DensityControl:
    """When a Gaussian is cloned, split or pruned. Lengths are in units of the scene's ``extent``.

    The defaults are those of the original program.
    """

    min_gradient: float = 2e-4  # mean length of the screen-space gradient (NDC) above which more Gaussians are needed
    dense_scale: float = 0.01  # of the largest axis: smaller ones are cloned, larger ones split
    min_opacity: float = 0.005  # below it a Gaussian is pruned
    max_scale: float = 0.1  # above it, too, where ``prune_large`` is set
    shrink: float = 1.6  # both halves of a split one are smaller by this factor

    def __post_init__(self) -> None:
        if not (self.min_gradient > 0 and self.dense_scale > 0 and 0 <= self.min_opacity < 1 and self.shrink > 1):
            raise UserError(f"density control: numbers out of range in {self}")

    def begin(self, cloud: Cloud) -> Observed:
        """Nothing seen yet."""
        return Observed(jnp.zeros_like(cloud.opacity_logit), jnp.zeros(cloud.alive.shape, jnp.int32))

    def observe(
        self, seen: Observed, offset_gradient: Float[Array, "*b N 2"], radii: Int[Array, "*b N"], *, size: int
    ) -> Observed:
        """Add images of ``size``² pixels: the gradient of ``means2d_offset`` (pixels) and ``radii`` of each."""
        length = jnp.linalg.norm(offset_gradient, axis=-1) * (size / 2)
        axes = tuple(range(radii.ndim - 1))
        shown = radii > 0
        gradient = seen.gradient + jnp.sum(jnp.where(shown, length, 0), axes)
        return Observed(gradient, seen.images + jnp.sum(shown, axes, dtype=jnp.int32))

    def control(
        self, key: Array, cloud: Cloud, seen: Observed, moments: Tree, *, extent: float, prune_large: bool = False
    ) -> tuple[Cloud, Observed, Tree, Changes]:
        """Clone, split, prune; shapes stay. Everything may be jitted (``prune_large`` is static).

        ``moments`` is any tree of [N, …]: the optimiser's running means of what ``cloud`` holds. They move with their
        Gaussian; a new one begins with zeros. Gaussians of the largest gradient come first where places are few.
        The observations begin anew.
        """
        count = cloud.alive.shape[0]
        mean_gradient = jnp.where(cloud.alive, seen.gradient / jnp.maximum(seen.images, 1), 0)
        scale = jnp.exp(cloud.log_scale)
        wanted = cloud.alive & (mean_gradient >= self.min_gradient)
        large = scale.max(-1) > self.dense_scale * extent
        # Free places go to those who want one, by falling gradient. Each needs one more place than it has.
        eager_first = jnp.argsort(jnp.where(wanted, -mean_gradient, jnp.inf), stable=True)
        free_first = jnp.argsort(cloud.alive, stable=True)
        number = jnp.arange(count)
        granted = number < jnp.minimum(jnp.sum(wanted), jnp.sum(~cloud.alive))
        place = jnp.where(granted, free_first, count)  # beyond the end: dropped
        chosen = jnp.zeros(count, bool).at[eager_first].set(granted)
        split = chosen & large

        def doubled(leaf: Array) -> Array:
            return leaf.at[place].set(leaf[eager_first], mode="drop")

        two = jax.tree.map(doubled, cloud)
        halves = split.at[place].set(split[eager_first], mode="drop")
        # Both halves of a split one are samples of it.
        noise = jax.random.normal(key, cloud.mean.shape) * jnp.exp(two.log_scale)
        moved = two.mean + _rotate(two.quat, noise)
        two = two.replace(
            mean=jnp.where(halves[:, None], moved, two.mean),
            log_scale=jnp.where(halves[:, None], two.log_scale - jnp.log(self.shrink), two.log_scale),
        )
        faint = jax.nn.sigmoid(two.opacity_logit) < self.min_opacity
        if prune_large:
            faint |= jnp.exp(two.log_scale).max(-1) > self.max_scale * extent
        pruned = two.alive & faint
        alive = two.alive & ~faint
        two = two.replace(alive=alive, opacity_logit=jnp.where(alive, two.opacity_logit, OFF))
        born = halves.at[place].set(True, mode="drop")
        kept = alive & ~born

        def moment(leaf: Array) -> Array:
            return jnp.where(kept.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, 0)

        changes = Changes(
            cloned=jnp.sum(chosen & ~large),
            split=jnp.sum(split),
            pruned=jnp.sum(pruned),
            lost=jnp.sum(wanted) - jnp.sum(chosen),
            alive=jnp.sum(alive),
        )
        return two, self.begin(two), jax.tree.map(moment, moments), changes


def _rotate(quat: Float[Array, "N 4"], vector: Float[Array, "N 3"]) -> Float[Array, "N 3"]:
    """The vectors, turned by the quaternions (wxyz, any length)."""
    unit = quat / jnp.maximum(jnp.linalg.norm(quat, axis=-1, keepdims=True), 1e-12)
    w, axis = unit[:, :1], unit[:, 1:]
    return vector + 2 * jnp.cross(axis, jnp.cross(axis, vector) + w * vector)
