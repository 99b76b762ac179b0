"""What every metric of two sequences of pictures is: something that is shown frames in order and then gives scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

from jax_talker.app.judging.score import Result
from jax_talker.data.track.faces import Face

BATCH = 8  # frames at a time: one compiled program serves all, the last batch is filled up


@dataclass(frozen=True)
class Pair:
    """Successive frames of both sequences. ``count`` of the B frames count; those behind repeat the last one."""

    pred: UInt8[np.ndarray, "B H W 3"]
    truth: UInt8[np.ndarray, "B H W 3"]
    count: int
    pred_faces: Sequence[Face | None] = ()  # of the frames that count, where a meter asked for them
    truth_faces: Sequence[Face | None] = ()
    landmarker: str = ""  # who found them
    score_names: tuple[str, ...] = ()  # of Face.scores
    known: Bool[np.ndarray, "B H W"] | None = None  # of the truth (None: all); elsewhere ``pred`` shows it

    def unit(self) -> tuple[Float[Array, "B H W 3"], Float[Array, "B H W 3"]]:
        """Both in [0, 1], on the device."""
        pred, truth = (jnp.asarray(x).astype(jnp.float32) / 255 for x in (self.pred, self.truth))
        return pred, truth


@runtime_checkable
class Meter(Protocol):
    """One metric or several that share their work. Holds numbers per frame at most, never pictures."""

    @property
    def needs_faces(self) -> bool:
        """Whether ``Pair`` must bring faces."""
        ...

    def add(self, pair: Pair) -> None: ...

    def scores(self) -> list[Result]: ...
