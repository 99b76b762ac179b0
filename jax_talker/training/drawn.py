"""What a generator that stands still draws of a clip's frames: drawn once, and kept."""

import threading
from typing import Any

import jax
import numpy as np

from jax_talker.priors.base import draw
from jax_talker.training.talking_head import Fixed, Params, TalkingHead
from jax_talker.types import FrameBatch, Gaussians

LIMIT = 2**30  # bytes of Gaussians kept in memory; the rest is drawn each time


class DrawnFrames:
    """The generator's Gaussians [B, N] of frames, led by the motion that landmarks show.

    For stages that learn nothing in front of them: anchor, talker and generator must be as they were. A frame is drawn
    by itself, so that it has the same bits in whatever batch it comes, in a resumed run as in an unbroken one.
    """

    def __init__(self, head: TalkingHead, params: Params, fixed: Fixed, limit: int = LIMIT):
        needed = {name: params[name] for name in ("anchor", "talker", "generator") if name in params}
        self._params = jax.tree.map(np.asarray, needed)  # a copy: the stage's own state is donated
        self._variables = head.variables(self._params, fixed)
        self._prior = head.prior
        self._latent: Any = jax.jit(lambda p, expression, lips: head.latent(p, head.seen(p, expression, lips)))
        self._left = limit
        self.full = False  # whether a frame did not fit: no more are kept
        self._kept: dict[int, list[np.ndarray]] = {}
        self._drawing = threading.Lock()  # batches are made side by side; what one draws, the others need not

    def __call__(self, frames: FrameBatch) -> Gaussians:
        """Of each frame of a batch, by its index; NumPy arrays."""
        with self._drawing:
            one = [self._leaves(int(index), frames, at) for at, index in enumerate(np.asarray(frames.index))]
        return self._tree.unflatten([np.concatenate(x) for x in zip(*one, strict=True)])

    def _leaves(self, index: int, frames: FrameBatch, at: int) -> list[np.ndarray]:
        if index in self._kept:
            return self._kept[index]
        latent = self._latent(self._params, frames.expression[at : at + 1], frames.lips[at : at + 1])
        drawn = draw(self._prior, self._variables, latent)
        leaves, self._tree = jax.tree.flatten(drawn)
        leaves = jax.device_get(leaves)
        size = sum(x.nbytes for x in leaves)
        self.full |= size > self._left
        if not self.full:
            self._left -= size
            self._kept[index] = leaves
        return leaves
