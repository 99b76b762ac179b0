"""What a run's steps have measured since it last spoke: means for the log, steps that were not applied, divergence."""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jax_talker.errors import UserError
from jax_talker.training.log import Log
from jax_talker.training.skipped import frames_of, skipped_steps

SKIPS_ALLOWED = 20  # non-finite steps in a row after which a run is called diverged
UNDER_WAY = 5  # steps that devices may have before them while the host looks at what came of the one before those


class Diverged(UserError):
    """Gradients stayed non-finite; says in which steps, and where the last good state is."""


class Record:
    """Of one stage, from the step after ``first`` on. What steps measure stays on the device until it is told."""

    def __init__(self, log: Log, stage: str, first: int):
        self._log, self._stage, self._first = log, stage, first
        self._waiting: list[dict[str, jax.Array]] = []
        self._frames: list[list[jax.Array]] = []  # of the waiting steps' batches
        self._unmeasured: set[str] = set()
        self._unseen: deque[jax.Array] = deque()  # whether the latest steps were skipped
        self._in_a_row = 0  # steps up to the last one seen that were not applied

    def add(self, measured: dict[str, jax.Array], batch: Any) -> None:
        """A step's numbers, and the batch that it was shown. It waits for one some steps back: devices never do."""
        self._waiting.append(measured)
        self._frames.append(frames_of(batch))
        self._unseen.append(measured["skipped"])
        self._see(UNDER_WAY)

    def tell(self, number: int, *, keep: bool, **more: float) -> dict[str, float]:
        """Means since the last time up to step ``number`` (of ``overflow`` the most), with ``more``.

        They go into the log where they are to be kept; steps that were not applied are said aloud in any case.
        """
        values, skipped = _means(self._waiting)
        values |= more
        if keep:
            self._say_unmeasured(number, values)
            self._log.scalars(self._stage, number, values)
        self._see(0)
        if any(skipped):
            told = f"{sum(skipped)} steps with non-finite gradients to step {number} were not applied"
            self._log.say(f"{self._stage}: {told}")
            for step, frames in skipped_steps(number, skipped, self._frames):
                self._log.skipped(self._stage, step, frames)
        self._waiting, self._frames = [], []
        return values

    @property
    def suspicious(self) -> bool:
        """Whether so many steps in a row, of those that were seen, were not applied that it is time to ``tell``."""
        return self._in_a_row >= SKIPS_ALLOWED

    def learnt(self, number: int) -> bool:
        """Whether any step up to ``number``, the last one told, was applied."""
        return self._in_a_row < number - self._first

    def diverged(self, number: int, *, last: bool) -> bool:
        """Whether, up to ``number``, the last one told, no gradient is finite any more; in a run's ``last`` step, none
        ever was."""
        return self._in_a_row >= SKIPS_ALLOWED or (last and self._in_a_row > 0 and not self.learnt(number))

    def divergence(self, number: int, *, saved: bool) -> Diverged:
        """The error that says so."""
        lower = "a lower learning rate"
        resume = f"the state before them is saved; go on from it with --resume --allow-changes and {lower}"
        return Diverged(
            f"{self._stage}: every gradient of the last {self._in_a_row} steps (to step {number}) was non-finite; "
            f"{resume if saved else f'start again with {lower}'}"
        )

    def _see(self, under_way: int) -> None:
        while len(self._unseen) > under_way:
            skipped = jax.device_get(self._unseen.popleft())
            self._in_a_row = self._in_a_row + 1 if skipped else 0

    def _say_unmeasured(self, number: int, values: Mapping[str, float]) -> None:
        new = {name for name, value in values.items() if math.isnan(value)} - self._unmeasured
        if new and not values["skipped"]:
            self._log.say(f"{self._stage}: {', '.join(sorted(new))} could not be measured in the steps to {number}")
            self._unmeasured |= new


def _means(waiting: list[dict[str, jax.Array]]) -> tuple[dict[str, float], list[bool]]:
    """Means over the waiting steps, and for each whether it was skipped; NaN for what none of them could measure.

    Skipped steps do not spoil the means, nor do those that had nothing to measure (PSNR of an empty mask).
    """
    fetched = jax.device_get(waiting)
    skipped = [bool(m["skipped"]) for m in fetched]
    good = [m for m, s in zip(fetched, skipped, strict=True) if not s] or fetched
    values = {}
    for name in (n for n in fetched[0] if n != "skipped"):
        measured = [float(m[name]) for m in good if np.isfinite(m[name])]
        values[name] = float(np.mean(measured)) if measured else math.nan
    if "overflow" in values:
        values["overflow"] = float(np.max([m["overflow"] for m in fetched]))
    return values | {"skipped": float(sum(skipped))}, skipped
