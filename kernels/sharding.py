"""``shard_map`` types arrays by the mesh axes along which they vary; kernels must pass that on."""

from collections.abc import Iterable
from typing import TypeVar

import jax
from jax import Array, lax

Tree = TypeVar("Tree")


def varying_axes(arrays: Iterable[Array]) -> frozenset[str]:
    """The mesh axes along which any of the arrays varies; empty outside of ``shard_map``."""
    return frozenset().union(*(jax.typeof(array).manual_axis_type.varying for array in arrays))


def vary_over(tree: Tree, axes: frozenset[str]) -> Tree:
    """Make every leaf vary over (at least) these axes. Backward, that sums a replicated operand's gradients."""

    def vary(leaf: Array) -> Array:
        missing = axes - jax.typeof(leaf).manual_axis_type.varying
        return lax.pcast(leaf, tuple(sorted(missing)), to="varying") if missing else leaf

    return jax.tree.map(vary, tree)


def vary_alike(tree: Tree) -> Tree:
    """Make all leaves vary over the axes of any."""
    return vary_over(tree, varying_axes(jax.tree.leaves(tree)))
