"""A training step whose rasteriser gets more room when something did not fit."""

from collections.abc import Callable
from typing import Any

from jax_talker.rendering import Rasteriser
from jax_talker.training.devices import ALONE, Devices


class GrowingStep:
    """A training step that is built again with more room when pairs were lost.

    Shapes are static under ``jit``, so it is the host that notices the overflow count and grows. ``remember`` is told
    each new capacity, for a run to begin with it the next time.
    """

    def __init__(
        self,
        build: Callable[[Rasteriser], Callable[..., Any]],
        start: Rasteriser,
        *,
        num_gaussians: int,
        size: int,
        remember: Callable[[int], None] = lambda capacity: None,
    ):
        self.rasteriser, self._remember = start, remember
        self._build, self._sizes = build, (num_gaussians, size)
        self._compiled: Callable[..., Any] | None = None

    def compiled(self, devices: Devices = ALONE) -> Callable[..., Any]:
        """The step with today's room, compiled for the devices; the same one until more room is needed."""
        if self._compiled is None:
            self._compiled = devices.compile(self._build(self.rasteriser))
        return self._compiled

    def grow(self, lost: float) -> int:
        """Make room for what was lost; returns the new capacity. Ask for the ``compiled`` step again afterwards."""
        self._compiled = None
        self.rasteriser = self.rasteriser.grown(*self._sizes, lost)
        capacity = self.rasteriser.capacity or 0
        self._remember(capacity)
        return capacity
