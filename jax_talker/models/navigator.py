"""Navigation in W+: w = w_can + Σ α_exp·B_exp + Σ α_lip·B_lip, with two orthonormal sets of learnt directions.

Expression coefficients come from audio and blink, lip coefficients from audio alone (method.md 3 and 4). Without any
expression direction the lips' set answers for the whole face and hears both: the one joint set of HFA-GP (Bai et al.,
CVPR 2023), on the same generator HFA-GP*.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_talker.types import Latent

BLINKS = 1e-3  # ridge of what lids are seen to do, frames: a clip without a blink tells nothing
BESIDES = 0.03  # ridge of what moves with lids, frames
SHARE = 1 / 3  # of a typical walk that one deviation of a motion feature is at first
RANK = 1e-3  # of the longest of given directions; what is shorter is rounding
EXPRESSION_CHANNEL, CHANNEL_NOISE = 4, 2.0  # numbers in ±1 through which the upper face hears, and their noise


class Coefficients(NamedTuple):
    """How far to walk along each direction; the same units as W+."""

    expression: Float[Array, "*b E"]
    lips: Float[Array, "*b P"]


class Bases(NamedTuple):
    """Directions in W+, orthonormal over both sets together."""

    expression: Float[Array, "E L D"]
    lips: Float[Array, "P L D"]


def orthonormal(expression: Float[Array, "E L D"], lips: Float[Array, "P L D"]) -> Bases:
    """One QR over both raw sets, so that B_exp ⟂ B_lip as well. Needs E + P ≤ L·D.

    Each direction keeps the side of its raw vector (R's diagonal is made positive), so that bases which are orthonormal
    already stay as they are and a training step cannot flip one.
    """
    raw = jnp.concatenate([expression, lips])
    if raw.shape[0] > raw[0].size:
        raise ValueError(f"{raw.shape[0]} directions cannot be orthogonal in a space of {raw[0].size}")
    q, r = jnp.linalg.qr(raw.reshape(raw.shape[0], -1).T)
    q = q * jnp.where(jnp.diagonal(r) < 0, -1.0, 1.0)[None]
    directions = q.T.reshape(raw.shape)
    return Bases(directions[: expression.shape[0]], directions[expression.shape[0] :])


def walk(anchor: Float[Array, "L D"], bases: Bases, coefficients: Coefficients) -> Latent:
    """The latents [B, L, D] that the coefficients [B, ·] lead to from the anchor."""
    steps = jnp.einsum("bk,kld->bld", coefficients.expression, bases.expression)
    steps += jnp.einsum("bk,kld->bld", coefficients.lips, bases.lips)
    return Latent(anchor[None] + steps)


def _as_it_is(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
    """A third of each motion feature along a direction of its own: features have unit deviation, a walk is shorter."""
    del key
    return SHARE * jnp.eye(*shape, dtype=dtype)


def led_along(
    params: Mapping[str, Any], expression: Float[Array, "C L D"], lips: Float[Array, "C2 L D"], gain: float
) -> dict[str, Any]:
    """A navigator's parameters with which each motion feature leads along its own given direction of W+, as far as
    there are as many directions as that takes; a feature whose given direction is zero keeps one of its own by chance.
    Expression and lips must be orthogonal; one joint set takes both."""
    params = dict(params)
    given = {"expression": expression, "lips": lips}
    if "raw_expression" not in params:
        given = {"lips": jnp.concatenate([expression, lips])}
    flat = {name: x.reshape(len(x), -1) for name, x in given.items()}
    axes = {name: _axes(x)[: len(params[f"raw_{name}"])] for name, x in flat.items()}
    taken = jnp.concatenate([*axes.values()])
    for name, along in axes.items():
        raw, kernel = params[f"raw_{name}"], jnp.zeros_like(params[f"seen_{name}"]["kernel"])
        rest = raw[len(along) :].reshape(-1, taken.shape[1])
        rest = rest - (rest @ taken.T) @ taken  # or the QR would turn later directions away from earlier ones
        params[f"raw_{name}"] = jnp.concatenate([along, rest]).reshape(raw.shape)
        kernel = kernel.at[:, : len(along)].set(flat[name] @ along.T / gain)
        untold = jnp.flatnonzero(~flat[name].any(1))[: len(rest)]
        params[f"seen_{name}"] = {"kernel": kernel.at[untold, len(along) + jnp.arange(len(untold))].set(SHARE)}
    return params


def _axes(vectors: Float[Array, "C D"]) -> Float[Array, "R D"]:
    """Orthonormal axes that span vectors, the longest first; fewer where some say the same."""
    _, sizes, axes = jnp.linalg.svd(vectors, full_matrices=False)
    return axes[sizes > RANK * sizes.max(initial=1e-9)]


def blinking(
    params: Mapping[str, Any],
    blink: Float[Array, "T"],
    seen: Float[Array, "T E"],
    gain: float,
    besides: Float[Array, "T U"] | None = None,
) -> dict[str, Any]:
    """A navigator's parameters whose expression follows the blink as ``seen`` coefficients do in the same frames, by
    least squares; one joint set has no such path, and stays as it is.

    What ``besides`` explains (brows) is not the blink's: of somebody who frowns with closed eyes, lids close alone.
    """
    if "blink" not in params:
        return dict(params)
    causes = blink[:, None] if besides is None else jnp.concatenate([blink[:, None], besides], -1)
    causes = causes - causes.mean(0, keepdims=True)
    answer = (seen - seen.mean(0, keepdims=True)) / gain
    # More of it on what stands besides, so that of causes that are never seen apart the blink moves the lids.
    ridge = jnp.diag(jnp.where(jnp.arange(causes.shape[1]) == 0, BLINKS, BESIDES))
    slope = jnp.linalg.solve(causes.T @ causes + ridge, causes.T @ answer)[:1]
    return {**params, "blink": slope}


class Encoder(nn.Module):
    """A small MLP that ends at zero: before training every face rests at the anchor."""

    out: int
    hidden: Sequence[int]

    @nn.compact
    def __call__(self, x: Float[Array, "B D"]) -> Float[Array, "B K"]:
        for width in self.hidden:
            x = nn.leaky_relu(nn.Dense(width)(x), 0.2)
        return nn.Dense(self.out, kernel_init=nn.initializers.zeros)(x)


class Navigator(nn.Module):
    """Raw bases and what leads along them. ``gain``, the length of a typical walk, is the unit of coefficients.

    Two ways lead to coefficients: the encoders hear, and linear maps take a face's motion as it is seen in landmarks
    (data.batches.motion_features). The second one finds the bases before anything has been heard, and is what the
    encoders are first regressed on. ``expressions`` = 0: one joint set, that of the lips.
    """

    num_ws: int
    w_dim: int
    expressions: int = 20
    lips: int = 30
    hidden: Sequence[int] = (128, 128)
    gain: float = 1.0

    def setup(self):
        def initial(key: Array, shape: tuple[int, ...]) -> Array:
            return jax.random.normal(key, shape) / jnp.sqrt(shape[-1] * shape[-2])

        if self.expressions:
            self.raw_expression = self.param("raw_expression", initial, (self.expressions, self.num_ws, self.w_dim))
            self.expression_channel = nn.Dense(EXPRESSION_CHANNEL)
            self.expression_encoder = Encoder(self.expressions, self.hidden)
            self.blink = self.param("blink", nn.initializers.zeros, (1, self.expressions))
            self.seen_expression = nn.Dense(self.expressions, use_bias=False, kernel_init=_as_it_is)
        else:
            self.raw_expression = jnp.zeros((0, self.num_ws, self.w_dim))
        self.raw_lips = self.param("raw_lips", initial, (self.lips, self.num_ws, self.w_dim))
        self.lip_encoder = Encoder(self.lips, self.hidden)
        self.seen_lips = nn.Dense(self.lips, use_bias=False, kernel_init=_as_it_is)

    def bases(self) -> Bases:
        """Orthonormal directions, as of now."""
        return orthonormal(self.raw_expression, self.raw_lips)

    def seen(self, expression: Float[Array, "B C"], lips: Float[Array, "B C2"]) -> Coefficients:
        """Coefficients of a face's motion as landmarks show it."""
        if not self.expressions:
            both = jnp.concatenate([expression, lips], -1)
            return Coefficients(jnp.zeros((len(lips), 0)), self.gain * self.seen_lips(both))
        return Coefficients(self.gain * self.seen_expression(expression), self.gain * self.seen_lips(lips))

    def expression(
        self, audio: Float[Array, "B D"], blink: Float[Array, "B"], noise: Float[Array, "B N"] | None = None
    ) -> Float[Array, "B E"]:
        """Upper-face coefficients of adapted audio and blink (0 open … 1 closed).

        Brows follow speech a little and lids not at all, while every moment's sound is unlike any other: an encoder
        that hears it all learns the training frames by heart (measured: three times the error of saying nothing). So
        sound comes through a narrow channel, into which training gives ``noise`` (of unit deviation, CHANNEL_NOISE
        times), and it does not turn the adapter, which is the lips'. Lids follow the blink as ``blinking`` found, and
        nothing else does: what learnt it from pictures learnt the brows that mostly come with it.
        """
        narrow = nn.tanh(self.expression_channel(jax.lax.stop_gradient(audio)))
        if noise is not None:
            narrow = narrow + CHANNEL_NOISE * noise
        lids = blink[:, None] @ jax.lax.stop_gradient(self.blink)
        return self.gain * (self.expression_encoder(narrow) + lids)

    def lip(self, audio: Float[Array, "B D"]) -> Float[Array, "B P"]:
        """Lower-face coefficients of adapted audio."""
        return self.gain * self.lip_encoder(audio)

    def whole(self, audio: Float[Array, "B D"], blink: Float[Array, "B"]) -> Coefficients:
        """The joint set's coefficients of adapted audio and blink."""
        heard = jnp.concatenate([audio, blink[:, None]], -1)
        return Coefficients(jnp.zeros((len(audio), 0)), self.gain * self.lip_encoder(heard))
