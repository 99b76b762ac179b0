"""The deformation field: Gaussians move, turn, stretch, fade and change colour by what a face does and how it is held.

It expresses what a prior's latents cannot (teeth that appear, lids that close, hair that follows the pose) and is the
motion model of the field's other systems (TalkingGaussian, GaussianTalker). Two forms, both the identity at the start:
linear blendshapes for each Gaussian, and a small network on position. Either obeys the masks as W+ does: expression
does not touch what only lips may move, and the reverse (``Layout.upper``, ``Layout.lower``).
"""

import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from jax_talker.geometry import split_label
from jax_talker.models.detail import SIZES, Layout, allowed, change, of_the_face
from jax_talker.types import Gaussians

CHANNELS = sum(SIZES.values())
Follows = Literal["none", "outside", "shaded", "all"]
POSE_RANGE = 2.5  # deviations; beyond them the pose's influence no longer grows, for little was learnt there
LEAST_DEVIATION = 0.02  # sines, 1.1°: what a head turns by less is mostly the tracker's noise


class Motion(NamedTuple):
    """What moves Gaussians: coefficients in units of a typical walk, and how the head is held."""

    expression: Float[Array, "B E"]
    lips: Float[Array, "B P"]
    pose: Float[Array, "B 5"]  # pose_of


@struct.dataclass
class Poses:
    """How a person holds the head while being filmed, in sines of yaw, pitch, roll: the unit of what follows them."""

    usual: Float[Array, "25"]  # the EG3D label under which they hold it most as they do on average
    deviation: Float[Array, "3"]


def _sines(held: Float[Array, "B 25"]) -> Float[Array, "B 3"]:
    rotation = split_label(held)[0][:, :3, :3]
    return jnp.stack([rotation[:, 0, 2], rotation[:, 1, 2], rotation[:, 0, 1]], -1)


def poses_of(held: Float[Array, "T 25"]) -> Poses:
    """Those of frames, by their EG3D labels."""
    sines = _sines(held)
    deviation = jnp.maximum(sines.std(0), LEAST_DEVIATION)
    away = ((sines - sines.mean(0, keepdims=True)) / deviation[None]) ** 2
    return Poses(held[away.sum(-1).argmin()], deviation)


def pose_of(held: Float[Array, "B 25"], poses: Poses) -> Float[Array, "B 5"]:
    """Yaw, pitch and roll in the person's deviations and two squares, bounded; zero for their usual pose.

    In units of the person's own turns, or shapes of a head that hardly turns would learn as many times more slowly.
    """
    linear = jnp.clip((_sines(held) - _sines(poses.usual[None])) / poses.deviation[None], -POSE_RANGE, POSE_RANGE)
    return jnp.concatenate([linear, linear[:, :2] ** 2 / 2], -1)


def _split(changes: Float[Array, "*b C"]) -> dict[str, Array]:
    ends = [*itertools.accumulate(SIZES.values())][:-1]
    return dict(zip(SIZES, jnp.split(changes, ends, -1), strict=True))


class Blendshapes(nn.Module):
    """Each Gaussian has its own linear answer to a few mixed coefficients.

    ``expressions`` and ``lips`` count the mixtures of the talker's coefficients; the mixing is learnt, too; they move
    the face alone. ``pose``
    lets the head's pose move Gaussians as well: none, those outside the face (hair and neck follow the head late and
    differently), or all. It also explains parallax, so that depth stays wrong where one camera alone looks and true
    side views lose (docs/method.md).
    """

    num_gaussians: int
    expressions: int = 8
    lips: int = 12
    pose: Follows = "none"

    @nn.compact
    def __call__(self, gaussians: Gaussians, motion: Motion, layout: Layout) -> Gaussians:
        def shapes(name: str, count: int) -> Array:
            return self.param(name, nn.initializers.zeros, (count, self.num_gaussians, CHANNELS))

        def mixed(name: str, given: Array, count: int) -> Array:
            start = lambda key, shape: jnp.eye(*shape) + 0.05 * nn.initializers.normal(1.0)(key, shape)  # noqa: E731
            return given @ self.param(name, start, (given.shape[-1], count))

        def answer(coefficients: Array, per_gaussian: Array) -> Array:
            return jnp.einsum("bk,kmc->bmc", coefficients, per_gaussian, precision="highest")

        upper = answer(
            mixed("mix_expression", motion.expression, self.expressions), shapes("expression", self.expressions)
        )
        lower = answer(mixed("mix_lips", motion.lips, self.lips), shapes("lips", self.lips))
        face = (layout.upper + layout.lower)[:, None]
        free = (1 - layout.lower)[None, :, None] * upper + (1 - layout.upper)[None, :, None] * lower
        free = of_the_face(layout)[None, :, None] * free
        if self.pose != "none":
            outside = 1 - jnp.clip(face, 0, 1)
            colour = jnp.concatenate([jnp.full(n, float(name == "rgb")) for name, n in SIZES.items()])[None]
            follows = {"outside": outside, "shaded": jnp.maximum(outside, colour), "all": jnp.ones_like(outside)}
            free = free + follows[self.pose][None] * answer(motion.pose, shapes("pose", motion.pose.shape[-1]))
        return change(gaussians, allowed(layout, _split(free)))


def positional_encoding(x: Float[Array, "*b C"], octaves: int) -> Float[Array, "*b E"]:
    """x and its sines and cosines at 2⁰π … 2^(octaves−1)π (NeRF, arXiv 2003.08934, equation 4)."""
    scaled = [jnp.pi * 2.0**k * x for k in range(octaves)]
    return jnp.concatenate([x, *map(jnp.sin, scaled), *map(jnp.cos, scaled)], -1)


class DeformationField(nn.Module):
    """A network on position: where a Gaussian is, what the face does, how the head is held → its change.

    Expression and lips have a network each, so that either can be masked.
    """

    hidden: Sequence[int] = (64, 64)
    octaves: int = 4

    @nn.compact
    def __call__(self, gaussians: Gaussians, motion: Motion, layout: Layout) -> Gaussians:
        place = positional_encoding(gaussians.mean, self.octaves)

        def answer(given: Array) -> Array:
            # The condition enters through the first layer's bias, so that it costs nothing per Gaussian.
            condition = jnp.concatenate([given, motion.pose], -1)
            x = nn.relu(nn.Dense(self.hidden[0])(place) + nn.Dense(self.hidden[0])(condition)[:, None])
            for width in self.hidden[1:]:
                x = nn.relu(nn.Dense(width)(x))
            return jnp.tanh(nn.Dense(CHANNELS, kernel_init=nn.initializers.zeros)(x))

        upper, lower = answer(motion.expression), answer(motion.lips)
        free = (1 - layout.lower)[None, :, None] * upper + (1 - layout.upper)[None, :, None] * lower
        return change(gaussians, allowed(layout, _split(free)))
