"""GGHead checkpoints: from a run folder or a snapshot to a prior folder.

A run folder GGHEAD-<id>_<text>/ holds model_config.json and checkpoints/checkpoint-<kimg>.pkl; the snapshot repeats the
configuration, and the two must agree.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters import checkpoint as checkpoints
from converters.card import Source, model_card
from converters.checkpoint import Progress
from converters.errors import CheckpointError
from converters.flat_options import check_required, flatten, refuse_unknown
from converters.gghead_names import to_variables
from converters.quoting import short
from jax_talker.errors import UserError
from jax_talker.priors.base import Prior, Variables
from jax_talker.priors.gghead import GGHeadConfig, make_gghead

LONGEST_NAME = 32  # of an attribute
LONGEST_CONFIG = 1 << 20  # bytes of model_config.json; a real one has 5,000
LICENCE = (
    "The arrays in this folder were converted from a GGHead checkpoint, which is bound by its own terms: the weights "
    "were trained by programs under the NVIDIA Source Code License for EG3D (non-commercial) and the Inria/MPII "
    "licence of 3D Gaussian Splatting (research only), on FFHQ (CC BY-NC-SA 4.0), around a template derived from FLAME "
    "(research use after registration). Whoever uses or passes on this folder must follow them."
)
# The original's options that change what is generated, and what they are called here.
USED = {
    "z_dim": "z_dim",
    "w_dim": "w_dim",
    "c_dim": "c_dim",
    "mapping_network_config.num_layers": "mapping_layers",
    "rendering_config.c_scale": "c_scale",
    "rendering_config.c_gen_conditioning_zero": "c_gen_conditioning_zero",
    "plane_resolution": "plane_resolution",
    "pretrained_plane_resolution": "pretrained_plane_resolution",
    "synthesis_network_config.channel_base": "channel_base",
    "synthesis_network_config.channel_max": "channel_max",
    "synthesis_network_config.conv_clamp": "conv_clamp",
    "uv_attributes": "attributes",
    "gaussian_attribute_config.use_rodriguez_rotation": "use_rodriguez_rotation",
    "gaussian_attribute_config.sh_degree": "sh_degree",
    "n_uniform_flame_vertices": "uv_samples",
    "use_align_corners": "use_align_corners",
    "use_flame_to_bfm_registration": "use_flame_to_bfm_registration",
    "use_zero_conv_position": "use_zero_conv_position",
    "position_range": "position_range",
    "position_attenuation": "position_attenuation",
    "rotation_attenuation": "rotation_attenuation",
    "max_scale": "max_scale",
    "scale_offset": "scale_offset",
    "center_scale_activation": "center_scale_activation",
    "color_overshoot": "color_overshoot",
    "opacity_overshoot": "opacity_overshoot",
    "clamp_opacity": "clamp_opacity",
    "background_color": "background",
}
# Options that change what is generated in ways that this port does not have: their only supported values.
REQUIRED: dict[str, tuple[Any, ...]] = {
    "mapping_network_config.layer_features": (None,),
    "mapping_network_config.embed_features": (None,),
    "mapping_network_config.activation": ("lrelu",),
    "mapping_network_config.lr_multiplier": (0.01,),
    "synthesis_network_config.architecture": ("skip",),
    "synthesis_network_config.resample_filter": ([1, 3, 3, 1],),
    "synthesis_network_config.kernel_size": (3,),
    "synthesis_network_config.use_noise": (True,),
    "synthesis_network_config.activation": ("lrelu",),
    "super_resolution_config.use_superresolution": (False,),
    "gaussian_attribute_config.n_color_channels": (3,),
    "disable_position_offsets": (False,),
    "interpolation_mode": ("bilinear",),
    "n_shells": (1,),
    "use_learnable_template_offsets": (False,),
    "use_learnable_template_offset_plane": (False,),
    "use_auxiliary_sphere": (False,),
    "use_position_activation": (True,),
    "use_color_activation": (True,),
    "use_initial_scales": (False,),
    "use_rotation_activation": (True,),
    "use_periodic_rotation_activation": (False,),
    "normalize_quaternions": (True,),
    "color_attenuation": (1,),
    "scale_attenuation": (1,),
    "additional_scale_offset": (0,),
    "use_softplus_scale_activation": (False,),
    "no_exp_scale_activation": (False,),
    "use_optimizable_gaussian_attributes": (False,),
    "use_zero_conv_scale": (False,),
    "use_density_map": (False,),
    "use_gaussian_hierarchy": (False,),
    "use_uv_position_and_hierarchy": (False,),
    "n_gaussians_per_texel": (1,),
    "use_background_plane": (False,),
    "use_background_cnn": (False,),
    "use_background_upsampler": (False,),
    "use_separate_background_cnn": (False,),
    "use_cnn_adaptor": (False,),
    "use_autodecoder": (False,),
    "load_average_offset_map": (False,),
    "n_persons": (None,),
}
# Only notes: where the template came from, what training did, and what inference in float32 does not feel.
IGNORED = (
    r"(synthesis_network_config\.)?(num_fp16_res|fp16_channels_last|fused_modconv_default)|rendering_config\.box_warp"
    r"|super_resolution_config\..*|n_triplane_channels|n_flame_subdivisions|use_uniform_flame_vertices|shell_distance"
    r"|learnable_template_offset_plane_size|use_(gsm_flame_template|flame_template_v2|sphere_template|plane_template)"
    r"|auxiliary_sphere_(radius|position)|uv_grid_threshold|effective_plane_resolution|pretrained_resolution"
    r"|use_scale_activation|scale_overshoot|mlp_(layers|hidden_dim)|exclude_position_from_hierarchy"
    r"|gaussian_hierarchy_feature_dim|use_separate_hierarchy_mlps|grad_multiplier_\w+|curve_background_plane"
    r"|background_(cylinder_angle|plane_distance|plane_width|plane_height)|n_background_(gaussians|channels)|use_masks"
    r"|fix_alpha_blending|maintenance_\w+|use_(pruning|densification|template_update)|template_update_attributes"
    r"|position_map_update_factor|prune_opacity_threshold|img_resolution|neural_rendering_resolution"
    r"|random_background|return_background"
)


def convert(
    source: str | Path, *, kimg: int | None = None, progress: Progress | None = None
) -> tuple[Prior, Variables, str]:
    """The prior of a run folder or a snapshot file, its variables and its model card."""
    path, folder_options = locate(Path(source), kimg)
    checkpoint = checkpoints.read(path, progress)
    budget = checkpoint.budget
    try:
        generator = checkpoints.ema_generator(checkpoint)
        options = flatten(checkpoints.plain(generator.state.get("_config"), budget), budget)
        if folder_options is None and not options:
            raise CheckpointError("has no options (_config); give the run folder with its model_config.json")
        if folder_options is not None:
            options = _agree(options, folder_options)
        tensors = checkpoints.arrays(checkpoints.state(generator, budget), checkpoint)
        prior = make_gghead(config_from(options, tensors))
        variables = to_variables(prior, tensors)
    except UserError as error:
        raise CheckpointError(error, path) from None
    template = [name for name in options if name.endswith("_template") or "_template_v" in name]
    notes = {"template": next((name for name in template if options[name] is True), "not named")}
    card = model_card(
        prior,
        variables,
        Source("GGHead", path.name, checkpoint.sha256, checkpoint.bytes),
        title="GGHead prior",
        paper="Kirschstein et al., *GGHead: Fast and Generalizable 3D Gaussian Heads*, SIGGRAPH Asia 2024",
        licence=LICENCE,
        notes=notes,
    )
    return prior, variables, card


def locate(source: Path, kimg: int | None = None) -> tuple[Path, dict[str, Any] | None]:
    """The snapshot (the latest, or that of ``kimg``) and the options of its run folder where there is one."""
    if source.is_dir():
        folder, snapshot = source, _snapshot(source, kimg)
    elif source.is_file():
        folder, snapshot = source.parent.parent, source
    else:
        raise CheckpointError(f"{source}: no such file or folder")
    path = folder / "model_config.json"
    if not path.is_file():
        return snapshot, None
    try:
        if path.stat().st_size > LONGEST_CONFIG:
            raise CheckpointError(f"longer than {LONGEST_CONFIG:,} bytes, which no run's options need")
        return snapshot, flatten(json.loads(path.read_text(encoding="utf-8"))["generator_config"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"damaged ({type(error).__name__}: {error})", path) from None
    except CheckpointError as error:
        raise CheckpointError(error, path) from None


def _snapshot(folder: Path, kimg: int | None) -> Path:
    found = {
        int(match[1]): path
        for path in (folder / "checkpoints").glob("checkpoint-*.pkl")
        if (match := re.fullmatch(r"checkpoint-(\d+)\.pkl", path.name))
    }
    if not found:
        raise CheckpointError(f"{folder}: no checkpoints/checkpoint-<kimg>.pkl in it; give a run folder or a .pkl")
    if kimg is not None and kimg not in found:
        raise CheckpointError(f"{folder}: no checkpoint of {kimg} kimg; it has {sorted(found)}")
    return found[max(found) if kimg is None else kimg]


def config_from(options: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> GGHeadConfig:
    """Our options from the original's flat ones ("mapping_network_config.num_layers"); refuses what is not ported."""
    check_required(options, REQUIRED)
    effective = options.get("effective_plane_resolution")
    if effective not in (None, options.get("plane_resolution")):
        raise CheckpointError(
            f"option effective_plane_resolution={short(effective)}: a generator in the middle of growing"
        )
    refuse_unknown(options, known={*USED, *REQUIRED}, ignored=IGNORED)
    chosen = {ours: options[theirs] for theirs, ours in USED.items() if theirs in options}
    if missing := sorted(set(USED) - set(options) - {"background_color", "pretrained_plane_resolution"}):
        raise CheckpointError(f"options lack {missing}")
    names = chosen["attributes"]
    if not isinstance(names, list) or not all(isinstance(name, str) and len(name) < LONGEST_NAME for name in names):
        raise CheckpointError(f"option uv_attributes={short(names)} is not a list of names")
    chosen["attributes"] = [name.lower() for name in names]
    if "background" in chosen:
        colour = chosen["background"]
        if not isinstance(colour, list) or not all(type(v) in (int, float) and 0 <= v <= 255 for v in colour):
            raise CheckpointError(f"option background_color={short(colour)} is not three numbers from 0 to 255")
        chosen["background"] = [value / 255 for value in colour]
    points = tensors.get("_uv_grid")
    if points is None or points.ndim != 4:
        raise CheckpointError("tensor _uv_grid (1, G, 1, 2) is missing or mis-shaped")
    return GGHeadConfig.from_json(chosen | {"num_gaussians": points.shape[1]})


def _agree(inside: dict[str, Any], beside: dict[str, Any]) -> dict[str, Any]:
    """The snapshot's options and the run folder's, which must not contradict each other where it matters."""
    for name in (*USED, *REQUIRED):
        if name in inside and name in beside and inside[name] != beside[name]:
            raise CheckpointError(
                f"option {name} is {short(inside[name])} in the snapshot and {short(beside[name])} in "
                "model_config.json; they belong to different runs"
            )
    return beside | inside
