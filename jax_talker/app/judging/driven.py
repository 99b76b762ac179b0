"""What a head could show if it were driven perfectly: coefficients fitted to the held-out pictures themselves.

The generator, the bases, the detail and the field stand still; only how far to walk along each direction is looked for,
frame by frame. What such a picture still lacks, no better hearing would bring.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from jax_talker.app import builders, talking
from jax_talker.app.speaking import GROWTHS, Speaker
from jax_talker.data.clip.clip import Clip
from jax_talker.errors import UserError
from jax_talker.models.navigator import Coefficients
from jax_talker.training.objective import ImageLoss
from jax_talker.training.state import cosine
from jax_talker.training.talking_head import Fixed, Params, TalkingHead
from jax_talker.types import FrameBatch

STEPS = 60
RATE = 0.1  # of Adam, typical walks
LOSS = ImageLoss(l1=1.0, ssim=0.2)


@dataclass(frozen=True)
class Driven:
    """Frames of a clip and the coefficients [n, ·] that show them best."""

    indices: np.ndarray  # [n]
    coefficients: Coefficients

    def frames(self, speaker: Speaker, held: np.ndarray, label: np.ndarray, size: int) -> Iterator[np.ndarray]:
        """What the head shows of them from the cameras ``label`` [n, 25]: [size, size, 3] uint8, in order."""
        for part, own in talking.batches_of(np.arange(len(self.indices)), speaker.batch):
            some = jax.tree.map(lambda x, i=part: jnp.asarray(x[i]), self.coefficients)
            shown = speaker.pictures(some, jnp.asarray(held[part]), jnp.asarray(label[part]), size)
            yield from np.asarray(jnp.round(shown * 255).astype(jnp.uint8))[:own]


def drive(
    config: Any,
    speaker: Speaker,
    clip: Clip,
    indices: np.ndarray,
    bar: Callable[[Iterable[Any], str, int | None], Iterable[Any]],
) -> Driven:
    """Fit the frames ``indices`` of a clip (its cameras as the run corrected them), each by itself.

    Each begins where sound or where landmarks lead, whichever is nearer to the picture, and keeps the best of ``STEPS``
    steps, so that no frame is worse than either.
    """
    frames = builders.clip_frames(config, clip, clip, speaker.reach, speaker.motion)
    heard = talking.spoken(config, speaker, frames.windows, clip.arrays["blink"], clip.boundaries)
    found = []
    total = -(-len(indices) // speaker.batch)
    for part, own in bar(talking.batches_of(indices, speaker.batch), "fitting held-out frames", total):
        batch = frames.frames(part)
        starts = [jax.tree.map(lambda x, i=part: jnp.asarray(x[i]), heard), speaker.seen(batch.expression, batch.lips)]
        best = _fitted(speaker, starts, batch)
        found.append(jax.tree.map(lambda x, n=own: np.asarray(x[:n]), best))
    return Driven(indices, jax.tree.map(lambda *parts: np.concatenate(parts), *found))


def _fitted(speaker: Speaker, starts: list[Coefficients], batch: FrameBatch) -> Coefficients:
    """Frames [B] at once; Adam's steps do not mix them."""
    for _ in range(GROWTHS):
        best, lost = _descended(speaker, starts, batch)
        if not lost:
            return best
        count, size = len(speaker.fixed.layout.parent), batch.image.shape[1]
        speaker.head = replace(speaker.head, rasteriser=speaker.head.rasteriser.grown(count, size, lost))
    raise UserError("the fitted pictures need more room than the rasteriser can be given; use --ceiling_every=0")


def _descended(speaker: Speaker, starts: list[Coefficients], batch: FrameBatch) -> tuple[Coefficients, int]:
    """The best coefficients, and pairs that the rasteriser had no room for."""
    look = functools.partial(_look, speaker.head, speaker.params, speaker.fixed, batch)
    best, *others = starts
    nearest, _, missed = look(best)
    lost = int(missed)
    for start in others:
        distance, _, missed = look(start)
        lost = max(lost, int(missed))
        best, nearest = _nearer(start, distance, best, nearest)
    now, state = best, _ADAM.init(best)
    for step in range(STEPS):
        distance, gradient, missed = look(now)
        lost = max(lost, int(missed))
        best, nearest = _nearer(now, distance, best, nearest)
        rate = RATE * speaker.head.talker.gain * cosine(step, STEPS)
        updates: Any
        updates, state = _ADAM.update(gradient, state)
        now = jax.tree.map(lambda x, u, r=rate: x - r * u, now, updates)
        if lost:
            break
    return _nearer(now, look(now)[0], best, nearest)[0], lost


_ADAM = optax.scale_by_adam(b1=0.9, b2=0.99)


def _nearer(a: Coefficients, a_distance: Array, b: Coefficients, b_distance: Array) -> tuple[Coefficients, Array]:
    """Of two guesses of the same frames, the better one of each."""
    closer = a_distance < b_distance
    return jax.tree.map(lambda x, y: jnp.where(closer[:, None], x, y), a, b), jnp.minimum(a_distance, b_distance)


@functools.partial(jax.jit, static_argnames="head")
def _look(
    head: TalkingHead, params: Params, fixed: Fixed, batch: FrameBatch, coefficients: Coefficients
) -> tuple[Float[Array, " B"], Coefficients, Array]:
    """How far each picture is off, where that gets less, and pairs that did not fit."""

    def off(found: Coefficients) -> tuple[Array, tuple[Array, Array]]:
        shown = head.show(params, fixed, found, batch.label, batch.label, batch.image.shape[1])
        each = jax.vmap(lambda image, truth, mask: LOSS(image[None], truth[None], mask[None]))
        distance = each(shown.image, batch.image, batch.valid)
        return distance.sum(), (distance, shown.overflow.max())

    gradient, (distance, lost) = jax.grad(off, has_aux=True)(coefficients)
    return distance, gradient, lost
