"""The arrays of a GGHead golden file and what they are here: docs/checkpoints.md, gghead_spec section 11."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jax_talker.priors.sh as sh
from converters.assemble import laid_out
from converters.comparison import Row, Skipped
from converters.gghead_names import sources
from converters.golden_inputs import COMPILER, check_inputs
from converters.kinks import jumps
from jax_talker.errors import UserError
from jax_talker.priors.base import Variables, leaves
from jax_talker.priors.cameras import invert_affine
from jax_talker.priors.gghead import GGHead
from jax_talker.priors.stylegan2 import block_sizes
from jax_talker.types import Latent

NEAR, FAR = 0.01, 100.0  # of 3DGS's projection matrix
# Gradients are sums over all Gaussians: what rounding leaves scales with their largest entry. Where a unit lies at the
# edge of its leaky ReLU they jump; how far is measured (kinks.py).
GRADIENT = {"atol": 1e-6, "rtol": 1e-4}
# First row and column of a sub-sampled image [i::s, j::s] by its name and s, unless the file stores it as NAME_offset.
OFFSETS = {("planes_plus_const", 2): (1, 1), ("planes_sub", 32): (5, 7)}
Arrays = Mapping[str, np.ndarray]


def rows(prior: GGHead, variables: Variables, io: Arrays, known: set[str]) -> Iterator[Row | Skipped]:
    """Compare every known array of ``io``; names that were looked at are added to ``known``."""
    known |= {"z", "c", "psi", "cut", "ws_plus", "sel", "c_front"}
    known |= {name for name in io if name.startswith(("unit_", "cotangent_")) or name.endswith("_offset")}
    _check(prior, io)
    for row in _rows(prior, variables, io):
        known.add(row.stage)
        yield row


def _check(prior: GGHead, io: Arrays) -> None:
    """Inputs that do not fit the prior would be broadcast or fail deep inside."""
    ws = ("B", prior.num_ws, prior.w_dim)
    wanted = {"z": ("B", prior.z_dim), "ws_plus": ws, "c_front": (25,), "psi": (), "cut": (2,)}
    wanted["ws"] = ("B", prior.w_dim)
    # Labels without conditioning may still say where the cameras are.
    wanted |= {"c": ("B", prior.config.c_dim if "c" in io and np.shape(io["c"])[-1:] != (25,) else 25)}
    check_inputs(io, wanted)
    if "sel" in io:
        chosen = io["sel"]
        if (
            chosen.ndim != 1
            or chosen.dtype.kind not in "iu"
            or not np.all((chosen >= 0) & (chosen < prior.num_gaussians))
        ):
            raise UserError(f"golden array sel must be indices of the prior's {prior.num_gaussians} Gaussians")


def _rows(prior: GGHead, variables: Variables, io: Arrays) -> Iterator[Row | Skipped]:
    settings = _truncations(io)
    for name in ("ws_psi1", "ws_trunc", "ws_cut", "ws"):
        if name in io and name not in settings and {"z", "c"} <= set(io):
            yield Skipped(name, "its truncation is not known; put psi and cut = [psi, cutoff] into the npz")
    found = _compute(prior, variables, io, settings)
    for name, value in found.items():
        if name in io:
            value = np.asarray(value)
            value = _like(name, value, io) if name.startswith("planes_") and value.ndim == 4 else value
            value = value[:, 0] if name in settings and io[name].ndim == 2 else value
            yield Row(name, value, io[name], atol=1e-6 if name == "render_scales" else 1e-4)
    yield from _gradients(prior, variables, io)


def _truncations(io: Arrays) -> dict[str, tuple[float, int | None]]:
    """ψ and cutoff of the file's latents."""
    settings: dict[str, tuple[float, int | None]] = {"ws_psi1": (1.0, None)}
    if "psi" in io:
        settings |= {"ws_trunc": (float(io["psi"]), None), "ws": (float(io["psi"]), None)}
    if "cut" in io:
        settings["ws_cut"] = (float(io["cut"][0]), int(io["cut"][1]))
    return settings


