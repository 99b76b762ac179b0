"""How far the two sets of coefficients keep to their own part of the face (method.md 5)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_talker.app.speaking import Speaker
from jax_talker.app.talking import batches_of
from jax_talker.data.batches.dataset import ClipFrames
from jax_talker.models.navigator import Coefficients
from jax_talker.types import FrameBatch


@jax.jit
def _moved(image: Float[Array, "B H W 3"], rest: Float[Array, "B H W 3"], batch: FrameBatch) -> Float[Array, "B 2"]:
    """Mean absolute change [B, 2] of the pixels of the upper and of the lower face."""
    change = jnp.abs(image - rest).mean(-1)
    masks = jnp.stack([batch.upper, batch.lower], 1) * batch.valid[:, None]
    return (change[:, None] * masks).sum((2, 3)) / jnp.maximum(masks.sum((2, 3)), 1e-6)


def leakage(speaker: Speaker, frames: ClipFrames, indices: np.ndarray, coefficients: Coefficients) -> dict[str, float]:
    """What lips change in the upper face, in per cent of what they change in the lower one, and the reverse.

    Each set of ``coefficients`` (of all frames of the clip) moves alone, in the frames ``indices``. NaN where nothing
    moves.
    """
    by_lips, by_expression = np.zeros(2), np.zeros(2)
    for part, count in batches_of(indices, speaker.batch):
        batch = frames.frames(part)
        expression, lips = (jnp.asarray(c[part]) for c in coefficients)
        show = lambda c, b=batch: speaker.pictures(c, b.label, b.label, b.image.shape[1])  # noqa: E731
        rest = show(speaker.rest)
        moved = _moved(show(Coefficients(speaker.rest.expression, lips)), rest, batch)
        by_lips += np.asarray(moved)[:count].sum(0)
        moved = _moved(show(Coefficients(expression, speaker.rest.lips)), rest, batch)
        by_expression += np.asarray(moved)[:count].sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "lips_in_upper_percent": float(100 * by_lips[0] / by_lips[1]),
            "expression_in_lower_percent": float(100 * by_expression[1] / by_expression[0]),
        }
