"""GGHead in PyTorch: gghead_spec sections 2 to 4, with weights modulated for each sample as StyleGAN2 does."""

import math

import torch
import torch.nn.functional as F

import converters.torch_reference.layers as layers
from converters.torch_reference.layers import dense, lrelu
from converters.torch_reference.state import State
from jax_talker.priors.gghead import GGHeadConfig
from jax_talker.priors.sh import C0
from jax_talker.priors.stylegan2 import block_sizes


def mapping(s: State, c: GGHeadConfig, z: torch.Tensor, label: torch.Tensor, psi: float, cutoff: int | None):
    """z and label → W+ [B, L, D]."""
    w = layers.mapping(s, "backbone.mapping", c, z, label, psi, cutoff)
    rows = 2 * len(block_sizes(c.plane_resolution))
    rows += c.pretrained_plane_resolution is not None and c.pretrained_plane_resolution < c.plane_resolution
    return layers.repeat_and_truncate(w, s["backbone.mapping.w_avg"], rows, psi, cutoff)


def low_pass(x: torch.Tensor, pad: tuple[int, int, int, int]) -> torch.Tensor:
    """The (1, 3, 3, 1) filter with the gain of an upsampling by 2, on every channel."""
    k = torch.tensor([1.0, 3, 3, 1], dtype=x.dtype) / 4
    x = F.pad(x, pad)
    channels = x.shape[1]
    x = F.conv2d(x, k.reshape(1, 1, 4, 1).repeat(channels, 1, 1, 1), groups=channels)
    return F.conv2d(x, k.reshape(1, 1, 1, 4).repeat(channels, 1, 1, 1), groups=channels)


def modulated(s: State, c: GGHeadConfig, name: str, x: torch.Tensor, w: torch.Tensor, up: bool, noise: bool):
    """Modulated, demodulated 3 × 3 convolution with noise, bias and lrelu; all samples as groups of one convolution."""
    batch, inputs, size, _ = x.shape
    style = dense(s, f"{name}.affine", w)
    weight = s[f"{name}.weight"][None] * style[:, None, :, None, None]  # [B, O, I, 3, 3]
    weight = weight * (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    x = x.reshape(1, batch * inputs, size, size)
    if up:
        y = F.conv_transpose2d(x, weight.transpose(1, 2).flatten(0, 1), stride=2, groups=batch)
        y = low_pass(y.reshape(batch, -1, 2 * size + 1, 2 * size + 1), (1, 1, 1, 1))
    else:
        y = F.conv2d(x, weight.flatten(0, 1), padding=1, groups=batch).reshape(batch, -1, size, size)
    if noise:
        y = y + s[f"{name}.noise_const"] * s[f"{name}.noise_strength"]
    y = lrelu(y + s[f"{name}.bias"][None, :, None, None])
    return y if c.conv_clamp is None else y.clamp(-c.conv_clamp, c.conv_clamp)


def planes(s: State, c: GGHeadConfig, ws: torch.Tensor, noise: bool = True) -> torch.Tensor:
    """W+ → attribute image [B, C, R, R]."""
    x, image, row = s["backbone.synthesis.b4.const"][None].repeat(len(ws), 1, 1, 1), None, 0
    for size in block_sizes(c.plane_resolution):
        block = f"backbone.synthesis.b{size}"
        if size > 4:
            x = modulated(s, c, f"{block}.conv0", x, ws[:, row], True, noise)
            row += 1
        x = modulated(s, c, f"{block}.conv1", x, ws[:, row], False, noise)
        row += 1
        style = dense(s, f"{block}.torgb.affine", ws[:, row]) / math.sqrt(x.shape[1])
        weight = s[f"{block}.torgb.weight"][None] * style[:, None, :, None, None]
        channels = weight.shape[1]
        new = F.conv2d(x.reshape(1, -1, size, size), weight.flatten(0, 1), groups=len(ws))
        new = new.reshape(len(ws), channels, size, size) + s[f"{block}.torgb.bias"][None, :, None, None]
        new = new if c.conv_clamp is None else new.clamp(-c.conv_clamp, c.conv_clamp)
        if image is not None:
            stuffed = image.new_zeros(*image.shape[:2], size, size)
            stuffed[:, :, ::2, ::2] = image
            new = new + low_pass(stuffed, (2, 1, 2, 1))
        image = new
    assert image is not None
    return image


def sampled(s: State, c: GGHeadConfig, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """Attribute image → raw values [B, G, ·] of every Gaussian."""
    where = c.channels
    if c.use_zero_conv_position:
        moved = F.conv2d(image[:, where["position"]], s["_zero_conv_position.weight"], s["_zero_conv_position.bias"])
        parts = [moved if name == "position" else image[:, where[name]] for name in c.attributes]
        image = torch.cat(parts, 1)
    grid = s["_uv_grid"].reshape(1, -1, 1, 2).repeat(len(image), 1, 1, 1)
    sampled = F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=c.use_align_corners)
    values = sampled[..., 0].transpose(1, 2)  # [B, G, C]
    return {name: values[..., part] for name, part in where.items()}


def gaussians(s: State, c: GGHeadConfig, raw: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Raw values → what the rasteriser receives (the names of jax_talker.types.Gaussians)."""
    y = -(raw["scale"] + c.scale_offset)
    scale = c.max_scale - F.softplus(y + c.max_scale if c.center_scale_activation else y)
    colour = (torch.tanh(raw["color"]) * (1 + 2 * c.color_overshoot) - c.color_overshoot) * 0.5 / C0
    opacity = torch.sigmoid(raw["opacity"][..., 0]) * (1 + 2 * c.opacity_overshoot) - c.opacity_overshoot
    offset = c.position_range * torch.tanh(c.position_attenuation * raw["position"])
    return {
        "mean": s["_flame_vertices"].reshape(1, -1, 3) + offset,
        "scale": scale.exp(),
        "quat": F.normalize(_rotation(c, raw["rotation"]), dim=-1),
        "opacity": opacity.clamp(0, 1) if c.clamp_opacity else opacity,
        "sh": colour.reshape(*colour.shape[:2], -1, 3),
    }


def _rotation(c: GGHeadConfig, raw: torch.Tensor) -> torch.Tensor:
    if not c.use_rodriguez_rotation:
        return raw / raw.norm(dim=-1, keepdim=True)
    v = 2 * math.pi * torch.tanh(c.rotation_attenuation * raw)
    angle = v.norm(dim=-1, keepdim=True)
    small = angle < 1e-6
    k = torch.where(small, 0.5 - angle.square() / 48, torch.sin(angle / 2) / torch.where(small, 1.0, angle))
    return torch.cat([v[..., 2:] * k, torch.cos(angle / 2), v[..., :2] * k], -1)
