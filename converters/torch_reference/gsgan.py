"""GSGAN in PyTorch: gsgan_spec sections 3 to 10, in float32 throughout."""

import math

import torch
import torch.nn.functional as F

import converters.torch_reference.layers as layers
from converters.torch_reference.layers import dense, lrelu
from converters.torch_reference.state import State
from jax_talker.priors.anchors import OPACITY_INIT, SIZES
from jax_talker.priors.gsgan_config import BACKGROUND_RATIO, GSGANConfig, Level
from jax_talker.priors.points import HEADS, NEIGHBOURS, SIBLINGS

Splats = dict[str, torch.Tensor]


def mapping(s: State, c: GSGANConfig, z: torch.Tensor, label: torch.Tensor, psi: float, cutoff: int | None):
    """z and label → W+ [B, L, D]."""
    w = layers.mapping(s, "mapping_network", c, z, label, psi, cutoff)
    return layers.repeat_and_truncate(w, s["mapping_network.w_avg"], c.num_ws, psi, cutoff)


def parts(s: State, c: GSGANConfig, ws: torch.Tensor, direction: torch.Tensor) -> tuple[Splats, Splats, Splats]:
    """(foreground, anchors, background) before their last activation."""
    return *foreground(s, c, ws, direction), background(s, c, ws[:, -1])


