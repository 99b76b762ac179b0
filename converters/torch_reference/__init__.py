"""Both generators once more in PyTorch, under the original's tensor names: what the JAX versions are measured against.

Functional and plain: each function follows its specification in the original's own layout (NCHW, [out, in]) and its
order of operations. Used by tests marked ``torch``, by ``verify --torch`` and by ``benchmarks/priors.py``.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from converters.errors import CheckpointError
from converters.torch_reference.state import to_torch
from converters.verify import Row
from jax_talker.priors.base import Prior, Variables
from jax_talker.priors.gghead import GGHead
from jax_talker.priors.gsgan import GSGAN
from jax_talker.types import Latent


def rows(prior: Prior, variables: Variables, seed: int) -> Iterator[Row]:
    """Every stage of the prior in both frameworks for random inputs: truncated, and with independent rows of W+."""
    if prior.kind not in ("gghead", "gsgan"):
        raise CheckpointError(f"there is no PyTorch port of {prior.kind!r}")
    rng = np.random.default_rng(seed)
    state = to_torch(prior, variables)
    z = rng.standard_normal((1, prior.z_dim)).astype(np.float32)
    label = frontal_label()[None, : prior.config.c_dim]
    w = prior.mapping(variables, jnp.asarray(z), jnp.asarray(label), truncation_psi=0.7).w
    generator: Any = prior
    compare = _gghead if isinstance(prior, GGHead) else _gsgan
    with torch.no_grad():
        want = _module(prior).mapping(state, prior.config, torch.tensor(z), torch.tensor(label), 0.7, None)
        yield Row("ws", np.asarray(w), want.numpy())
        mixed = np.asarray(w) + 0.3 * rng.standard_normal(w.shape).astype(np.float32)
        for name, ws in (("truncated", np.asarray(w)), ("W+", mixed.astype(np.float32))):
            yield from compare(name, generator, variables, state, ws)


def frontal_label() -> np.ndarray:
    """The EG3D label [25] of the frontal camera."""
    world_from_cam = np.diag([1.0, -1, -1, 1])
    world_from_cam[2, 3] = 2.7
    intrinsics = np.array([4.2647, 0, 0.5, 0, 4.2647, 0.5, 0, 0, 1])
    return np.concatenate([world_from_cam.reshape(16), intrinsics]).astype(np.float32)


def _module(prior: Prior) -> Any:
    from converters.torch_reference import gghead, gsgan

    return gghead if isinstance(prior, GGHead) else gsgan


def _gghead(name: str, prior: GGHead, variables: Variables, state, ws: np.ndarray) -> Iterator[Row]:
    from converters.torch_reference import gghead

    latent = Latent(w=jnp.asarray(ws))
    planes = gghead.planes(state, prior.config, torch.tensor(ws))
    yield Row(
        f"{name}: planes", np.moveaxis(np.asarray(jax.jit(prior.planes)(variables, latent)), -1, 1), planes.numpy()
    )
    want = gghead.gaussians(state, prior.config, planes)
    got = jax.jit(lambda v, w: prior.activate(v, prior.raw(v, w)))(variables, latent)
    for field, atol in {"mean": 1e-4, "quat": 1e-4, "scale": 1e-6, "opacity": 1e-4, "sh": 1e-4}.items():
        yield Row(f"{name}: {field}", np.asarray(getattr(got, field)), want[field].numpy(), atol=atol)


def _gsgan(name: str, prior: GSGAN, variables: Variables, state, ws: np.ndarray) -> Iterator[Row]:
    from converters.gsgan_golden import FLIPS, TOLERANCE
    from converters.torch_reference import gsgan

    direction = np.array([[0, 0, -1]], np.float32)
    want = gsgan.parts(state, prior.config, torch.tensor(ws), torch.tensor(direction))
    got = jax.jit(prior.parts)(variables, Latent(w=jnp.asarray(ws)), jnp.asarray(direction))
    for part, splats, expected in zip(("foreground", "anchors", "background"), got, want, strict=True):
        for head, atol in TOLERANCE.items():
            flips = 0.0 if part == "background" else FLIPS
            yield Row(
                f"{name}: {part} {head}", np.asarray(getattr(splats, head)), expected[head].numpy(), atol, flips=flips
            )
