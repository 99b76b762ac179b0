"""Choosing an implementation: in one place, and refusing out loud."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax


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


def platform() -> str:
    """Where JAX will run what is traced now: "cpu", "gpu" or "tpu" (``jax.default_device`` is respected)."""
    config: Any = jax.config
    device = config.jax_default_device
    if device is None:
        return jax.default_backend()
    return device if isinstance(device, str) else device.platform
