"""GGHead's tensors by their original names: gghead_spec section 9."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from converters.assemble import Constant, Source, assemble
from jax_talker.priors.base import Variables
from jax_talker.priors.gghead import GGHead
from jax_talker.priors.stylegan2 import block_sizes

FIR = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
OPTIONAL = ("dataset_label_std", "_gaussian_bg", "_gaussian_bg_train")


def to_variables(prior: GGHead, tensors: Mapping[str, np.ndarray]) -> Variables:
    """The state of the original generator → variables of ``prior``; a CheckpointError says what does not fit."""
    variables = assemble(prior.shapes(), sources(prior), tensors, constants=constants(prior), optional=OPTIONAL)
    return jax.tree.map(jnp.asarray, variables)


def sources(prior: GGHead) -> dict[str, Source]:
    """Where each leaf of the variables comes from."""
    table = {
        "buffers/w_avg": Source("backbone.mapping.w_avg"),
        "buffers/uv": Source("_uv_grid"),  # (1, G, 1, 2)
        "buffers/base_position": Source("_flame_vertices"),  # (1, G, 3)
    }
    dense = [f"fc{i}" for i in range(prior.config.mapping_layers)] + ["embed"] * (prior.config.c_dim > 0)
    for layer in dense:
        table |= _dense(f"mapping/{layer}", f"backbone.mapping.{layer}")
    if prior.config.use_zero_conv_position:
        table["params/zero_conv_position_kernel"] = Source("_zero_conv_position.weight", "conv1x1")
        table["params/zero_conv_position_bias"] = Source("_zero_conv_position.bias")
    for size in block_sizes(prior.config.plane_resolution):
        ours, theirs = f"synthesis/b{size}", f"backbone.synthesis.b{size}"
        if size == 4:
            table[f"params/{ours}/const"] = Source(f"{theirs}.const", "image")
        for layer in _convolutions(size):
            table[f"params/{ours}/{layer}/weight"] = Source(f"{theirs}.{layer}.weight", "conv")
            table[f"params/{ours}/{layer}/bias"] = Source(f"{theirs}.{layer}.bias")
            table[f"params/{ours}/{layer}/noise_strength"] = Source(f"{theirs}.{layer}.noise_strength")
            table[f"buffers/{ours}/{layer}/noise_const"] = Source(f"{theirs}.{layer}.noise_const")
            table |= _dense(f"{ours}/{layer}/affine", f"{theirs}.{layer}.affine")
        table[f"params/{ours}/torgb/weight"] = Source(f"{theirs}.torgb.weight", "conv1x1")
        table[f"params/{ours}/torgb/bias"] = Source(f"{theirs}.torgb.bias")
        table |= _dense(f"{ours}/torgb/affine", f"{theirs}.torgb.affine")
    return table


def constants(prior: GGHead) -> dict[str, Constant]:
    """Tensors of the checkpoint that inference does not need."""
    resolution = prior.config.plane_resolution
    table = {
        "_uv_position_map": Constant((3, resolution, resolution)),
        "dataset_label_std": Constant((25,)),
        "_gaussian_bg": Constant((3,)),
        "_gaussian_bg_train": Constant((3,)),
    }
    for size in block_sizes(resolution):
        prefix = f"backbone.synthesis.b{size}"
        table[f"{prefix}.resample_filter"] = Constant((4, 4), FIR)
        for layer in _convolutions(size):
            table[f"{prefix}.{layer}.resample_filter"] = Constant((4, 4), FIR)
    return table


def _convolutions(size: int) -> tuple[str, ...]:
    return ("conv1",) if size == 4 else ("conv0", "conv1")


def _dense(ours: str, theirs: str) -> dict[str, Source]:
    return {
        f"params/{ours}/kernel": Source(f"{theirs}.weight", "dense"),
        f"params/{ours}/bias": Source(f"{theirs}.bias"),
    }
