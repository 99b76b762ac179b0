"""A training step whose rasteriser gets more room when something did not fit."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from jax_talker.rendering import Rasteriser
from jax_talker.training.devices import ALONE, Devices


class GrowingStep:
    """A training step that is built again with more room when pairs were lost.

    Shapes are static under ``jit``, so it is the host that notices the overflow count and grows.
    ``remember(capacity, stage, step)`` is told of it; ``known(stage, step)`` says what was remembered when that stage
    was at that step: a stage that is gone on with has the room that it had there, and ends with the same bits.
    """

    def __init__(
        self,
        build: Callable[[Rasteriser], Callable[..., Any]],
        start: Rasteriser,
        *,
        num_gaussians: int,
        size: int,
        remember: Callable[[int, str, int], None] | None = None,
        known: Callable[[str, int], int | None] | None = None,
    ):
        self.rasteriser = self._start = start
        self._remember, self._known, self._stage = remember, known, ""
        self._build, self._sizes = build, (num_gaussians, size)
        self._compiled: Callable[..., Any] | None = None

    def begin(self, stage: str, step: int) -> None:
        """``stage`` begins, or goes on after ``step``."""
        self._stage = stage
        if self._known is None:
            return
        room = max(self._start.capacity or 0, self._known(stage, step) or 0) or None
        if room != self.rasteriser.capacity:
            self.rasteriser, self._compiled = replace(self._start, capacity=room), None

    def compiled(self, devices: Devices = ALONE) -> Callable[..., Any]:
        """The step with today's room, compiled for the devices; the same one until more room is needed."""
        if self._compiled is None:
            self._compiled = devices.compile(self._build(self.rasteriser))
        return self._compiled

    def grow(self, lost: float, step: int) -> int:
        """Make room, after ``step``, for what was lost; returns the new capacity. Ask for the ``compiled`` step again
        afterwards."""
        self._compiled = None
        self.rasteriser = self.rasteriser.grown(*self._sizes, lost)
        capacity = self.rasteriser.capacity or 0
        if self._remember is not None:
            self._remember(capacity, self._stage, step)
        return capacity
