"""How far a gradient may jump because inputs are rounded.

A leaky ReLU has slope 1 on one side of zero and 0.2 on the other, a nearest neighbour is one point or another, a
Gaussian splits or not. A unit that lies within float32 rounding of such an edge falls on either side in a right
program: values agree to the last digits while a gradient, which counts the slope, jumps by that unit's whole share.
On small generators a single unit (2e-7 from zero, of values around 1.5) moved entries by 1.2e-3 of the largest one, and
others near zero would move them by 4e-2; put on the other side in float64, the gradients agreed to 8e-6. No fixed
tolerance is both wide enough for that and narrow enough to be a test, so the jumps are measured where they occur.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

RELATIVE = 1e-6  # of each input: about what a float32 sum of a few hundred products loses
DRAWS = 12  # an edge within reach is seen from its other side with more than 99 % probability


def jumps(gradient: Callable, *arguments: Any, seed: int = 0) -> tuple[Any, Any]:
    """``gradient(*arguments)`` as NumPy arrays, and how far each entry of it moves when inputs change by rounding."""
    rng = np.random.default_rng(seed)

    def disturbed(x: Any) -> np.ndarray:
        x = np.asarray(x)
        return np.asarray(x * (1 + RELATIVE * rng.standard_normal(x.shape).astype(x.dtype)))

    exact = jax.tree.map(np.asarray, gradient(*arguments))
    moved = jax.tree.map(np.zeros_like, exact)
    for _ in range(DRAWS):
        other = gradient(*jax.tree.map(disturbed, arguments))
        moved = jax.tree.map(lambda m, a, b: np.asarray(np.maximum(m, np.abs(np.asarray(b) - a))), moved, exact, other)
    return exact, moved
