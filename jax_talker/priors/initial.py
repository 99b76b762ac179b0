"""Fresh variables for networks with hundreds of arrays, without compiling a random generator for each of them.

Initialisers return their array in a box that remembers the distribution (Flax's own mechanism for metadata; Linen
unboxes by itself). :func:`draw` traces a network's ``init`` for the boxes alone and fills all of them from one draw.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from flax.core import meta
from jaxtyping import Array, Key

Initialiser = Callable[..., Any]


class Drawn(struct.PyTreeNode, meta.AxisMetadata):
    """An array with the distribution that it is drawn from: mean + spread · (normal, or uniform in [-1, 1])."""

    value: Any
    spread: float = struct.field(pytree_node=False)
    mean: float = struct.field(pytree_node=False)
    uniform: bool = struct.field(pytree_node=False)

    def unbox(self):
        return self.value

    def replace_boxed(self, val):
        return self.replace(value=val)

    def add_axis(self, index, params):
        return self

    def remove_axis(self, index, params):
        return self

    def fill(self, normal):
        """The array made of standard normal numbers of its shape."""
        sample = jax.scipy.special.erf(normal / math.sqrt(2)) if self.uniform else normal
        return self.mean + self.spread * sample


def normal(spread: float = 1.0, *, mean: float = 0.0, uniform: bool = False) -> Initialiser:
    """An initialiser for Linen; ``uniform`` draws from [mean − spread, mean + spread]. Spread 0 is a constant."""

    def init(key, shape, dtype=jnp.float32):
        box = Drawn(None, spread, mean, uniform)
        if not spread:
            return box.replace_boxed(jnp.full(shape, mean, dtype))
        return box.replace_boxed(box.fill(jax.random.normal(key, shape, dtype)))

    return init


def constant(value: float) -> Initialiser:
    """Every number is ``value``."""
    return normal(0.0, mean=value)


def shapes(init: Callable[[Key[Array, ""]], Any]) -> Any:
    """Shape and dtype of every variable that ``init`` (a network's, with its inputs bound) would make."""
    return meta.unbox(jax.eval_shape(init, jax.random.key(0)))


def draw(init: Callable[[Key[Array, ""]], Any], key: Key[Array, ""]) -> Any:
    """The variables of ``init``, all from one draw; the network itself is only traced."""
    boxes, structure = jax.tree.flatten(jax.eval_shape(init, key), is_leaf=lambda leaf: isinstance(leaf, Drawn))
    numbers = jax.random.normal(key, (sum(box.value.size for box in boxes if box.spread),))
    leaves, start = [], 0
    for box in boxes:
        shape, size = box.value.shape, box.value.size
        if box.spread:
            leaves.append(box.fill(numbers[start : start + size].reshape(shape)))
            start += size
        else:
            leaves.append(jnp.full(shape, box.mean))
    return jax.tree.unflatten(structure, leaves)
