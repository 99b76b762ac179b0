"""Which rasteriser a run uses, and how much room it has."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import kernels


@dataclass(frozen=True)
class Rasteriser:
    """Static options of ``kernels.rasterize``.

    ``implementation=None`` is the fastest for the platform. ``capacity`` bounds the (tile, Gaussian) pairs of an image
    where the implementation needs a static bound; None guesses from the sizes. ``pixel`` is how many pixels wide the
    low-pass filter is that every Gaussian gets.
    """

    implementation: kernels.Implementation | Sequence[kernels.Implementation] | None = None
    capacity: int | None = None
    pixel: float = 1.0

    def grown(self, num_gaussians: int, size: int, lost: float) -> "Rasteriser":
        """With room for ``lost`` pairs more than there was, in powers of two."""
        now = self.capacity or kernels.default_capacity(num_gaussians, size, size)
        return replace(self, capacity=kernels.grow_capacity(now, round(lost)))


FASTEST = Rasteriser()
