"""Learn to navigate: masked cross-view supervision of expression and lip directions (method.md 4 and 5).

The upper face hears frame i, the lips hear frame j. The one mixed latent is rendered from both frames' cameras; camera
i answers for the upper face, camera j for the lower one. Neither branch can explain what belongs to the other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jax_talker.geometry import split_label
from jax_talker.losses import l1
from jax_talker.models.deformation import DeformationField
from jax_talker.models.navigator import Coefficients
from jax_talker.models.talker import Talker
from jax_talker.priors.base import Prior, Variables
from jax_talker.rendering import FASTEST, Rasteriser, render, render_views
from jax_talker.training.objective import ImageLoss
from jax_talker.training.state import TrainState, descend
from jax_talker.types import FrameBatch, Gaussians, Latent, RenderOutput


@dataclass(frozen=True)
class NavigationWeights:
    """Weights of the two masked losses and of what surrounds them."""

    upper: float = 1.0
    lower: float = 1.0
    outside: float = 0.1  # outside both masks, where i = j
    smooth: float = 1e-4  # squared change of coefficients between successive frames
    size: float = 1e-5  # squared coefficients


@dataclass(frozen=True)
class TalkingHead:
    """A talker on top of a frozen prior: what training and rendering both need. Static; arrays travel beside it."""

    prior: Prior
    talker: Talker
    deformation: DeformationField | None = None
    rasteriser: Rasteriser = FASTEST

    def init(self, key: Array, audio: Float[Array, "B A T F"]) -> Any:
        """Parameters of the talker and, when there is one, of the deformation field."""
        blink = jnp.zeros(len(audio))
        anchor = jnp.zeros((self.prior.num_ws, self.prior.w_dim))
        talk_key, move_key = jax.random.split(key)
        params = {"talker": self.talker.init(talk_key, anchor, audio, blink, audio)["params"]}
        if self.deformation is not None:
            one = (1, self.prior.num_gaussians)
            zeros, ones = jnp.zeros((*one, 3)), jnp.ones((*one, 4))
            gaussians = Gaussians(zeros, ones, zeros + 1, ones[..., 0], rgb=zeros)  # only their shapes matter here
            motion = jnp.zeros((1, self.talker.expressions + self.talker.lips))
            params["deformation"] = self.deformation.init(move_key, gaussians, motion, jnp.eye(3)[None])["params"]
        return params

    def latents(
        self,
        params: Any,
        anchor: Float[Array, "L D"],
        expression_audio: Float[Array, "B A T F"],
        blink: Float[Array, "B"],
        lip_audio: Float[Array, "B A T F"],
    ) -> tuple[Latent, Coefficients]:
        """Mixed latents: the upper face hears one sound, the lips another."""
        mixed: Any = self.talker.apply({"params": params["talker"]}, anchor, expression_audio, blink, lip_audio)
        return mixed

    def show(
        self,
        params: Any,
        variables: Variables,
        latent: Latent,
        coefficients: Coefficients,
        label: Float[Array, "B 25"],
        size: int,
    ) -> RenderOutput:
        """Render latents [B] from one camera each."""
        gaussians = self.prior.gaussians(variables, latent)
        if self.deformation is not None:
            motion = jnp.concatenate(coefficients, -1)
            rotation = split_label(label)[0][:, :3, :3]
            moved: Any = self.deformation.apply({"params": params["deformation"]}, gaussians, motion, rotation)
            gaussians = moved
        camera = self.prior.camera(label, size)
        return render(gaussians, camera, size=size, background=self.prior.background, rasteriser=self.rasteriser)

    def show_twice(
        self,
        params: Any,
        variables: Variables,
        latent: Latent,
        coefficients: Coefficients,
        labels: tuple[Float[Array, "B 25"], Float[Array, "B 25"]],
        size: int,
    ) -> tuple[RenderOutput, RenderOutput]:
        """Render latents [B] from two cameras each; without a deformation field the Gaussians are made once."""
        if self.deformation is not None:  # the field depends on the head's pose, so each camera has its own Gaussians
            one, two = (self.show(params, variables, latent, coefficients, label, size) for label in labels)
            return one, two
        gaussians = self.prior.gaussians(variables, latent)
        cameras = jax.tree.map(lambda *pair: jnp.stack(pair, 1), *(self.prior.camera(label, size) for label in labels))
        seen = render_views(gaussians, cameras, size=size, background=self.prior.background, rasteriser=self.rasteriser)
        one, two = (jax.tree.map(lambda x, v=v: x[:, v], seen) for v in range(2))
        return one, two


def make_navigation_step(
    head: TalkingHead,
    optimiser: optax.GradientTransformation,
    loss: ImageLoss,
    weights: NavigationWeights,
) -> Callable[..., tuple[TrainState, dict[str, Array]]]:
    """A step(state, variables, anchor, i, j): ``i`` and ``j`` are FrameBatches of ClipFrames.pairs (data.batches)."""

    def step(
        state: TrainState, variables: Variables, anchor: Float[Array, "L D"], i: FrameBatch, j: FrameBatch
    ) -> tuple[TrainState, dict[str, Array]]:
        size = i.image.shape[1]
        same = (i.index == j.index).astype(jnp.float32)[:, None, None]

        def objective(params: Any) -> tuple[Array, dict[str, Array]]:
            latent, coefficients = head.latents(params, anchor, i.audio, i.blink, j.audio)
            from_i, from_j = head.show_twice(params, variables, latent, coefficients, (i.label, j.label), size)
            upper = loss(from_i.image, i.image, i.upper)
            lower = loss(from_j.image, j.image, j.lower)
            outside = l1(from_i.image, i.image, same * (1 - i.upper) * (1 - i.lower))
            both = jnp.concatenate(coefficients, -1)
            smooth = ((both[0::2] - both[1::2]) ** 2).sum(-1).mean()
            square = (both**2).sum(-1).mean()
            mse = (((from_j.image - j.image) ** 2).mean(-1) * j.lower).sum() / j.lower.sum()
            measured = {
                "upper": upper,
                "lower": lower,
                "outside": outside,
                "smooth": smooth,
                "walk": jnp.sqrt(square),
                "psnr_lower": -10 * jnp.log10(mse),
                "overflow": from_i.overflow.sum() + from_j.overflow.sum(),
            }
            total = weights.upper * upper + weights.lower * lower + weights.outside * outside
            return total + weights.smooth * smooth + weights.size * square, measured

        return descend(state, optimiser, objective)

    return step
