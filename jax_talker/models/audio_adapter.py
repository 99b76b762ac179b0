"""The audio adapter: windows of raw features → one adapted vector per frame (supplement 1.5).

AudioNet and AudioAttNet are those of AD-NeRF (arXiv 2103.11078) as the field uses them; a small CNN over neighbouring
frames then adapts and smooths. Everything is a pure function of [B, A, T, F] windows around B target frames.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


def leaky(x: Array) -> Array:
    """LeakyReLU with the slope of AD-NeRF's audio networks."""
    return nn.leaky_relu(x, 0.02)


class AudioNet(nn.Module):
    """One frame's window of T = 16 feature steps → a vector: four stride-2 convolutions, two dense layers."""

    features: int = 64
    channels: Sequence[int] = (32, 32, 64, 64)

    @nn.compact
    def __call__(self, window: Float[Array, "*b T F"]) -> Float[Array, "*b D"]:
        x = window
        for width in self.channels:
            x = leaky(nn.Conv(width, (3,), strides=2, padding=1)(x))
        x = x.reshape(*window.shape[:-2], -1)
        x = leaky(nn.Dense(64)(x))
        return nn.Dense(self.features)(x)


class AudioAttNet(nn.Module):
    """A neighbourhood of frame vectors → their weighted mean; the weights come from the vectors themselves."""

    window: int = 8
    channels: Sequence[int] = (16, 8, 4, 2, 1)

    @nn.compact
    def __call__(self, frames: Float[Array, "*b S D"]) -> Float[Array, "*b D"]:
        x = frames
        for width in self.channels:
            x = leaky(nn.Conv(width, (3,), padding=1)(x))
        weights = nn.softmax(nn.Dense(self.window)(x[..., 0]))
        return jnp.einsum("...s,...sd->...d", weights, frames)


class AudioAdapter(nn.Module):
    """AudioNet → AudioAttNet over ``attention`` frames → a CNN over ``smoothing`` neighbouring results.

    Frame i is described by the windows of frames [i − h, i + h) with h = reach() // 2, so A = reach().
    """

    features: int = 64
    attention: int = 8
    smoothing: int = 5

    @property
    def reach(self) -> int:
        """A: how many neighbouring frames' windows one adapted vector looks at."""
        return self.attention + self.smoothing - 1

    @nn.compact
    def __call__(self, audio: Float[Array, "B A T F"]) -> Float[Array, "B D"]:
        if audio.shape[1] != self.reach:
            raise ValueError(f"the audio adapter looks at {self.reach} frames, got windows of {audio.shape[1]}")
        frames = AudioNet(self.features)(audio)
        sliding = jnp.stack([frames[:, s : s + self.attention] for s in range(self.smoothing)], 1)
        x = AudioAttNet(self.attention)(sliding)
        smooth = nn.Conv(self.features, (3,), padding=1)(x)
        smooth = nn.Conv(self.features, (self.smoothing,), padding="VALID")(leaky(smooth))[:, 0]
        return x[:, self.smoothing // 2] + smooth
