"""FID's Inception in PyTorch, on tensors under the original's names, batch norms as they are (evaluation)."""

import torch
import torch.nn.functional as F

from converters.torch_reference.state import State

EPS = 1e-3


def features(s: State, x: torch.Tensor) -> torch.Tensor:
    """Images in [0, 1], [B, 3, H, W] → [B, 2048], resize and standardisation included."""
    x = 2 * F.interpolate(x, (299, 299), mode="bilinear", align_corners=False) - 1
    x = unit(s, "Conv2d_1a_3x3", x, stride=2)
    x = unit(s, "Conv2d_2b_3x3", unit(s, "Conv2d_2a_3x3", x), padding=1)
    x = unit(s, "Conv2d_4a_3x3", unit(s, "Conv2d_3b_1x1", F.max_pool2d(x, 3, 2)))
    x = F.max_pool2d(x, 3, 2)
    for name in ("5b", "5c", "5d"):
        x = block_a(s, f"Mixed_{name}", x)
    x = torch.cat(
        [
            unit(s, "Mixed_6a.branch3x3", x, stride=2),
            unit(s, "Mixed_6a.branch3x3dbl_3", double(s, "Mixed_6a", x), stride=2),
            F.max_pool2d(x, 3, 2),
        ],
        1,
    )
    for name in ("6b", "6c", "6d", "6e"):
        x = block_c(s, f"Mixed_{name}", x)
    seven = unit(s, "Mixed_7a.branch7x7x3_2", unit(s, "Mixed_7a.branch7x7x3_1", x), padding=(0, 3))
    seven = unit(s, "Mixed_7a.branch7x7x3_4", unit(s, "Mixed_7a.branch7x7x3_3", seven, padding=(3, 0)), stride=2)
    three = unit(s, "Mixed_7a.branch3x3_2", unit(s, "Mixed_7a.branch3x3_1", x), stride=2)
    x = torch.cat([three, seven, F.max_pool2d(x, 3, 2)], 1)
    x = block_e(s, "Mixed_7b", x, mean(x))
    x = block_e(s, "Mixed_7c", x, F.max_pool2d(x, 3, 1, 1))
    return F.adaptive_avg_pool2d(x, 1)[:, :, 0, 0]


def block_a(s: State, name: str, x: torch.Tensor) -> torch.Tensor:
    five = unit(s, f"{name}.branch5x5_2", unit(s, f"{name}.branch5x5_1", x), padding=2)
    three = unit(s, f"{name}.branch3x3dbl_3", double(s, name, x), padding=1)
    return torch.cat([unit(s, f"{name}.branch1x1", x), five, three, unit(s, f"{name}.branch_pool", mean(x))], 1)


def block_c(s: State, name: str, x: torch.Tensor) -> torch.Tensor:
    seven = unit(s, f"{name}.branch7x7_2", unit(s, f"{name}.branch7x7_1", x), padding=(0, 3))
    seven = unit(s, f"{name}.branch7x7_3", seven, padding=(3, 0))
    longer = unit(s, f"{name}.branch7x7dbl_1", x)
    for k, padding in ((2, (3, 0)), (3, (0, 3)), (4, (3, 0)), (5, (0, 3))):
        longer = unit(s, f"{name}.branch7x7dbl_{k}", longer, padding=padding)
    return torch.cat([unit(s, f"{name}.branch1x1", x), seven, longer, unit(s, f"{name}.branch_pool", mean(x))], 1)


def block_e(s: State, name: str, x: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:
    three, longer = unit(s, f"{name}.branch3x3_1", x), double(s, name, x)
    parts = [unit(s, f"{name}.branch1x1", x)]
    for branch, value in (("branch3x3_2", three), ("branch3x3dbl_3", longer)):
        parts.append(unit(s, f"{name}.{branch}a", value, padding=(0, 1)))
        parts.append(unit(s, f"{name}.{branch}b", value, padding=(1, 0)))
    return torch.cat([*parts, unit(s, f"{name}.branch_pool", pooled)], 1)


def double(s: State, name: str, x: torch.Tensor) -> torch.Tensor:
    return unit(s, f"{name}.branch3x3dbl_2", unit(s, f"{name}.branch3x3dbl_1", x), padding=1)


def mean(x: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def unit(s: State, name: str, x: torch.Tensor, stride: int = 1, padding: int | tuple[int, int] = 0) -> torch.Tensor:
    mean, variance, weight, bias = (s[f"{name}.bn.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
    x = F.conv2d(x, s[f"{name}.conv.weight"], None, stride, padding)
    return F.relu(F.batch_norm(x, mean, variance, weight, bias, eps=EPS))
