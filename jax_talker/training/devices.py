"""The only file that counts devices."""

import jax


def describe() -> str:
    """What this process computes on, for people: '1 × cpu', '2 × NVIDIA H200'."""
    devices = jax.devices()
    return f"{len(devices)} × {devices[0].device_kind}"


def platform() -> str:
    """'cpu', 'gpu' or 'tpu'."""
    return jax.default_backend()