def _compute(prior: GGHead, variables: Variables, io: Arrays, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the file may hold, but gradients, as one program: compiling is what verifying waits for."""
    inputs = {name: jnp.asarray(io[name]) for name in ("z", "c", "ws_trunc", "ws_plus", "ws", "c_front") if name in io}
    if inputs.get("ws_trunc", jnp.zeros(0)).shape[1:] != (prior.num_ws, prior.w_dim):
        inputs.pop("ws_trunc", None)  # compared, and found to be wrong

    def run(variables, given):
        found: dict[str, Any] = {}
        if {"z", "c"} <= set(given):
            label = given["c"][:, : prior.config.c_dim]
            for name in set(settings) & set(io):
                psi, cutoff = settings[name]
                found[name] = prior.mapping(
                    variables, given["z"], label, truncation_psi=psi, truncation_cutoff=cutoff
                ).w
        if "c" in given and given["c"].shape[-1] == 25:
            found |= _cameras(prior, given["c"])
        if "ws_trunc" in given and "planes_trunc_const" in io:
            found["planes_trunc_const"] = _channels_first(prior.planes(variables, Latent(w=given["ws_trunc"])))
        if "ws_plus" in given:
            found |= _of_latent(prior, variables, given, io)
        if "ws" in given and "sel" in io:
            found = _of_few(prior, variables, given["ws"], io) | found
        return found

    return jax.jit(run, compiler_options=COMPILER)(variables, inputs)


def _of_latent(prior: GGHead, variables: Variables, given: Mapping[str, jax.Array], io: Arrays) -> dict[str, Any]:
    """Images, raw and activated values of ``ws_plus``."""
    latent = Latent(w=given["ws_plus"])
    blocks = prior.blocks(variables, latent)
    raw = prior.raw(variables, latent)
    view = prior.activate(variables, raw)
    found: dict[str, Any] = {"planes_plus_const": _channels_first(blocks[-1][1])}
    if "planes_plus_none" in io:
        found["planes_plus_none"] = _channels_first(prior.planes(variables, latent, noise="none"))
    for size, (x, image) in zip(block_sizes(prior.config.plane_resolution), blocks, strict=True):
        found |= {f"block{size}_x": _channels_first(x), f"block{size}_img": _channels_first(image)}
    if "uv_map_after_zero_conv" in io:
        found["uv_map_after_zero_conv"] = _channels_first(prior.planes_moved(variables, latent))
    found["uv_samples"] = jnp.concatenate([raw[name] for name in prior.config.attributes], -1)
    found |= {f"raw_{name}": value for name, value in raw.items()}
    found |= _attribute_arrays(prior.attributes(variables, raw))
    found |= {
        "render_xyz": view.mean,
        "render_scales": view.scale,
        "render_quats": view.quat,
        "render_opacity": view.opacity[..., None],
        "render_sh": view.sh,
        "render_bg": jnp.broadcast_to(jnp.asarray(prior.background)[None], (len(given["ws_plus"]), 3)),
    }
    if "c_front" in given:
        away = view.mean - given["c_front"][:16].reshape(4, 4)[:3, 3][None, None]
        direction = away / jnp.linalg.norm(away, axis=-1, keepdims=True)
        found["render_rgb_from_front_ref"] = sh.colour(jnp.asarray(view.sh), direction)
    return found


def _of_few(prior: GGHead, variables: Variables, ws: jax.Array, io: Arrays) -> dict[str, Any]:
    """The layout of full-size files: a few pixels and Gaussians of one latent, `ws` [B, D] for all layers."""
    latent = Latent(w=jnp.broadcast_to(ws[:, None], (len(ws), prior.num_ws, prior.w_dim)))
    image = _channels_first(prior.planes(variables, latent))
    attributes = _attribute_arrays(prior.attributes(variables, prior.raw(variables, latent)))
    chosen, buffers = jnp.asarray(io["sel"]), variables["buffers"]
    found = {name: value[0, chosen] for name, value in attributes.items()}
    found |= {"planes_sub": image, "planes_mean": image.mean((2, 3)), "planes_std": image.std((2, 3), ddof=1)}
    return found | {"uv_grid_sel": buffers["uv"][chosen], "flame_vertices_sel": buffers["base_position"][chosen]}


def _cameras(prior: GGHead, label: jax.Array) -> dict[str, Any]:
    camera = prior.camera(label, 1)
    view, focal = camera.cam_from_world, camera.intrinsics
    zero, one = jnp.zeros(len(label)), jnp.ones(len(label))
    depth = FAR / (FAR - NEAR)
    projection = [
        [2 * focal[:, 0, 0], zero, 2 * focal[:, 0, 2] - 1, zero],
        [zero, 2 * focal[:, 1, 1], 2 * focal[:, 1, 2] - 1, zero],
        [zero, zero, depth * one, -NEAR * depth * one],
        [zero, zero, one, zero],
    ]
    matrix = jnp.stack([jnp.stack(row, -1) for row in projection], -2)
    return {
        "cam_world_view_T": view.swapaxes(1, 2),
        "cam_full_proj_T": jnp.matmul(matrix, view, precision="highest").swapaxes(1, 2),
        "cam_center": invert_affine(view)[:, :3, 3],
        "cam_fovx_fovy": 2 * jnp.arctan(0.5 / jnp.stack([focal[:, 0, 0], focal[:, 1, 1]], -1)),
    }


def _gradients(prior: GGHead, variables: Variables, io: Arrays) -> Iterator[Row | Skipped]:
    """Of Σ attribute · cotangent to the latent and to parameters."""
    wanted = [name for name in io if name.startswith("grad_")]
    if not wanted or "ws_plus" not in io:
        return

    def attributes(ws, params):
        inner = {**variables, "params": params}
        return _attribute_arrays(prior.attributes(inner, prior.raw(inner, Latent(w=ws))))

    given = jnp.asarray(io["ws_plus"]), variables["params"]
    shapes = {name: ("B", *value.shape[1:]) for name, value in jax.eval_shape(attributes, *given).items()}
    batch = len(io["ws_plus"])
    check_inputs(io, {name.replace("attr_", "cotangent_"): (batch, *shape[1:]) for name, shape in shapes.items()})

    def loss(ws, params):
        parts = {name.replace("attr_", "cotangent_"): value for name, value in attributes(ws, params).items()}
        return sum(jnp.sum(value * io[name]) for name, value in parts.items() if name in io)

    run = jax.jit(jax.value_and_grad(loss, (0, 1)), compiler_options=COMPILER)
    (value, (to_ws, to_params)), (jump, (jump_ws, jump_params)) = jumps(run, *given)
    if "vjp_loss" in io:
        yield Row("vjp_loss", value, io["vjp_loss"], jumps=jump, **GRADIENT)
    if "grad_ws_plus" in io:
        yield Row("grad_ws_plus", to_ws, io["grad_ws_plus"], jumps=jump_ws, **GRADIENT)
    by_source = {source.name: (path.removeprefix("params/"), source) for path, source in sources(prior).items()}
    found, moved = leaves(to_params), leaves(jump_params)
    for name in wanted:
        path, source = by_source.get(name.removeprefix("grad__"), (None, None))
        if path in found and source is not None:
            want = laid_out(source.layout, io[name], found[path].shape)
            yield Row(name, found[path], want, jumps=moved[path], **GRADIENT)


def _attribute_arrays(attributes: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """As the golden files hold them: colours flat."""
    return {f"attr_{name}": value.reshape(*value.shape[:2], -1) for name, value in attributes.items()}


def _like(name: str, image: np.ndarray, io: Arrays) -> np.ndarray:
    """The pixels [i::s, j::s] of ``image`` [B, C, R, R] that a file with fewer holds: see OFFSETS."""
    want = io[name]
    step = image.shape[-1] // want.shape[-1] if want.ndim == 4 and want.shape[-1] else 1
    if step <= 1:
        return image
    stored = io.get(f"{name}_offset")
    if stored is not None and (stored.shape != (2,) or not np.all((stored >= 0) & (stored < step))):
        raise UserError(f"golden array {name}_offset must be the first row and column, from 0 to {step - 1}")
    i, j = OFFSETS.get((name, step), (0, 0)) if stored is None else map(int, stored)
    return image[..., i::step, j::step]


def _channels_first(image: jax.Array) -> jax.Array:
    return jnp.moveaxis(image, -1, 1)
