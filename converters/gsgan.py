"""GSGAN snapshots: from a pickle of the original program to a prior folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters import checkpoint as checkpoints
from converters.card import Source, model_card
from converters.checkpoint import Progress
from converters.errors import CheckpointError
from converters.flat_options import check_required, flatten, refuse_unknown
from converters.gsgan_names import to_variables
from converters.quoting import short
from jax_talker.errors import UserError
from jax_talker.priors.base import Prior, Variables
from jax_talker.priors.gsgan import make_gsgan
from jax_talker.priors.gsgan_config import GSGANConfig

LICENCE = (
    "The arrays in this folder were converted from a GSGAN checkpoint, which is bound by its own terms: it was trained "
    "by programs that build on EG3D (NVIDIA Source Code License, non-commercial) and on 3D Gaussian Splatting "
    "(Inria/MPII, research only), on FFHQ (CC BY-NC-SA 4.0). Whoever uses or passes on this folder must follow them."
)
_CUSTOM = "rendering_kwargs.custom_options."
USED = {
    "z_dim": "z_dim",
    "w_dim": "w_dim",
    "c_dim": "c_dim",
    "rendering_kwargs.c_scale": "c_scale",
    "rendering_kwargs.c_gen_conditioning_zero": "c_gen_conditioning_zero",
    f"{_CUSTOM}num_pts": "num_pts",
    f"{_CUSTOM}up_ratio": "up_ratio",
    f"{_CUSTOM}res_end": "res_end",
    f"{_CUSTOM}scale_init": "scale_init",
    f"{_CUSTOM}scale_threshold": "scale_threshold",
    f"{_CUSTOM}scale_end": "scale_end",
    f"{_CUSTOM}scale_init_bg": "scale_init_bg",
    f"{_CUSTOM}scale_threshold_bg": "scale_threshold_bg",
    f"{_CUSTOM}xyz_output_scale": "xyz_output_scale",
    f"{_CUSTOM}use_start_pe": "use_start_pe",
    f"{_CUSTOM}use_dir_cond": "use_dir_cond",
}
REQUIRED: dict[str, tuple[Any, ...]] = {
    f"{_CUSTOM}output_multiplier": (1,),  # larger ones fail in the original as well
    "mapping_kwargs.embed_features": (None,),
    "mapping_kwargs.layer_features": (None,),
    "mapping_kwargs.activation": ("lrelu",),
    "mapping_kwargs.lr_multiplier": (0.01,),
}
# What the generator itself ignores (spec section 1), what only training feels, and the depth of the mapping network,
# which is counted in the tensors.
IGNORED = (
    r"mapping_kwargs\.num_layers|img_resolution|img_channels|channel_base|channel_max|num_fp16_res|conv_clamp"
    r"|fused_modconv_default|class_name|sr_num_fp16_res|sr_kwargs\..*"
    r"|rendering_kwargs\.(?!custom_options|c_scale|c_gen_conditioning_zero).*"
    r"|rendering_kwargs\.custom_options\.(scale_upsample_reg|camera_noise_std|rgb_resolution)"
)


def convert(
    source: str | Path, *, use_background: bool = True, progress: Progress | None = None
) -> tuple[Prior, Variables, str]:
    """The prior of a snapshot, its variables and its model card."""
    path = Path(source)
    checkpoint = checkpoints.read(path, progress)
    budget = checkpoint.budget
    try:
        generator = checkpoints.ema_generator(checkpoint)
        if generator.state.get("_init_args"):
            raise CheckpointError("was made with positional arguments, which do not say what they are")
        options = flatten(checkpoints.plain(generator.state.get("_init_kwargs"), budget), budget)
        if not options:
            raise CheckpointError("has no options (_init_kwargs)")
        tensors = checkpoints.arrays(checkpoints.state(generator, budget), checkpoint)
        prior = make_gsgan(config_from(options, tensors, use_background=use_background))
        variables = to_variables(prior, tensors)
    except UserError as error:
        raise CheckpointError(error, path) from None
    config = prior.config
    card = model_card(
        prior,
        variables,
        Source("GSGAN", path.name, checkpoint.sha256, checkpoint.bytes),
        title="GSGAN prior",
        paper="Hyun and Heo, *Adversarial Generation of Hierarchical Gaussians for 3D Generative Model*, NeurIPS 2024",
        licence=LICENCE,
        notes={
            "foreground Gaussians": f"{config.num_foreground:,} on {config.num_levels} levels",
            "background Gaussians": f"{config.num_background:,}"
            + ("" if use_background else ", left out of the scene"),
            "left out": "tensors that have no effect on the Gaussians (docs/checkpoints.md lists them)",
        },
    )
    return prior, variables, card


def config_from(
    options: Mapping[str, Any], tensors: Mapping[str, np.ndarray], *, use_background: bool = True
) -> GSGANConfig:
    """Our options from the original's flat ones; constants of its program are read off the tensors."""
    check_required(options, REQUIRED)
    refuse_unknown(options, known={*USED, *REQUIRED}, ignored=IGNORED)
    if missing := sorted(set(USED) - set(options)):
        raise CheckpointError(f"options lack {missing}")
    chosen = {ours: options[theirs] for theirs, ours in USED.items()} | {"use_background": use_background}
    chosen["mapping_layers"] = _count(tensors, "mapping_network.fc{}.weight")
    chosen["transformer_layers"] = _count(tensors, "point_gen.blocks.block_4.0.resblocks.{}.attn.c_proj.weight")
    chosen["background_width"] = _size(tensors, "point_gen_bg.conv_in.ffm.linear.weight", 0)
    chosen["background_points"] = _size(tensors, "_xyz_bg", 0)
    res_end = options[f"{_CUSTOM}res_end"]
    if not isinstance(res_end, int) or not 32 <= res_end <= 256 or res_end & (res_end - 1):
        raise CheckpointError(f"option res_end={short(res_end)} must be 32, 64, 128 or 256")
    blocks = [4 << i for i in range(res_end.bit_length() - 3)]
    widths = [_size(tensors, f"point_gen.out_layers.xyz.block_{block}.1.weight", 1) for block in blocks]
    chosen["channels"] = [widths[0], *widths]  # block_4 keeps its width
    return GSGANConfig.from_json(chosen)


def _count(tensors: Mapping[str, np.ndarray], pattern: str) -> int:
    """How many layers there are, numbered from 0."""
    count = 0
    while pattern.format(count) in tensors:
        count += 1
    return count


def _size(tensors: Mapping[str, np.ndarray], name: str, axis: int) -> int:
    tensor = tensors.get(name)
    if tensor is None or tensor.ndim != 2:
        raise CheckpointError(f"tensor {name} is missing or mis-shaped")
    return tensor.shape[axis]
