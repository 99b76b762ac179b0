"""Several devices: what a kernel needs so that a batch that is split over them stays split.

``over_batch`` runs a function on each device's share of the batch, wherever the compiler finds one; nobody has to name
a mesh. And ``shard_map`` types arrays by the mesh axes along which they vary; kernels must pass that on.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec

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


def merged(leaf: Array) -> Array:
    """[A, B, …] → [A·B, …], also where an axis is empty."""
    return leaf.reshape(leaf.shape[0] * leaf.shape[1], *leaf.shape[2:])


def parted(leaf: Array, parts: int) -> Array:
    """[A·B, …] → [A, B, …] with A = ``parts``."""
    return leaf.reshape(parts, leaf.shape[0] // parts, *leaf.shape[1:])


def over_batch(function: Callable[..., Tree], *operands: Any) -> Tree:
    """``function(*operands)``, where the first axis of every leaf of operands and results is the batch.

    The compiler sees one operation that can be split along that axis and no other: operands that are sharded over it
    are worked on where they are (without this, it would gather them on every device and do all the work on each).
    Inside, it is as in ``shard_map``: this device's share is all there is. Mapped axes (``vmap``) become part of the
    batch. Not differentiated: for use inside of ``custom_vjp``.
    """
    leaves, tree = jax.tree.flatten(operands)
    results: list[Any] = []  # the tree of the results, when they have been traced

    def flat(*leaves: Array) -> tuple[Array, ...]:
        out, out_tree = jax.tree.flatten(function(*jax.tree.unflatten(tree, leaves)))
        results[:] = [out_tree]
        return tuple(out)

    in_shard_map = bool(varying_axes(leaves))  # everything is this device's already
    out = (flat if in_shard_map else _mapped(flat))(*leaves)
    return jax.tree.unflatten(results[0], out)


def _mapped(flat: Callable[..., tuple[Array, ...]]) -> Callable[..., tuple[Array, ...]]:
    @custom_vmap
    def mapped(*leaves: Array) -> tuple[Array, ...]:
        return _partitioned(flat)(*leaves)

    @mapped.def_vmap
    def _(size: int, is_mapped: list[bool], *leaves: Array) -> tuple[tuple[Array, ...], tuple[bool, ...]]:
        whole = (
            leaf if there else jnp.broadcast_to(leaf[None], (size, *leaf.shape))
            for leaf, there in zip(leaves, is_mapped, strict=True)
        )
        out = mapped(*map(merged, whole))
        return tuple(parted(leaf, size) for leaf in out), (True,) * len(out)

    return mapped


def _partitioned(flat: Callable[..., tuple[Array, ...]]) -> Callable[..., tuple[Array, ...]]:
    split = custom_partitioning(flat)

    def shardings(mesh: Any, operands: tuple[Any, ...], results: tuple[Any, ...]) -> tuple[Any, Any]:
        """All operands and results along the batch as the first operand that is split is; otherwise whole."""
        specs = (one.sharding.spec for one in operands if isinstance(one.sharding, NamedSharding))
        names = next((spec[0] for spec in specs if len(spec) and spec[0] is not None), None)
        parts = math.prod(mesh.shape[name] for name in ((names,) if isinstance(names, str) else names or ()))
        batch = NamedSharding(mesh, PartitionSpec(names if operands[0].shape[0] % parts == 0 else None))
        return (batch,) * len(operands), (batch,) * len(results)

    def partition(mesh: Any, operands: tuple[Any, ...], results: tuple[Any, ...]) -> tuple[Any, ...]:
        given, wanted = shardings(mesh, operands, results)
        return mesh, flat, wanted, given

    def rule(mesh: Any, operands: Any, results: Any) -> tuple[str, dict[str, tuple[str, ...]]]:
        """For Shardy: axes share the batch, b; all others must be whole."""
        others: list[str] = []

        def axes(kind: Any) -> str:
            own = [f"i{len(others) + axis}" for axis in range(len(kind.shape) - 1)]
            others.extend(own)
            return " ".join(["b", *own])

        text = f"{', '.join(map(axes, operands))} -> {', '.join(map(axes, results))}"
        return text, {"need_replication_factors": tuple(others)}

    def infer(mesh: Any, operands: tuple[Any, ...], results: tuple[Any, ...]) -> Any:
        return shardings(mesh, operands, results)[1]

    split.def_partition(partition, infer_sharding_from_operands=infer, sharding_rule=rule)
    return split