def ada_norm(s: State, name: str, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Instance norm over the points, then scale and shift from the style."""
    std, mean = torch.std_mean(x, 1, correction=0, keepdim=True)
    return (x - mean) / (std + 1e-8) * dense(s, f"{name}.gamma", w)[:, None] + dense(s, f"{name}.beta", w)[:, None]


def mlp(s: State, name: str, x: torch.Tensor) -> torch.Tensor:
    return dense(s, f"{name}.c_proj", math.sqrt(2) * F.gelu(dense(s, f"{name}.c_fc", x)))


def pointwise(s: State, name: str, x: torch.Tensor) -> torch.Tensor:
    """Two 1 × 1 convolutions, on the last axis."""
    for i, act in ((0, lrelu), (1, None)):
        weight = s[f"{name}.{i}.weight"][:, :, 0, 0]
        x = F.linear(x, weight / math.sqrt(weight.shape[1]), s[f"{name}.{i}.bias"])
        x = act(x) if act else x
    return x


def attend(s: State, name: str, own: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
    """own [B, N, C], near [B, N, K, C] → what the neighbours say, weighted for every channel on its own."""
    delta = near - own[:, :, None]
    weights = torch.softmax(pointwise(s, f"{name}.conv_w", delta), 2)
    values = pointwise(s, f"{name}.conv_x", torch.cat([own[:, :, None].expand_as(delta), delta], -1))
    return (weights * values).sum(2)


def nearest(x: torch.Tensor) -> torch.Tensor:
    """Indices [B, N, 16] of the nearest other points by feature distance."""
    squares = x.square().sum(-1)
    distance = squares[:, :, None] + squares[:, None] - 2 * x @ x.transpose(1, 2)
    return distance.topk(NEIGHBOURS + 1, -1, largest=False).indices[..., 1:]


def transformer(s: State, c: GSGANConfig, x: torch.Tensor, ws: torch.Tensor) -> torch.Tensor:
    batch, points, channels = x.shape
    width = channels // HEADS
    for i in range(c.transformer_layers):
        name, w0, w1 = f"point_gen.blocks.block_4.0.resblocks.{i}", ws[:, 2 * i], ws[:, 2 * i + 1]
        qkv = dense(s, f"{name}.attn.c_qkv", ada_norm(s, f"{name}.ln_1", x, w0))
        q, k, v = qkv.reshape(batch, points, HEADS, 3 * width).split(width, -1)
        scores = torch.einsum("bqhc,bkhc->bhqk", q * width**-0.25, k * width**-0.25)
        mixed = torch.einsum("bhqk,bkhc->bqhc", scores.softmax(-1), v).reshape(x.shape)
        x = x + dense(s, f"{name}.attn.c_proj", mixed) * dense(s, f"{name}.ls_1", w0)[:, None]
        x = x + mlp(s, f"{name}.mlp", ada_norm(s, f"{name}.ln_2", x, w1)) * dense(s, f"{name}.ls_2", w1)[:, None]
    return x


def block(s: State, c: GSGANConfig, level: Level, x: torch.Tensor, styles: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Attention over neighbours or siblings, upsampling, MLP."""
    name = f"point_gen.blocks.{level.name}"
    batch, points, channels = x.shape
    if level.styled:
        n = ada_norm(s, f"{name}.0.norm", x, styles[0])
        near = torch.stack([sample[index] for sample, index in zip(n, nearest(n.detach()), strict=True)])
        x = x + attend(s, f"{name}.0", n, near) * dense(s, f"{name}.0.ls", styles[0])[:, None]
    else:
        groups = x.reshape(batch, points // SIBLINGS, 1, SIBLINGS, channels)
        near = groups.expand(-1, -1, SIBLINGS, -1, -1).reshape(batch, points, SIBLINGS, channels)
        x = x + attend(s, f"{name}.0", x, near) * s[f"{name}.0.ls"]
    children = dense(s, f"{name}.1.subpixel", x, lrelu).reshape(batch, points * c.up_ratio, level.features)
    skip = x if level.inputs == level.features else dense(s, f"{name}.1.res_fc", x)
    x = (skip.repeat_interleave(c.up_ratio, 1) + children) / math.sqrt(2)
    if level.styled:
        changed = mlp(s, f"{name}.2.mlp", ada_norm(s, f"{name}.2.norm", x, styles[1]))
        return x + changed * dense(s, f"{name}.2.ls", styles[1])[:, None]
    return x + mlp(s, f"{name}.2.mlp", x) * s[f"{name}.2.ls"]


def foreground(s: State, c: GSGANConfig, ws: torch.Tensor, direction: torch.Tensor) -> tuple[Splats, Splats]:
    """Gaussians of all levels, and anchors of all but the last."""
    embedding = dense(s, "point_gen.encoder_camera_cond", direction, lrelu) if c.use_dir_cond else None
    x = encoding(s, c, torch.tanh(s["_xyz"]))[None].repeat(len(ws), 1, 1)
    outputs, kept = [], []
    for i, level in enumerate(c.levels):
        if i == 0:
            x = transformer(s, c, x, ws)
        else:
            row = 2 * (c.transformer_layers + i - 1)
            x = block(s, c, level, x, (ws[:, row], ws[:, row + 1]) if level.styled else ())
        h = heads(s, level, 1, x, embedding)
        a = None if level.last else heads(s, level, 0, x, None)
        if kept:
            parent = {name: value.repeat_interleave(c.up_ratio, 1) for name, value in kept[-1].items()}
            outputs.append(child(parent, h, c.split_above, c.log_split_ratio, -8))
            kept += [child(parent, a, c.split_above, c.log_split_ratio, -8)] if a else []
        else:
            assert a is not None
            kept.append(first(a, torch.tanh(c.xyz_output_scale * a["xyz"]), c.scale_init, c.scale_threshold))
            outputs.append(first(h, inside(kept[0], h["xyz"]), c.scale_init, c.scale_threshold))
    found = concatenate(outputs)
    return found | {"xyz": found["xyz"].clamp(-1, 1)}, concatenate(kept)


def encoding(s: State, c: GSGANConfig, p: torch.Tensor) -> torch.Tensor:
    name = "point_gen.conv_in"
    if not c.use_start_pe:
        return dense(s, name, p)
    sine = f"{name}.learnable_pe.ffm.linear"
    waves = torch.sin(F.linear(p, s[f"{sine}.weight"], s[f"{sine}.bias"]))
    table = s[f"{name}.const_pe.const_pe"]  # [3, C, 1, 512], read at x = 0 (its middle) and y = p
    grid = torch.stack([torch.zeros_like(p), p], -1).transpose(0, 1)[:, :, None]  # [3, N, 1, 2]
    read = F.grid_sample(table, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return torch.cat([waves, read[..., 0].sum(0).T / math.sqrt(3)], 1)


def heads(s: State, level: Level, index: int, x: torch.Tensor, embedding: torch.Tensor | None) -> Splats:
    found = {}
    for name in SIZES:
        seen = x
        if name == "color" and embedding is not None:
            seen = torch.cat([x, embedding[:, None].expand(-1, x.shape[1], -1)], -1)
        found[name] = dense(s, f"point_gen.out_layers.{name}.{level.name}.{index}", seen)
    return found


def first(h: Splats, xyz: torch.Tensor, start: float, threshold: float) -> Splats:
    identity = torch.tensor([1.0, 0, 0, 0])
    scale = threshold + F.logsigmoid(start + h["scale"] - threshold)
    return h | {
        "xyz": xyz,
        "scale": scale,
        "rotation": identity + h["rotation"],
        "opacity": OPACITY_INIT + h["opacity"],
    }


def inside(parent: Splats, step: torch.Tensor) -> torch.Tensor:
    w, x, y, z = (parent["rotation"] / parent["rotation"].norm(dim=-1, keepdim=True)).unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    rotation = torch.stack([torch.stack(row, -1) for row in rows], -2)
    local = parent["scale"].exp() * torch.tanh(step)
    return parent["xyz"] + (rotation @ local[..., None])[..., 0]


def child(parent: Splats, h: Splats, split_above: float, log_ratio: float, smallest: float) -> Splats:
    large = parent["scale"].exp().amax(-1, keepdim=True) > split_above
    base = torch.where(large, (parent["scale"] - log_ratio).clamp(-100, 0), parent["scale"])
    return {
        "xyz": inside(parent, h["xyz"]),
        "scale": (base + F.logsigmoid(h["scale"])).clamp(smallest, 0),
        "rotation": parent["rotation"] + h["rotation"],
        "color": parent["color"] + h["color"],
        "opacity": parent["opacity"] + h["opacity"],
    }


def concatenate(levels: list[Splats]) -> Splats:
    return {name: torch.cat([level[name] for level in levels], 1) for name in SIZES}


def modulated(s: State, name: str, x: torch.Tensor, w: torch.Tensor, act=None, *, demodulate: bool, residual=False):
    """Dense layer with inputs scaled by a style."""
    weight = s[f"{name}.weight"]
    style = dense(s, f"{name}.affine", w)
    style = style if demodulate else style / math.sqrt(weight.shape[1])
    y = F.linear(x * style[:, None], weight)
    if demodulate:
        y = y * ((style.square() @ weight.square().T) + 1e-8).rsqrt()[:, None]
    y = y + s[f"{name}.bias"]
    y = (act(y) if act else y).clamp(-256, 256)
    return y * s[f"{name}.layerscale"].reshape(-1) + x if residual else y


def background(s: State, c: GSGANConfig, w: torch.Tensor) -> Splats:
    """The sphere of background Gaussians: parents, then children."""
    p = s["_xyz_bg"]
    name = "point_gen_bg.conv_in.ffm.linear"
    x = torch.sin(F.linear(p, s[f"{name}.weight"], s[f"{name}.bias"]))[None].repeat(len(w), 1, 1)
    for i in range(2):
        x = modulated(s, f"point_gen_bg.network.block_0.{i}", x, w, lrelu, demodulate=True, residual=True)
    h = _background_heads(s, 0, x, w, skip=("xyz",))
    place = on_sphere(p)[None].repeat(len(w), 1, 1)
    parents = first(h, place, c.scale_init_bg, c.scale_threshold_bg)
    grown = modulated(s, "point_gen_bg.network.block_1.0.subpixel", x, w, lrelu, demodulate=True)
    grown = grown.reshape(len(w), -1, c.background_width)
    x = (x.repeat_interleave(BACKGROUND_RATIO, 1) + grown) / math.sqrt(2)
    for i in (1, 2):
        x = modulated(s, f"point_gen_bg.network.block_1.{i}", x, w, lrelu, demodulate=True, residual=True)
    repeated = {name: value.repeat_interleave(BACKGROUND_RATIO, 1) for name, value in parents.items()}
    children = child(repeated, _background_heads(s, 1, x, w), 0.05, math.log(BACKGROUND_RATIO) / 3, -10)
    children["xyz"] = on_sphere(children["xyz"])
    found = concatenate([parents, children])
    return found | {"xyz": on_sphere(found["xyz"])}


def _background_heads(s: State, index: int, x: torch.Tensor, w: torch.Tensor, skip: tuple[str, ...] = ()) -> Splats:
    name = f"point_gen_bg.out_layers.block_{index}."
    return {head: modulated(s, f"{name}{head}.out_block", x, w, demodulate=False) for head in SIZES if head not in skip}


def on_sphere(p: torch.Tensor) -> torch.Tensor:
    return 3 * F.normalize(p, dim=-1, eps=1e-12)
