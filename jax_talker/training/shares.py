"""A batch in shares: divided among devices, and on each into parts that are worked on in turn; nothing else changes.

Two rules make that so. Every loss is a mean over the rows of its batch, with no divisor that another row could change,
so the mean over equal shares is the mean over all. And what a row draws at random hangs on its place in the whole batch
(``Batch.slot``), not on who works on it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax
from jaxtyping import Array, Float, Int, Key

from jax_talker.errors import UserError
from jax_talker.types import Given

AXIS = "data"  # along which devices share a batch
Tree = TypeVar("Tree")
Loss = Callable[[Any, Any], tuple[Array, dict[str, Any]]]
"""(params, batch) → the loss and what else is measured: float32 means over the batch's rows, all of them."""


@struct.dataclass
class Batch:
    """What a step is given. Bytes (uint8) are shares of 255, and floats before a step sees them (``in_floats``)."""

    rows: Any  # leaves [B, …]: divided
    slot: Any  # [B] int32: each row's place in the undivided batch
    common: Any = None  # seen whole by every device


def batch_of(rows: Any, common: Any = None, slot: Int[np.ndarray, "B"] | None = None) -> Batch:
    """A batch that is whole, or of which the rows ``slot`` are given."""
    here = np.arange(len(jax.tree.leaves(rows)[0]), dtype=np.int32) if slot is None else np.asarray(slot, np.int32)
    return Batch(rows, here, common)


def even(rows: int, pieces: int, *, together: int = 1, apart: int = 0) -> bool:
    """Whether a batch can be ``dealt`` out to so many."""
    return rows >= pieces * together and rows % (pieces * together) == 0 and apart % pieces == 0


def dealt(rows: int, pieces: int, *, together: int = 1, apart: int = 0, what: str = "config.train.batch") -> np.ndarray:
    """[pieces, rows / pieces]: which rows each piece of a batch gets.

    ``together`` successive rows are a unit and stay one. The last ``apart`` units are of another kind (couples whose
    lips follow another frame); each piece ends with an equal share of them. UserError where that does not come out
    even.
    """
    units = rows // together
    if not even(rows, pieces, together=together, apart=apart):
        kind = {1: "rows", 2: "couples of frames"}[together]
        crossed = f", {apart} of them crossed (config.train.swap)," if apart else ""
        raise UserError(
            f"{what}: {rows} are {units} {kind}{crossed} and cannot be dealt out evenly to {pieces} (config.devices: "
            "devices × accumulate); take a multiple, or fewer devices"
        )
    usual, other = np.split(np.arange(units), [units - apart])
    order = np.concatenate([usual.reshape(pieces, -1), other.reshape(pieces, -1)], 1)
    return (order[..., None] * together + np.arange(together)).reshape(pieces, -1)


@dataclass(frozen=True)
class Shares:
    """How a step's batch is divided; static. ``axis`` names the devices' axis inside the step, None on one device."""

    axis: str | None = None
    parts: int = 1  # worked on in turn, on each device: gradient accumulation

    def slope(self, loss: Loss, params: Any, batch: Any) -> tuple[tuple[Array, dict[str, Any]], Any]:
        """((loss, measured), gradients) of the whole batch, as ``jax.value_and_grad`` gives them of a share."""
        params = self._own(params)
        slope = jax.value_and_grad(loss, has_aux=True)
        if self.parts == 1:
            return self.mean(slope(params, batch))
        rows = (batch.rows, batch.slot)
        pieces = jax.tree.map(lambda x: x.reshape(self.parts, len(x) // self.parts, *x.shape[1:]), rows)
        of_piece = lambda piece: slope(params, replace(batch, rows=piece[0], slot=piece[1]))  # noqa: E731
        kind = jax.eval_shape(of_piece, jax.tree.map(lambda x: x[0], pieces))
        nothing = self._own(jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), kind))
        total, _ = lax.scan(lambda sum_, piece: (jax.tree.map(jnp.add, sum_, of_piece(piece)), None), nothing, pieces)
        return self.mean(jax.tree.map(lambda x: x / self.parts, total))

    def mean(self, tree: Tree) -> Tree:
        """The mean over devices of what each has found for its own share."""
        return lax.pmean(tree, self.axis) if self.axis else tree

    def pieces(self) -> int:
        """How many shares a batch has, all devices' together; inside of a step."""
        return self.parts * (lax.axis_size(self.axis) if self.axis else 1)

    def _own(self, tree: Tree) -> Tree:
        """Each device's own copy of what all have: its gradient is then that of the device's share alone."""
        return jax.tree.map(lambda x: lax.pcast(x, self.axis, to="varying"), tree) if self.axis else tree


WHOLE = Shares()


def keys_of(key: Key[Array, ""], slot: Int[Given, "B"]) -> Key[Array, "B"]:
    """A key for each row of a batch, whoever works on it."""
    return jax.vmap(lambda one: jax.random.fold_in(key, one))(slot)


def normal(keys: Key[Array, "B"], *shape: int) -> Float[Array, "B ..."]:
    """Normal numbers of ``shape`` for each row."""
    return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)


def in_floats(tree: Tree) -> Tree:
    """Pixels and masks as they are computed with: bytes, which are a quarter to send, become float32 in [0, 1]."""
    return jax.tree.map(lambda x: x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else x, tree)
