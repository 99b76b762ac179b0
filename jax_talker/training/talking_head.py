"""A talker on top of a person's generator: what training, evaluation and rendering all draw with."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from jax_talker.models.deformation import Blendshapes, DeformationField, Motion, Poses, pose_of
from jax_talker.models.detail import Layout, add_detail, nothing
from jax_talker.models.navigator import Coefficients
from jax_talker.models.talker import Talker
from jax_talker.priors.base import Prior, Variables
from jax_talker.rendering import FASTEST, Rasteriser, render
from jax_talker.types import FrameBatch, Gaussians, Latent, RenderOutput

Params = dict[str, Any]
"""What is learnt: ``anchor`` [L, D], ``camera`` [6] (training.cameras), ``detail`` (models.detail.Residual), ``talker``
and ``deformation`` (Linen params) and, where the generator is tuned as well, ``generator`` (its Linen params)."""


@struct.dataclass
class Fixed:
    """What stands still while a person is learnt."""

    variables: Variables  # the prior's
    layout: Layout
    poses: Poses
    rest: Gaussians | None = None  # [1, N] what the anchor draws, for Gaussians that do not walk; None: all of them do
    perceptual: Any = None  # weights of the loss's LPIPS network


@dataclass(frozen=True)
class TalkingHead:
    """Static; arrays travel beside it."""

    prior: Prior
    talker: Talker
    deformation: Blendshapes | DeformationField | None = None
    rasteriser: Rasteriser = FASTEST

    def init(self, key: Array, anchor: Float[Array, "L D"], layout: Layout, frames: FrameBatch) -> Params:
        """Parameters of a head that rests at ``anchor``; of ``frames`` only the shapes matter."""
        talk_key, move_key = jax.random.split(key)
        heard = (frames.audio, frames.blink, frames.expression, frames.lips)
        count = len(layout.parent)
        params: Params = {
            "anchor": anchor,
            "camera": jnp.zeros(6),
            "detail": nothing(count),
            "talker": self.talker.init(talk_key, anchor, *heard)["params"],
        }
        if self.deformation is not None:
            one = jnp.zeros((1, count, 3))
            gaussians = Gaussians(one, jnp.ones((1, count, 4)), one + 1, one[..., 0] + 0.5, rgb=one)
            rest = Coefficients(jnp.zeros((1, self.talker.expressions)), jnp.zeros((1, self.talker.lips)))
            motion = Motion(*rest, jnp.zeros((1, 5)))
            params["deformation"] = self.deformation.init(move_key, gaussians, motion, layout)["params"]
        return params

    def heard(
        self,
        params: Params,
        expression_audio: Float[Array, "B A T F"],
        blink: Float[Array, "B"],
        lip_audio: Float[Array, "B A T F"],
        noise: Float[Array, "B N"] | None = None,
    ) -> Coefficients:
        """Coefficients of faces whose upper half hears one sound and whose lips hear another (Talker.heard)."""
        found: Any = self.talker.apply(
            {"params": params["talker"]}, expression_audio, blink, lip_audio, noise, method=self.talker.heard
        )
        return found

    def seen(self, params: Params, expression: Float[Array, "B C"], lips: Float[Array, "B C2"]) -> Coefficients:
        """Coefficients of motion that is seen in landmarks."""
        found: Any = self.talker.apply({"params": params["talker"]}, expression, lips, method=self.talker.seen)
        return found

    def latent(self, params: Params, coefficients: Coefficients) -> Latent:
        """The latents that coefficients lead to."""
        found: Any = self.talker.apply(
            {"params": params["talker"]}, params["anchor"], coefficients, method=self.talker.walk
        )
        return Latent(found.w)

    def variables(self, params: Params, fixed: Fixed) -> Variables:
        """The generator's, the tuned ones where there are any."""
        return {**fixed.variables, "params": params["generator"]} if "generator" in params else fixed.variables

    def drawn(self, params: Params, fixed: Fixed, coefficients: Coefficients) -> Gaussians:
        """The generator's Gaussians [B, N], before anything of the person's own is added."""
        with jax.named_scope("prior"):
            return self.prior.gaussians(self.variables(params, fixed), self.latent(params, coefficients))

    def gaussians(
        self,
        params: Params,
        fixed: Fixed,
        coefficients: Coefficients,
        held: Float[Array, "V 25"],
        *,
        drawn: Gaussians | None = None,
        twice: int = 0,
    ) -> Gaussians:
        """The person's Gaussians [V, N] in the prior's world, as ``show`` renders them; its arguments."""
        drawn = self.drawn(params, fixed, coefficients) if drawn is None else drawn
        rest = fixed.rest
        if rest is not None and "generator" in params:
            rest = self.prior.gaussians(self.variables(params, fixed), Latent(params["anchor"][None]))
        gaussians = add_detail(drawn, fixed.layout, params["detail"], rest)
        if twice:  # not by an index, whose gradient is a scatter
            gaussians, coefficients = jax.tree.map(
                lambda x: jnp.concatenate([x, x[-twice:]]), (gaussians, coefficients)
            )
        if self.deformation is not None:
            gain = self.talker.gain
            pose = pose_of(held, fixed.poses)
            motion = Motion(coefficients.expression / gain, coefficients.lips / gain, pose)
            with jax.named_scope("deformation"):
                moved: Any = self.deformation.apply({"params": params["deformation"]}, gaussians, motion, fixed.layout)
            gaussians = moved
        return gaussians

    def show(
        self,
        params: Params,
        fixed: Fixed,
        coefficients: Coefficients,
        held: Float[Array, "V 25"],
        label: Float[Array, "V 25"],
        size: int,
        *,
        drawn: Gaussians | None = None,
        twice: int = 0,
    ) -> RenderOutput:
        """Render faces [B] from cameras ``label`` [V].

        ``held`` is the label under which the head is held: that of the camera that films it, also where it is looked
        at from another one. ``drawn`` are the generator's Gaussians where they are known already. The last ``twice``
        faces are made once and looked at by two cameras each (V = B + twice, the second ones at the end).
        """
        gaussians = self.gaussians(params, fixed, coefficients, held, drawn=drawn, twice=twice)
        camera = self.prior.camera(label, size)
        with jax.named_scope("raster"):
            return render(gaussians, camera, size=size, background=self.prior.background, rasteriser=self.rasteriser)
