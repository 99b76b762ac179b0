"""Which frames a step was shown that could not be applied."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from jax_talker.types import FrameBatch


def frames_of(batch: Any) -> list[jax.Array]:
    """The frame numbers of every FrameBatch in a step's batch, as they are on the device; [] where there is none."""
    parts = jax.tree.leaves(batch, is_leaf=lambda part: isinstance(part, FrameBatch))
    return [part.index for part in parts if isinstance(part, FrameBatch)]


def skipped_steps(
    last: int, skipped: Sequence[bool], shown: Sequence[list[jax.Array]]
) -> Iterator[tuple[int, list[int]]]:
    """(step, its frames in ascending order) of the steps that were ``skipped``, of successive ones up to ``last``.

    Of several processes each knows its own frames only.
    """
    for number, (bad, frames) in enumerate(zip(skipped, shown, strict=True), last - len(skipped) + 1):
        if bad:
            here = [np.asarray(shard.data).ravel() for index in frames for shard in index.addressable_shards]
            yield number, sorted({int(i) for part in here for i in part})
