"""BiSeNet's face parsing in PyTorch, on tensors under the original's names, batch norms as they are (evaluation)."""

import torch
import torch.nn.functional as F

from converters.torch_reference.state import State


def scores(s: State, x: torch.Tensor) -> torch.Tensor:
    """Standardised sRGB [B, 3, H, W] → class scores [B, 19, H, W]."""
    eighth, sixteenth, thirty_second = resnet(s, x)
    average = conv_norm(s, "cp.conv_avg", pooled(thirty_second))
    coarse = attention(s, "cp.arm32", thirty_second) + average
    coarse = conv_norm(s, "cp.conv_head32", nearest(coarse, sixteenth))
    fine = nearest(attention(s, "cp.arm16", sixteenth) + coarse, eighth)
    fine = conv_norm(s, "cp.conv_head16", fine)
    mixed = conv_norm(s, "ffm.convblk", torch.cat([eighth, fine], 1))
    weight = F.conv2d(F.relu(F.conv2d(pooled(mixed), s["ffm.conv1.weight"])), s["ffm.conv2.weight"])
    mixed = mixed + mixed * weight.sigmoid()
    out = F.conv2d(conv_norm(s, "conv_out.conv", mixed), s["conv_out.conv_out.weight"])
    return F.interpolate(out, x.shape[2:], mode="bilinear", align_corners=True)


def resnet(s: State, x: torch.Tensor) -> list[torch.Tensor]:
    x = F.relu(norm(s, "cp.resnet.bn1", F.conv2d(x, s["cp.resnet.conv1.weight"], stride=2, padding=3)))
    x = F.max_pool2d(x, 3, 2, 1)
    levels = []
    for layer in range(1, 5):
        for block in range(2):
            name, stride = f"cp.resnet.layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            y = F.conv2d(x, s[f"{name}.conv1.weight"], stride=stride, padding=1)
            y = F.conv2d(F.relu(norm(s, f"{name}.bn1", y)), s[f"{name}.conv2.weight"], padding=1)
            if f"{name}.downsample.0.weight" in s:
                x = norm(s, f"{name}.downsample.1", F.conv2d(x, s[f"{name}.downsample.0.weight"], stride=stride))
            x = F.relu(x + norm(s, f"{name}.bn2", y))
        levels.append(x)
    return levels[1:]


def attention(s: State, name: str, x: torch.Tensor) -> torch.Tensor:
    x = conv_norm(s, f"{name}.conv", x)
    gate = norm(s, f"{name}.bn_atten", F.conv2d(pooled(x), s[f"{name}.conv_atten.weight"]))
    return x * gate.sigmoid()


def conv_norm(s: State, name: str, x: torch.Tensor) -> torch.Tensor:
    weight = s[f"{name}.conv.weight"]
    return F.relu(norm(s, f"{name}.bn", F.conv2d(x, weight, padding=weight.shape[-1] // 2)))


def norm(s: State, name: str, x: torch.Tensor) -> torch.Tensor:
    mean, variance, weight, bias = (s[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, mean, variance, weight, bias, eps=1e-5)


def pooled(x: torch.Tensor) -> torch.Tensor:
    return F.adaptive_avg_pool2d(x, 1)


def nearest(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, like.shape[2:], mode="nearest")
