"""How much room the lists of ``xla`` and ``pallas_triton`` need: guessed from sizes, or grown after a miss.

Integers only; ``kernels/measure.py`` measures a scene instead.
"""

from typing import Any

import numpy as np

from kernels.constants import TILE

LIMIT = 1 << 31  # places of all lists together: their numbers are int32
_SMALL = 1 << 16  # pairs that are cheap enough to have room for anyway


def default_capacity(gaussians: int, width: int, height: int) -> int:
    """Room for eight tiles per Gaussian, which heads and captured scenes stay below at their usual image sizes.

    Never more than every Gaussian in every tile; so small scenes and small images cannot overflow.
    """
    everything = max(gaussians * -(-width // TILE) * -(-height // TILE), 1)
    return min(max(power_of_two(8 * gaussians), _SMALL), everything)


def grow_capacity(capacity: int, overflow: Any) -> int:
    """The next power of two that would have had room, given a ``Rendered.overflow`` or the most of it, as an integer.

    Unchanged if nothing was lost.
    """
    lost = int(np.max(np.asarray(overflow), initial=0))
    return power_of_two(capacity + lost) if lost else capacity


def power_of_two(number: int) -> int:
    """The least power of two that is not smaller."""
    return 1 << max(number - 1, 0).bit_length()


def roomy(number: int) -> int:
    """The least of 1 … 8 and {8 … 16}·2^k that is not smaller: few different programs, little unused."""
    step = 1 << max((number - 1).bit_length() - 4, 0)
    return max(-(-number // step) * step, 1)
