"""Which rasteriser a run uses, how much room it has, and how it gets more."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import kernels


@dataclass(frozen=True)
class Rasteriser:
    """Static options of ``kernels.rasterize``.

    ``implementation=None`` is the fastest for the platform. ``capacity`` bounds the (tile, Gaussian) pairs of an image
    where the implementation needs a static bound; None guesses from the sizes.
    """

    implementation: kernels.Implementation | Sequence[kernels.Implementation] | None = None
    capacity: int | None = None

    def grown(self, num_gaussians: int, size: int, lost: float) -> "Rasteriser":
        """With room for ``lost`` pairs more than there was, in powers of two."""
        now = self.capacity or kernels.default_capacity(num_gaussians, size, size)
        return replace(self, capacity=kernels.grow_capacity(now, round(lost)))


FASTEST = Rasteriser()


class GrowingStep:
    """A training step that is built again with more room when pairs were lost.

    Shapes are static under ``jit``, so it is the host that notices the overflow count and grows.
    """

    def __init__(
        self, build: Callable[[Rasteriser], Callable[..., Any]], start: Rasteriser, *, num_gaussians: int, size: int
    ):
        self.rasteriser = start
        self._build, self._sizes = build, (num_gaussians, size)

    def build(self) -> Callable[..., Any]:
        """The step with today's room."""
        return self._build(self.rasteriser)

    def grow(self, lost: float) -> int:
        """Make room for what was lost; returns the new capacity. Build the step again afterwards."""
        self.rasteriser = self.rasteriser.grown(*self._sizes, lost)
        return self.rasteriser.capacity or 0
