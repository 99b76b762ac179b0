"""Rows of ``verify --torch``: both frameworks on the same random latents, stage by stage."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

import converters.torch_reference.gghead as gghead_port
import converters.torch_reference.gsgan as gsgan_port
from converters.comparison import Row
from converters.errors import CheckpointError
from converters.gsgan_golden import FLIPS, TOLERANCE
from converters.torch_reference.state import to_torch
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
    port, compare = (gghead_port, _gghead) if isinstance(prior, GGHead) else (gsgan_port, _gsgan)
    with torch.no_grad():
        want = port.mapping(state, prior.config, torch.tensor(z), torch.tensor(label), 0.7, None)
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


def _gghead(name: str, prior: GGHead, variables: Variables, state, ws: np.ndarray) -> Iterator[Row]:
    latent = Latent(w=jnp.asarray(ws))
    planes = gghead_port.planes(state, prior.config, torch.tensor(ws))
    yield Row(
        f"{name}: planes", np.moveaxis(np.asarray(jax.jit(prior.planes)(variables, latent)), -1, 1), planes.numpy()
    )
    want = gghead_port.gaussians(state, prior.config, gghead_port.sampled(state, prior.config, planes))
    got = jax.jit(lambda v, w: prior.activate(v, prior.raw(v, w)))(variables, latent)
    for field, atol in {"mean": 1e-4, "quat": 1e-4, "scale": 1e-6, "opacity": 1e-4, "sh": 1e-4}.items():
        yield Row(f"{name}: {field}", np.asarray(getattr(got, field)), want[field].numpy(), atol=atol)


def _gsgan(name: str, prior: GSGAN, variables: Variables, state, ws: np.ndarray) -> Iterator[Row]:
    direction = np.array([[0, 0, -1]], np.float32)
    want = gsgan_port.parts(state, prior.config, torch.tensor(ws), torch.tensor(direction))
    got = jax.jit(prior.parts)(variables, Latent(w=jnp.asarray(ws)), jnp.asarray(direction))
    for part, splats, expected in zip(("foreground", "anchors", "background"), got, want, strict=True):
        for head, atol in TOLERANCE.items():
            flips = 0.0 if part == "background" else FLIPS
            yield Row(
                f"{name}: {part} {head}", np.asarray(getattr(splats, head)), expected[head].numpy(), atol, flips=flips
            )
