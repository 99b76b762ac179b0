"""The only file that counts devices: which of them train, what lies where on them, and how a step runs on them all."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jax_talker.errors import UserError
from jax_talker.training.shares import AXIS, Batch, Shares, dealt, in_floats

Mode = Literal["auto", "single", "jit", "pmap"]
Tree = TypeVar("Tree")
SPLIT, WHOLE = PartitionSpec(AXIS), PartitionSpec()


@dataclass(frozen=True)
class Devices:
    """The devices of a run. One step, ``(state, Batch) → (state, measured)``, runs on all of them alike:

    every device has the whole state and a share of the batch's rows, and what they exchange is the mean of their
    gradients (``Shares.slope``), nothing else. ``jit`` compiles one program over a mesh (jax.shard_map), ``pmap`` is
    asked for by those who have it in their hands; both compute the same.
    """

    mesh: Mesh | None = None  # None: one device, and no axis of them
    mapped: bool = False  # pmap instead of jit
    accumulate: int = 1

    @property
    def count(self) -> int:
        return 1 if self.mesh is None else self.mesh.size

    @property
    def shares(self) -> Shares:
        """What a step has to know of all this."""
        return Shares(None if self.mesh is None else AXIS, self.accumulate)

    def deal(self, rows: int, *, together: int = 1, apart: int = 0, what: str = "config.train.batch") -> np.ndarray:
        """Which rows of a batch this process makes, in order, one device's after another's (``shares.dealt``)."""
        order = dealt(rows, self.count * self.accumulate, together=together, apart=apart, what=what)
        if self.mesh is None:
            return order.ravel()
        here = [device.process_index == jax.process_index() for device in self.mesh.devices.flat]
        return order.reshape(self.count, -1)[here].ravel()

    def spread(self, tree: Tree) -> Tree:
        """What every device has whole, on all of them; the same in every process."""
        if self.mesh is None:
            return tree
        whole = NamedSharding(self.mesh, WHOLE)
        return jax.tree.map(lambda x: _placed(x, whole), tree)

    def gathered(self, state: Tree) -> Tree:
        """A state that was spread, on one device of this process again."""
        return state if self.mesh is None else jax.tree.map(lambda x: x.addressable_data(0), state)

    def put(self, batch: Any) -> Any:
        """A batch of host arrays on its devices, explicitly; on several, a ``Batch`` of this process's rows."""
        if self.mesh is None:
            return jax.device_put(batch)
        split = NamedSharding(self.mesh, SPLIT)
        devices = self.mesh.local_mesh.size
        parted = lambda x: x.reshape(devices, len(x) // devices, *x.shape[1:]) if self.mapped else x  # noqa: E731
        rows, slot = jax.tree.map(
            lambda x: jax.make_array_from_process_local_data(split, parted(np.asarray(x))), (batch.rows, batch.slot)
        )
        return Batch(rows, slot, self.spread(batch.common))

    def compile(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """The step under ``jit`` or ``pmap``, its state donated; bytes become floats in front of it."""
        computed = lambda state, batch: step(state, in_floats(batch))  # noqa: E731
        if self.mesh is None:
            return jax.jit(computed, donate_argnums=0)
        if self.mapped:
            axes = (None, Batch(0, 0, None))
            return jax.pmap(
                computed, AXIS, in_axes=axes, out_axes=None, donate_argnums=0, devices=list(self.mesh.devices.flat)
            )
        specs = (WHOLE, Batch(SPLIT, SPLIT, WHOLE))
        return jax.jit(
            jax.shard_map(computed, mesh=self.mesh, in_specs=specs, out_specs=(WHOLE, WHOLE)), donate_argnums=0
        )


ALONE = Devices()


def _placed(x: Any, sharding: NamedSharding) -> jax.Array:
    """An array of this process, or one that lies there already. ``jax.device_put`` would have processes compare theirs,
    in a collective that must not meet a step's."""
    if isinstance(x, jax.Array):
        if x.sharding.is_equivalent_to(sharding, x.ndim):
            return x
        if jax.process_count() == 1:
            return jax.device_put(x, sharding)
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(_placed(jax.random.key_data(x), sharding), impl=jax.random.key_impl(x))
    return jax.make_array_from_process_local_data(sharding, np.asarray(x))


def choose(
    mode: str = "auto", count: int | None = None, accumulate: int = 1, fits: Callable[[int], bool] = lambda _: True
) -> Devices:
    """The devices that a configuration asks for.

    "jit" and "pmap" take ``count`` devices (None: all that there are), "single" one. "auto" is "jit" over as many as
    ``fits`` allows (whether a batch can be dealt out to so many devices), and "single" where that is one.
    """
    if mode not in get_args(Mode):
        raise UserError(f"config.devices.mode: {mode!r} is none of {', '.join(get_args(Mode))}")
    if accumulate < 1:
        raise UserError(f"config.devices.accumulate: {accumulate}; a batch is worked on in at least 1 part")
    there = jax.devices()
    if count is not None and not 1 <= count <= len(there):
        raise UserError(f"config.devices.count: {count} devices are asked for, {describe()} is what there is")
    if jax.process_count() > 1 and count not in (None, len(there)):
        raise UserError(f"config.devices.count: {count}; processes that train together use all {len(there)} devices")
    if mode == "single":
        if jax.process_count() > 1:
            raise UserError(
                f'config.devices.mode: "single" is one device, but {jax.process_count()} processes train together'
            )
        return Devices(accumulate=accumulate)
    if mode == "pmap" and jax.process_count() > 1:
        raise UserError(f'config.devices.mode: "pmap" is for one process, here are {jax.process_count()}; take "jit"')
    wanted = count or len(there)
    if mode == "auto" and jax.process_count() == 1:
        wanted = max(n for n in range(1, wanted + 1) if n == 1 or fits(n))
        if wanted == 1:
            return Devices(accumulate=accumulate)
    mesh = jax.make_mesh((wanted,), (AXIS,), axis_types=(AxisType.Auto,), devices=there[:wanted])
    return Devices(mesh, mode == "pmap", accumulate)


def describe(used: Devices | None = None) -> str:
    """What this process computes on, for people: '1 × cpu', '2 × NVIDIA H200'; with ``used``, how many of them."""
    devices = jax.devices()
    there = f"{len(devices)} × {devices[0].device_kind}"
    return there if used is None or used.count == len(devices) else f"{used.count} of {there}"


def platform() -> str:
    """'cpu', 'gpu' or 'tpu'."""
    return jax.default_backend()
