"""GSGAN's tensors by their original names: gsgan_spec section 14."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from converters.assemble import Constant, Source, assemble
from converters.gghead_names import FIR
from jax_talker.priors.anchors import OPACITY_INIT, SIZES
from jax_talker.priors.base import Variables
from jax_talker.priors.gsgan import GSGAN
from jax_talker.priors.gsgan_network import DIRECTION_WIDTH

TABLE = 512  # length of the original's positional table; only its two middle columns are ever read


def to_variables(prior: GSGAN, tensors: Mapping[str, np.ndarray]) -> Variables:
    """The state of the original generator → variables of ``prior``; a CheckpointError says what does not fit."""
    variables = assemble(
        prior.shapes(), sources(prior), tensors, constants=constants(prior), optional=("dataset_label_std",)
    )
    return jax.tree.map(jnp.asarray, variables)


def sources(prior: GSGAN) -> dict[str, Source]:
    """Where each leaf of the variables comes from."""
    c = prior.config
    table = {
        "buffers/w_avg": Source("mapping_network.w_avg"),
        "params/foreground/seeds": Source("_xyz"),
        "params/background/seeds": Source("_xyz_bg"),
    }
    for layer in [f"fc{i}" for i in range(c.mapping_layers)] + ["embed"] * (c.c_dim > 0):
        table |= _dense(f"mapping/{layer}", f"mapping_network.{layer}")
    if c.use_start_pe:
        table |= _dense("foreground/encoding/sine", "point_gen.conv_in.learnable_pe.ffm.linear")
        table["params/foreground/encoding/table"] = Source("point_gen.conv_in.const_pe.const_pe", "table")
    else:
        table |= _dense("foreground/encoding/linear", "point_gen.conv_in")
    if c.use_dir_cond:
        table |= _dense("foreground/direction", "point_gen.encoder_camera_cond")
    for i in range(c.transformer_layers):
        table |= _transformer_layer(i)
    for level in c.levels:
        theirs, ours = f"point_gen.blocks.{level.name}", f"foreground/{level.name}"
        if level.name != "block_4":
            table |= _point_block(ours, theirs, level.styled, skip=level.inputs != level.features)
        for index, kind in enumerate(("anchor", "output")):
            if kind == "anchor" and level.last:
                continue
            for head in SIZES:
                table |= _dense(f"{ours}_heads/{kind}_{head}", f"point_gen.out_layers.{head}.{level.name}.{index}")
    return table | _background()


def constants(prior: GSGAN) -> dict[str, Constant]:
    """Tensors of the checkpoint that have no effect (section 13), or that repeat the configuration."""
    c = prior.config
    table = {
        "dataset_label_std": Constant((25,)),
        "point_gen.camera_dep_affine.weight": Constant((c.w_dim, DIRECTION_WIDTH * c.use_dir_cond)),
        "point_gen.camera_dep_affine.bias": Constant((c.w_dim,)),
    }
    for prefix, lead, start, threshold in (
        ("point_gen", (), c.scale_init, c.scale_threshold),
        ("point_gen_bg", (1,), c.scale_init_bg, c.scale_threshold_bg),
    ):
        table |= {
            f"{prefix}.scale_init": Constant((*lead, 3), start),
            f"{prefix}.scale_threshold": Constant((*lead, 3), threshold),
            f"{prefix}.rotation_init": Constant((*lead, 4), np.array([1, 0, 0, 0])),
            f"{prefix}.color_init": Constant((*lead, 3), 0.0),
            f"{prefix}.opacity_init": Constant((*lead, 1), OPACITY_INIT),
        }
    for level in c.levels:
        if level.name != "block_4":
            for network in ("conv_w", "conv_x"):
                for i in range(2):
                    name = f"point_gen.blocks.{level.name}.0.{network}.{i}.resample_filter"
                    table[name] = Constant((4, 4), FIR)
        if level.last:
            for head, size in SIZES.items():
                name = f"point_gen.out_layers.{head}.{level.name}.0"
                table |= {f"{name}.weight": Constant((size, level.features)), f"{name}.bias": Constant((size,))}
    width, unused = c.background_width, "point_gen_bg.out_layers.block_0.xyz.out_block"
    return table | {
        f"{unused}.weight": Constant((3, width)),
        f"{unused}.bias": Constant((3,)),
        f"{unused}.affine.weight": Constant((width, c.w_dim)),
        f"{unused}.affine.bias": Constant((width,)),
    }


def _transformer_layer(i: int) -> dict[str, Source]:
    ours, theirs = f"foreground/block_4/layer{i}", f"point_gen.blocks.block_4.0.resblocks.{i}"
    table = _dense(f"{ours}_qkv", f"{theirs}.attn.c_qkv") | _dense(f"{ours}_out", f"{theirs}.attn.c_proj")
    table |= _dense(f"{ours}_widen", f"{theirs}.mlp.c_fc") | _dense(f"{ours}_narrow", f"{theirs}.mlp.c_proj")
    for k in (1, 2):
        table |= _norm(f"{ours}_norm{k}", f"{theirs}.ln_{k}") | _dense(f"{ours}_gate{k}/fc", f"{theirs}.ls_{k}")
    return table


def _point_block(ours: str, theirs: str, styled: bool, *, skip: bool) -> dict[str, Source]:
    table = _dense(f"{ours}/up", f"{theirs}.1.subpixel")
    for network, name in (("logits", "conv_w"), ("values", "conv_x")):
        for i in range(2):
            table |= _dense(f"{ours}/{network}{i}", f"{theirs}.0.{name}.{i}", "conv1x1")
    if skip:
        table |= _dense(f"{ours}/up_skip", f"{theirs}.1.res_fc")
    table |= _dense(f"{ours}/widen", f"{theirs}.2.mlp.c_fc") | _dense(f"{ours}/narrow", f"{theirs}.2.mlp.c_proj")
    for k, part in ((0, 0), (1, 2)):
        if styled:
            table |= _norm(f"{ours}/norm{k}", f"{theirs}.{part}.norm")
            table |= _dense(f"{ours}/gate{k}/fc", f"{theirs}.{part}.ls")
        else:
            table[f"params/{ours}/gate{k}"] = Source(f"{theirs}.{part}.ls")
    return table


def _background() -> dict[str, Source]:
    ours, theirs = "background", "point_gen_bg"
    table = _dense(f"{ours}/sine", f"{theirs}.conv_in.ffm.linear")
    table |= _modulated(f"{ours}/fine_up", f"{theirs}.network.block_1.0.subpixel")
    for k in (0, 1):
        table |= _modulated(f"{ours}/coarse_mix{k}", f"{theirs}.network.block_0.{k}", residual=True)
        table |= _modulated(f"{ours}/fine_mix{k}", f"{theirs}.network.block_1.{k + 1}", residual=True)
    for block, stage in enumerate(("coarse", "fine")):
        for head in SIZES:
            if (stage, head) != ("coarse", "xyz"):
                name = f"{theirs}.out_layers.block_{block}.{head}.out_block"
                table |= _modulated(f"{ours}/{stage}_{head}", name)
    return table


def _dense(ours: str, theirs: str, layout: str = "dense") -> dict[str, Source]:
    return {
        f"params/{ours}/kernel": Source(f"{theirs}.weight", layout),
        f"params/{ours}/bias": Source(f"{theirs}.bias"),
    }


def _norm(ours: str, theirs: str) -> dict[str, Source]:
    return _dense(f"{ours}/gamma", f"{theirs}.gamma") | _dense(f"{ours}/beta", f"{theirs}.beta")


def _modulated(ours: str, theirs: str, *, residual: bool = False) -> dict[str, Source]:
    table = _dense(ours, theirs) | _dense(f"{ours}/affine", f"{theirs}.affine")
    if residual:
        table[f"params/{ours}/layerscale"] = Source(f"{theirs}.layerscale")
    return table
