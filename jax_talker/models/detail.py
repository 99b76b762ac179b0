"""Personal detail: what a person has and no latent of the prior makes, one learnt residual for each Gaussian.

The residual is added for every latent alike, so a mole stays where the skin goes. Where no training frame looks it is
held at zero (``Layout.seen``), so that the prior answers for sides that were never filmed. Where detail is
wanted (eyes, mouth) a Gaussian of the prior may be divided into several, each with a residual of its own.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from jax_talker.geometry import quat_multiply, rotation_from_quat
from jax_talker.types import Gaussians

# One unit of a residual: what a step of the optimiser's rate moves. World units (0.03 is 11 mm), logarithms, radians,
# logits, sRGB.
UNITS = {"mean": 0.03, "scale": 0.5, "turn": 0.4, "opacity": 2.0, "rgb": 0.5}
# Sizes at which a residual's pull is as strong for each attribute, same units.
USUAL = {"mean": 0.02, "scale": 1.0, "turn": 1.0, "opacity": 4.0, "rgb": 0.25}
SIZES = {"mean": 3, "scale": 3, "turn": 3, "opacity": 1, "rgb": 3}
APART = 0.003  # world units, 1 mm: neighbours that go apart by this in depth
NEIGHBOURS = 8
LEAST_OPACITY = 1e-4  # logits are taken of [this, 1 − this]


@struct.dataclass
class Layout:
    """Which Gaussians a person has, and who may move them. Fixed while the person is learnt."""

    parent: Int[Array, " M"]  # the prior's Gaussian that each comes from
    offset: Float[Array, "M 3"]  # from its parent's centre, in the parent's standard deviations along its axes
    shrink: Float[Array, "M 3"]  # added to the logarithm of its parent's scale
    seen: Float[Array, " M"]  # 0 where no training frame looks … 1
    upper: Float[Array, " M"]  # 1: only expression may move it
    lower: Float[Array, " M"]  # 1: only lips may move it
    colours: Float[Array, " M"]  # 0: keeps the prior's colours … 1: takes on those of the pictures
    walks: Float[Array, " M"]  # 0: looks as the anchor draws it, wherever the latent is … 1: as the latent draws it
    near: Int[Array, "M 8"]  # neighbours, in whatever the face does (training.neighbours); itself where it has none
    tint: Float[Array, "M 3"]  # sRGB, added to the prior's colours: what neighbours tell of them (training.colouring)


Residual = dict[str, Array]
"""mean, scale, turn, rgb [M, 3] and opacity [M, 1], in ``UNITS``."""


def as_they_are(count: int) -> Layout:
    """The prior's Gaussians, undivided, all of them seen and free."""
    zeros = jnp.zeros((count, 3))
    ones, none = jnp.ones(count), jnp.zeros(count)
    return Layout(jnp.arange(count), zeros, zeros, ones, none, none, ones, ones, alone(count), zeros)


def alone(count: int) -> Int[Array, "M 8"]:
    """``Layout.near`` of Gaussians that have no neighbours."""
    return jnp.tile(jnp.arange(count)[:, None], (1, NEIGHBOURS))


def divided(layout: Layout, scale: Float[Array, "M 3"], chosen: Array) -> Layout:
    """``layout`` with the Gaussians ``chosen`` in four: two along each of their two longer axes (``scale``)."""
    kept = jnp.setdiff1d(jnp.arange(len(layout.parent)), chosen)
    order = jnp.argsort(-scale[chosen], axis=1)
    first, second = jax.nn.one_hot(order[:, 0], 3), jax.nn.one_hot(order[:, 1], 3)
    signs = [(a, b) for a in (-0.6, 0.6) for b in (-0.6, 0.6)]
    offset = jnp.concatenate([a * first + b * second for a, b in signs])
    shrink = jnp.tile(jnp.log(0.6) * (first + second), (4, 1))
    four = jax.tree.map(lambda x: jnp.concatenate([x[chosen]] * 4), layout)
    four = replace(four, offset=four.offset + offset, shrink=four.shrink + shrink)
    both = jax.tree.map(lambda a, b: jnp.concatenate([a[kept], b]), layout, four)
    return replace(both, near=alone(len(both.parent)))


def of_the_face(layout: Layout) -> Float[Array, " M"]:
    """1 where speech may move a Gaussian, 0 for hair and neck: what few frames teach there is chance (docs/method.md).

    With a soft edge: what is a sixth of a face (chin, cheeks) moves with it.
    """
    return jnp.clip(6 * (layout.upper + layout.lower), 0, 1)


