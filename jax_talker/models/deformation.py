"""A residual motion field: Gaussians move a little after the generator, by what the face does and how the head is held.

Off in the paper's method. It can express what a prior cannot (hair, the inside of the mouth) and is the motion model of
the field's other systems (TalkingGaussian, GaussianTalker). It starts as the identity.
"""

from collections.abc import Sequence
from dataclasses import replace

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_talker.geometry import quat_multiply
from jax_talker.types import Gaussians


def positional_encoding(x: Float[Array, "*b C"], octaves: int) -> Float[Array, "*b E"]:
    """x and its sines and cosines at 2⁰π … 2^(octaves−1)π (NeRF, arXiv 2003.08934, equation 4)."""
    scaled = [jnp.pi * 2.0**k * x for k in range(octaves)]
    return jnp.concatenate([x, *map(jnp.sin, scaled), *map(jnp.cos, scaled)], -1)


class DeformationField(nn.Module):
    """Per Gaussian: where it is, what the face does, how the head is held → change of mean, scale and rotation.

    The last layer is zero at the start, so a new field changes nothing. ``reach`` bounds the shift of a mean per axis
    (world units; 0.02 is about 7 mm), because a residual must not replace the prior.
    """

    hidden: Sequence[int] = (64, 64)
    octaves: int = 4
    reach: float = 0.02

    @nn.compact
    def __call__(
        self, gaussians: Gaussians, motion: Float[Array, "B M"], head_rotation: Float[Array, "B 3 3"]
    ) -> Gaussians:
        batch, count, _ = gaussians.mean.shape
        # The condition enters through the first layer's bias, so that it costs nothing per Gaussian.
        condition = jnp.concatenate([motion, head_rotation.reshape(batch, 9)], -1)
        x = nn.Dense(self.hidden[0])(positional_encoding(gaussians.mean, self.octaves))
        x = nn.relu(x + nn.Dense(self.hidden[0])(condition)[:, None])
        for width in self.hidden[1:]:
            x = nn.relu(nn.Dense(width)(x))
        change = nn.Dense(9, kernel_init=nn.initializers.zeros)(x)
        shift, stretch, turn = jnp.split(change, [3, 6], -1)
        half_turn = jnp.concatenate([jnp.ones((batch, count, 1), turn.dtype), 0.5 * turn], -1)
        return replace(
            gaussians,
            mean=gaussians.mean + self.reach * jnp.tanh(shift),
            scale=gaussians.scale * jnp.exp(0.5 * jnp.tanh(stretch)),
            quat=quat_multiply(half_turn, gaussians.quat),
        )
