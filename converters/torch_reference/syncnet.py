"""SyncNet in PyTorch, on tensors under the original's names, batch norms as they are (evaluation)."""

from typing import Any

import torch
import torch.nn.functional as F

from converters.torch_reference.state import State


def lips(s: State, x: torch.Tensor) -> torch.Tensor:
    """[B, 3, 5, 224, 224] in BGR, 0 … 255 → [B, 1024]."""
    x = F.max_pool3d(unit(s, "netcnnlip", 0, x, stride=(1, 2, 2)), (1, 3, 3), (1, 2, 2))
    x = unit(s, "netcnnlip", 4, x, stride=(1, 2, 2), padding=(0, 1, 1))
    x = F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    for place in (8, 11, 14):
        x = unit(s, "netcnnlip", place, x, padding=(0, 1, 1))
    x = unit(s, "netcnnlip", 18, F.max_pool3d(x, (1, 3, 3), (1, 2, 2)))
    return head(s, "netfclip", x)


def sound(s: State, x: torch.Tensor) -> torch.Tensor:
    """[B, 1, 13, 20] → [B, 1024]."""
    x = unit(s, "netcnnaud", 0, x, padding=1)
    x = F.max_pool2d(unit(s, "netcnnaud", 4, x, padding=1), (3, 3), (1, 2))
    for place in (8, 11, 14):
        x = unit(s, "netcnnaud", place, x, padding=1)
    x = unit(s, "netcnnaud", 18, F.max_pool2d(x, (3, 3), (2, 2)))
    return head(s, "netfcaud", x)


def unit(s: State, part: str, place: int, x: torch.Tensor, stride: Any = 1, padding: Any = 0) -> torch.Tensor:
    convolve = F.conv3d if x.ndim == 5 else F.conv2d
    x = convolve(x, s[f"{part}.{place}.weight"], s[f"{part}.{place}.bias"], stride, padding)
    return F.relu(norm(s, f"{part}.{place + 1}", x))


def head(s: State, part: str, x: torch.Tensor) -> torch.Tensor:
    x = F.relu(norm(s, f"{part}.1", F.linear(x.flatten(1), s[f"{part}.0.weight"], s[f"{part}.0.bias"])))
    return F.linear(x, s[f"{part}.3.weight"], s[f"{part}.3.bias"])


def norm(s: State, name: str, x: torch.Tensor) -> torch.Tensor:
    mean, variance, weight, bias = (s[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, mean, variance, weight, bias, eps=1e-5)


def distances(lips: torch.Tensor, sound: torch.Tensor, most: int) -> torch.Tensor:
    """Mean distance at each shift, as syncnet_python's loop computes it: [2·most + 1]."""
    padded = F.pad(sound, (0, 0, most, most))
    width = 2 * most + 1
    found = [F.pairwise_distance(one.expand(width, -1), padded[i : i + width]) for i, one in enumerate(lips)]
    return torch.stack(found, 1).mean(1)
