"""Choosing an implementation: in one place, refusing out loud, and by the platform that a program is lowered for.

What is traced may run elsewhere than where it is traced (``jax.jit(…).lower(lowering_platforms=…)``, ``jax.export``, an
operand on another device). So nothing asks for the platform while tracing: an implementation that runs on some of them
only passes an operand through its ``Gate``, which refuses when it is lowered for another one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax import Array
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir


class Unsupported(NotImplementedError):
    """This implementation cannot run here, and says why."""


def run(op: str, table: Mapping[str, Callable], want: str | Sequence[str], *args: Any, **kwargs: Any) -> Any:
    """Call the first implementation of ``want`` that does not refuse.

    One name never falls back to another; only a sequence of names means "try in turn". When all refuse, every reason is
    raised. Any other error is the caller's mistake and passes through.
    """
    order = (want,) if isinstance(want, str) else tuple(want)
    if not order or any(name not in table for name in order):
        raise ValueError(f"{op}: cannot use implementation {want!r}; choose from {sorted(table)}")
    refused = []
    for name in order:
        try:
            return table[name](*args, **kwargs)
        except Unsupported as reason:
            reason.add_note(f"while trying {op}/{name}")
            refused.append(reason)
    raise refused[0] if len(refused) == 1 else ExceptionGroup(f"{op}: all of {order} refused", refused)


class Gate:
    """An identity that can only be lowered for some platforms; ``prepare`` is called when it is."""

    def __init__(self, name: str, platforms: Sequence[str], reason: str, prepare: Callable[[], None] | None = None):
        """``reason`` is the refusal's text, with {found} for the platform."""
        self._gate = gate = Primitive(f"kernels_{name}")
        gate.def_abstract_eval(lambda operand: operand)
        gate.def_impl(lambda operand: jax.jit(gate.bind)(operand))

        def same_axis(operands: Sequence[Array], axes: Sequence[int]) -> tuple[Array, int]:
            return gate.bind(operands[0]), axes[0]

        batching.primitive_batchers[gate] = same_axis

        def passes(context: Any, operand: Any) -> list[Any]:
            if prepare is not None:
                prepare()
            return [operand]

        def refuses(context: Any, operand: Any) -> list[Any]:
            found = ", ".join(context.module_context.platforms)
            raise Unsupported(reason.format(found=repr(found)))

        mlir.register_lowering(gate, refuses)
        for platform in platforms:
            mlir.register_lowering(gate, passes, platform=platform)

    def __call__(self, operand: Array) -> Array:
        return self._gate.bind(operand)


def platform() -> str:
    """Where JAX runs by default: "cpu", "gpu" or "tpu" (``jax.default_device`` is respected). For tests and benches."""
    config: Any = jax.config
    device = config.jax_default_device
    if device is None:
        return jax.default_backend()
    return device if isinstance(device, str) else device.platform