def nothing(count: int) -> Residual:
    """A residual that changes nothing."""
    return {name: jnp.zeros((count, size)) for name, size in SIZES.items()}


def add_detail(gaussians: Gaussians, layout: Layout, residual: Residual, rest: Gaussians | None = None) -> Gaussians:
    """The person's Gaussians [B, M] from the prior's [B, N]; colours must be ``rgb``.

    What does not walk is taken from ``rest`` [1, N], the anchor's Gaussians; without them all walk.
    """
    parents = jax.tree.map(lambda x: x[:, layout.parent], gaussians)
    if rest is not None:
        parents = _walked(jax.tree.map(lambda x: x[:, layout.parent], rest), parents, layout.walks)
    away = parents.scale * layout.offset[None]
    axes = rotation_from_quat(parents.quat)
    parents = replace(
        parents,
        mean=parents.mean + jnp.einsum("bmij,bmj->bmi", axes, away, precision="highest"),
        scale=parents.scale * jnp.exp(layout.shrink)[None],
        rgb=None if parents.rgb is None else parents.rgb + layout.tint[None],
    )
    return change(parents, allowed(layout, {name: value[None] for name, value in residual.items()}))


def allowed(layout: Layout, by: dict[str, Float[Array, "#b M _"]]) -> dict[str, Float[Array, "#b M _"]]:
    """What is left of changes where they are held: nothing where no training frame looks, no colour where frames show
    the head's edge alone. Half of what is seen there is background, and a Gaussian that takes on its white shines from
    every other side."""
    free = {name: layout.seen * layout.colours if name == "rgb" else layout.seen for name in by}
    return {name: free[name][None, :, None] * value for name, value in by.items()}


def _walked(rest: Gaussians, there: Gaussians, walks: Float[Array, " M"]) -> Gaussians:
    """Each Gaussian as far on its way from ``rest`` as it walks."""
    turned = jnp.where(
        (rest.quat * there.quat).sum(-1, keepdims=True) < 0, -there.quat, there.quat
    )  # the same rotation
    between = lambda a, b: a + walks.reshape(1, -1, *(1,) * (a.ndim - 2)) * (b - a)  # noqa: E731
    return jax.tree.map(between, rest, replace(there, quat=turned))


def change(gaussians: Gaussians, by: dict[str, Float[Array, "#b M _"]]) -> Gaussians:
    """Move, scale, turn, recolour and fade Gaussians [B, M]; ``by`` is in ``UNITS``."""
    amount = {name: UNITS[name] * value for name, value in by.items()}
    half_turn = jnp.concatenate([jnp.ones_like(amount["turn"][..., :1]), 0.5 * amount["turn"]], -1)
    opacity = jnp.clip(gaussians.opacity, LEAST_OPACITY, 1 - LEAST_OPACITY)
    logit = jnp.log(opacity) - jnp.log1p(-opacity)
    if gaussians.rgb is None:
        raise ValueError("detail needs Gaussians with rgb; ask the prior for gaussians(), not gaussians_for_view()")
    return replace(
        gaussians,
        mean=gaussians.mean + amount["mean"],
        scale=gaussians.scale * jnp.exp(amount["scale"]),
        quat=quat_multiply(jnp.broadcast_to(half_turn, gaussians.quat.shape), gaussians.quat),
        opacity=jax.nn.sigmoid(logit + amount["opacity"][..., 0]),
        rgb=gaussians.rgb + amount["rgb"],
    )


def roughness(moves: Float[Array, "K M"], near: Int[Array, " M"]) -> Float[Array, ""]:
    """How far neighbours go apart by K sets of moves of M centres along the axis that the face looks along (z), in
    ``UNITS``: the mean over Gaussians of the sum of squares in units of ``APART``.

    ``near`` is one neighbour of each, a column of ``Layout.near``. It pulls, and is not pulled back: most are each
    other's neighbours, and the gradient of an index is a scatter, as slow as all else in a step. Where one camera
    looks, a Gaussian's depth is free, and what noise makes of it is seen from aside alone: jaws and lips with teeth,
    specks on cheeks.
    """
    rows = moves.T  # so that a neighbour's numbers lie together
    apart = (rows - jax.lax.stop_gradient(rows)[near]) * (UNITS["mean"] / APART)
    return (apart**2).sum(1).mean()


def size_of(residual: Residual) -> Float[Array, ""]:
    """Mean square of a residual, each attribute in units of ``USUAL``: what draws it back to the prior."""
    squares = [((UNITS[name] / USUAL[name] * value) ** 2).sum(-1).mean() for name, value in residual.items()]
    return jnp.stack(squares).sum()
