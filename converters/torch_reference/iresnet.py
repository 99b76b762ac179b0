"""Face recognition networks in PyTorch, on tensors under the originals' names, batch norms as they are (evaluation)."""

import torch
import torch.nn.functional as F

from converters.torch_reference.state import State


def embedding(s: State, x: torch.Tensor) -> torch.Tensor:
    """Standardised faces [B, 3, 112, 112] → [B, 512]; the family is told by the names."""
    return _insightface(s, x) if "fc.weight" in s else _backbone(s, x)


def _backbone(s: State, x: torch.Tensor) -> torch.Tensor:
    """CurricularFace's and InsightFace_Pytorch's."""
    x = F.prelu(norm(s, "input_layer.1", conv(s, "input_layer.0", x)), s["input_layer.2.weight"])
    widths = [s[f"body.{k}.res_layer.1.weight"].shape[0] for k in range(_count(s, "body."))]
    for k, width in enumerate(widths):
        name = f"body.{k}"
        stride = 2 if k == 0 or widths[k - 1] != width else 1
        y = conv(s, f"{name}.res_layer.1", norm(s, f"{name}.res_layer.0", x))
        y = conv(s, f"{name}.res_layer.3", F.prelu(y, s[f"{name}.res_layer.2.weight"]), stride)
        y = norm(s, f"{name}.res_layer.4", y)
        if f"{name}.res_layer.5.fc1.weight" in s:
            gate = F.conv2d(F.adaptive_avg_pool2d(y, 1), s[f"{name}.res_layer.5.fc1.weight"])
            y = y * F.conv2d(F.relu(gate), s[f"{name}.res_layer.5.fc2.weight"]).sigmoid()
        if f"{name}.shortcut_layer.0.weight" in s:
            x = norm(s, f"{name}.shortcut_layer.1", conv(s, f"{name}.shortcut_layer.0", x, stride))
        else:
            x = F.max_pool2d(x, 1, stride)
        x = x + y
    x = norm(s, "output_layer.0", x).flatten(1)
    return norm(s, "output_layer.4", F.linear(x, s["output_layer.3.weight"], s["output_layer.3.bias"]))


def _insightface(s: State, x: torch.Tensor) -> torch.Tensor:
    x = F.prelu(norm(s, "bn1", conv(s, "conv1", x)), s["prelu.weight"])
    for layer in range(1, 5):
        for k in range(_count(s, f"layer{layer}.")):
            name, stride = f"layer{layer}.{k}", 2 if k == 0 else 1
            y = norm(s, f"{name}.bn2", conv(s, f"{name}.conv1", norm(s, f"{name}.bn1", x)))
            y = conv(s, f"{name}.conv2", F.prelu(y, s[f"{name}.prelu.weight"]), stride)
            if f"{name}.downsample.0.weight" in s:
                x = norm(s, f"{name}.downsample.1", conv(s, f"{name}.downsample.0", x, stride))
            x = x + norm(s, f"{name}.bn3", y)
    x = norm(s, "bn2", x).flatten(1)
    return norm(s, "features", F.linear(x, s["fc.weight"], s["fc.bias"]))


def _count(s: State, prefix: str) -> int:
    return 1 + max(int(name.removeprefix(prefix).split(".")[0]) for name in s if name.startswith(prefix))


def conv(s: State, name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
    weight = s[f"{name}.weight"]
    return F.conv2d(x, weight, None, stride, weight.shape[-1] // 2)


def norm(s: State, name: str, x: torch.Tensor) -> torch.Tensor:
    statistics = s[f"{name}.running_mean"], s[f"{name}.running_var"]
    return F.batch_norm(x, *statistics, s.get(f"{name}.weight"), s.get(f"{name}.bias"), eps=1e-5)
