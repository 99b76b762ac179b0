"""Equalised layers and the mapping network in PyTorch."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from converters.torch_reference.state import State


def lrelu(x: torch.Tensor) -> torch.Tensor:
    """√2 · leaky ReLU."""
    return math.sqrt(2) * F.leaky_relu(x, 0.2)


def dense(s: State, name: str, x: torch.Tensor, act: Callable | None = None, rate: float = 1.0) -> torch.Tensor:
    """Equalised learning rate dense layer."""
    weight = s[f"{name}.weight"]
    y = F.linear(x, weight * (rate / math.sqrt(weight.shape[1])), s[f"{name}.bias"] * rate)
    return act(y) if act else y


def mapping(
    s: State, prefix: str, c, z: torch.Tensor, label: torch.Tensor, psi: float, cutoff: int | None
) -> torch.Tensor:
    """z [B, Z], label [B, C] → w [B, D], before it is repeated and truncated."""

    def norm2(x):
        return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()

    x = norm2(z)
    if c.c_dim:
        label = torch.zeros_like(label) if c.c_gen_conditioning_zero else label * c.c_scale
        x = torch.cat([x, norm2(dense(s, f"{prefix}.embed", label))], 1)
    for i in range(c.mapping_layers):
        x = dense(s, f"{prefix}.fc{i}", x, lrelu, 0.01)
    return x


def repeat_and_truncate(
    w: torch.Tensor, average: torch.Tensor, rows: int, psi: float, cutoff: int | None
) -> torch.Tensor:
    """[B, D] → [B, rows, D]; the first ``cutoff`` rows move towards the average."""
    ws = w[:, None].repeat(1, rows, 1)
    if psi != 1:
        ws[:, :cutoff] = average.lerp(ws[:, :cutoff], psi)
    return ws
