"""A trained talking head with all its arrays: sound and cameras in, pictures out."""

import functools
from dataclasses import dataclass, replace
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.ndimage import gaussian_filter1d

from jax_talker.data.batches.motion_features import MotionSpace
from jax_talker.data.clip.clip import Clip
from jax_talker.data.read.boundaries import by_recording
from jax_talker.errors import UserError
from jax_talker.models.navigator import Coefficients
from jax_talker.training.cameras import move_labels
from jax_talker.training.talking_head import Fixed, Params, TalkingHead
from jax_talker.types import Gaussians, RenderOutput

GROWTHS = 8  # times the rasteriser may get more room for one picture


@functools.partial(jax.jit, static_argnames="head")
def _heard(head: TalkingHead, params: Params, audio: Array, blink: Array) -> Coefficients:
    return head.heard(params, audio, blink, audio)


@functools.partial(jax.jit, static_argnames="head")
def _seen(head: TalkingHead, params: Params, expression: Array, lips: Array) -> Coefficients:
    return head.seen(params, expression, lips)


@functools.partial(jax.jit, static_argnames=("head", "size"))
def _shown(
    head: TalkingHead, params: Params, fixed: Fixed, coefficients: Coefficients, held: Array, label: Array, size: int
) -> RenderOutput:
    return head.show(params, fixed, coefficients, held, label, size)


@functools.partial(jax.jit, static_argnames="head")
def _formed(head: TalkingHead, params: Params, fixed: Fixed, coefficients: Coefficients, held: Array) -> Gaussians:
    return head.gaussians(params, fixed, coefficients, held)


@dataclass
class Speaker:
    """Its programs take batches of ``batch`` frames, so that each is compiled once for everything that shows a head.

    The rasteriser gets more room when a picture needs it; nothing is ever left out of one in silence. In pictures
    larger than those that the head was learnt from Gaussians stay as wide as they were there, with the pixel that the
    rasteriser adds to each: a smaller one leaves gaps between them.
    """

    head: TalkingHead
    fixed: Fixed
    params: Params
    motion: MotionSpace  # what ``seen`` counts in
    learnt: int = 0  # pixels on a side of the pictures that it was learnt from; 0: not known

    batch: ClassVar[int] = 8

    @property
    def reach(self) -> int:
        """Neighbouring frames whose audio windows one frame needs."""
        return self.head.talker.reach

    @property
    def usual(self) -> np.ndarray:
        """The EG3D label [25] under which the person holds the head mostly."""
        return np.asarray(self.fixed.poses.usual)

    @property
    def rest(self) -> Coefficients:
        """The canonical face [batch]: eyes open, mouth at rest."""
        talker = self.head.talker
        return Coefficients(jnp.zeros((self.batch, talker.expressions)), jnp.zeros((self.batch, talker.lips)))

    def with_corrected_cameras(self, clip: Clip) -> Clip:
        """The clip with the cameras under which this person's generator sees it (training.cameras.move_labels)."""
        camera = self.params["camera"]
        if not camera.any():
            return clip
        label = np.asarray(move_labels(jnp.asarray(clip.arrays["label"]), camera))
        return replace(clip, arrays={**clip.arrays, "label": label})

    def heard(self, audio: Float[Array, "B A T F"], blink: Float[Array, "B"]) -> Coefficients:
        """Coefficients of frames that hear ``audio`` and blink."""
        return _heard(self._without_room, self.params, audio, blink)

    def seen(self, expression: Float[Array, "B C"], lips: Float[Array, "B C2"]) -> Coefficients:
        """Coefficients of motion that is seen in landmarks."""
        return _seen(self._without_room, self.params, expression, lips)

    @property
    def _without_room(self) -> TalkingHead:
        """The head as programs see it that render nothing: more room compiles none of them again."""
        return replace(self.head, rasteriser=replace(self.head.rasteriser, capacity=None))

    def gaussians(self, coefficients: Coefficients, held: Float[Array, "B 25"]) -> Gaussians:
        """The head itself [B, N] in its prior's world, of faces that are held as under the label ``held``."""
        return _formed(self._without_room, self.params, self.fixed, coefficients, held)

    def pictures(
        self, coefficients: Coefficients, held: Float[Array, "B 25"], label: Float[Array, "B 25"], size: int
    ) -> Float[Array, "B H W 3"]:
        """Frames in [0, 1] of faces that are held as under the label ``held``, seen from the cameras ``label``."""
        return jnp.clip(self.shown(coefficients, held, label, size).image, 0, 1)

    def shown(
        self, coefficients: Coefficients, held: Float[Array, "B 25"], label: Float[Array, "B 25"], size: int
    ) -> RenderOutput:
        """``pictures`` with all that was rendered: how much each pixel is covered, depth, …"""
        pixel = max(1.0, size / self.learnt) if self.learnt else 1.0
        for _ in range(GROWTHS):
            head = replace(self.head, rasteriser=replace(self.head.rasteriser, pixel=pixel))
            shown = _shown(head, self.params, self.fixed, coefficients, held, label, size)
            if bad := int(shown.skipped.max()):
                raise UserError(
                    f"{bad} of the head's Gaussians are not finite and would be left out of the picture: its training "
                    "diverged or its files are damaged; go on from an earlier checkpoint, or train it anew"
                )
            lost = int(shown.overflow.max())
            if lost == 0:
                return shown
            count = len(self.fixed.layout.parent)
            self.head = replace(self.head, rasteriser=self.head.rasteriser.grown(count, size, lost))
        raise UserError(
            f"a picture of {size}² needs more room than the rasteriser can be given; choose a smaller --size"
        )


def smoothed(coefficients: Coefficients, sigma: float, boundaries: tuple[int, ...] = ()) -> Coefficients:
    """Coefficients [T, ·] of successive frames, smoothed in time: ``sigma`` frames, each recording by itself."""
    if not sigma:
        return coefficients
    smooth = lambda x: gaussian_filter1d(x, sigma, axis=0, mode="nearest")  # noqa: E731
    return Coefficients(*(jnp.asarray(by_recording(smooth, np.asarray(c), boundaries)) for c in coefficients))
