"""A picture of a head → the latent that draws it, in one pass: where inversion starts instead of at the mean face.

Small, because all that follows is descent on pictures. It has seen nothing but what its prior draws
(app/encoder_training.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_talker.geometry import split_label
from jax_talker.priors.base import Prior, Variables
from jax_talker.types import Latent

SIZE = 80  # pixels
WIDTHS = (24, 48, 96, 144, 192)  # channels at half, a quarter … of it
GROUPS = 8


class EncoderNet(nn.Module):
    """Five convolutions of stride 2, and two layers that know the camera as well."""

    out: int
    hidden: int = 224

    @nn.compact
    def __call__(self, image: Float[Array, "B S S 3"], label: Float[Array, "B 25"]) -> Float[Array, "B D"]:
        x = 2 * image - 1
        for k, width in enumerate(WIDTHS):
            x = nn.Conv(width, (5, 5) if k == 0 else (3, 3), (2, 2), name=f"conv{k}")(x)
            x = nn.leaky_relu(nn.GroupNorm(GROUPS, name=f"norm{k}")(x), 0.1)
        x = x.reshape(len(x), -1)
        place = split_label(label)[0][:, :3]
        camera = jnp.concatenate([place[..., :3].reshape(-1, 9), place[..., 3]], -1)
        x = nn.leaky_relu(nn.Dense(self.hidden, name="joined")(jnp.concatenate([x, camera], -1)), 0.1)
        return nn.Dense(self.out, kernel_init=nn.initializers.zeros, name="latent")(x)


@dataclass(frozen=True)
class Encoder:
    """An encoder of one prior without its arrays: ``{"net": Linen params, "spread": [D]}``."""

    prior: Prior

    def init(self, key: Array, spread: Float[Array, "D"]) -> dict[str, Any]:
        """Fresh parameters, which find the mean latent in every picture. ``spread`` is the deviation of each number of
        w: the unit of what is predicted."""
        net = EncoderNet(self.prior.w_dim)
        image, label = jnp.zeros((1, SIZE, SIZE, 3)), jnp.zeros((1, 25))
        return {"net": net.init(key, image, label)["params"], "spread": spread}

    def numbers(
        self, params: Mapping[str, Any], image: Float[Array, "B S S 3"], label: Float[Array, "B 25"]
    ) -> Float[Array, "B D"]:
        """What w is away from the mean, in units of ``spread``; pictures of SIZE²."""
        found: Any = EncoderNet(self.prior.w_dim).apply({"params": params["net"]}, image, label)
        return found

    def __call__(
        self,
        params: Mapping[str, Any],
        variables: Variables,
        image: Float[Array, "B H W 3"],
        label: Float[Array, "B 25"],
    ) -> Latent:
        """W+ [B, L, D], all rows alike, of pictures in [0, 1] of any size on the prior's background, and the labels of
        their cameras."""
        small = jax.image.resize(image, (len(image), SIZE, SIZE, 3), "linear", antialias=True)
        away = params["spread"][None] * self.numbers(params, small, label)
        return Latent(self.prior.mean_latent(variables)[None] + away[:, None])
