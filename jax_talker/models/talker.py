"""The talker: adapted audio and blink → coefficients → a latent. Composition only; the parts are next door."""

from collections.abc import Sequence

import flax.linen as nn
from jaxtyping import Array, Float

from jax_talker.models.audio_adapter import AudioAdapter
from jax_talker.models.navigator import Bases, Coefficients, Navigator, walk
from jax_talker.types import Latent


class Talker(nn.Module):
    """Everything that is learnt while the anchor and the generator stand still."""

    num_ws: int
    w_dim: int
    expressions: int = 20
    lips: int = 30
    audio_features: int = 64
    attention: int = 8
    smoothing: int = 5
    hidden: Sequence[int] = (128, 128)
    gain: float = 1.0

    def setup(self):
        self.adapter = AudioAdapter(self.audio_features, self.attention, self.smoothing)
        self.navigator = Navigator(self.num_ws, self.w_dim, self.expressions, self.lips, tuple(self.hidden), self.gain)

    @property
    def reach(self) -> int:
        """A: neighbouring frames whose audio windows one frame needs."""
        return self.attention + self.smoothing - 1

    def bases(self) -> Bases:
        """The two orthonormal sets of directions."""
        return self.navigator.bases()

    def heard(
        self,
        expression_audio: Float[Array, "B A T F"],
        blink: Float[Array, "B"],
        lip_audio: Float[Array, "B A T F"],
        noise: Float[Array, "B N"] | None = None,
    ) -> Coefficients:
        """Coefficients of faces whose upper half hears ``expression_audio`` and whose lips hear ``lip_audio``.

        ``noise`` is training's (Navigator.expression).
        """
        expression = self.navigator.expression(self.adapter(expression_audio), blink, noise)
        return Coefficients(expression, self.navigator.lip(self.adapter(lip_audio)))

    def seen(self, expression: Float[Array, "B C"], lips: Float[Array, "B C2"]) -> Coefficients:
        """Coefficients of motion that is seen in landmarks (data.batches.motion_features)."""
        return self.navigator.seen(expression, lips)

    def walk(self, anchor: Float[Array, "L D"], coefficients: Coefficients) -> Latent:
        """The latents that coefficients lead to."""
        return walk(anchor, self.bases(), coefficients)

    def __call__(
        self,
        anchor: Float[Array, "L D"],
        audio: Float[Array, "B A T F"],
        blink: Float[Array, "B"],
        expression: Float[Array, "B C"],
        lips: Float[Array, "B C2"],
    ) -> Latent:
        """Runs every part once; what initialisation needs."""
        heard, seen = self.heard(audio, blink, audio), self.seen(expression, lips)
        return self.walk(anchor, Coefficients(*(a + b for a, b in zip(heard, seen, strict=True))))
