"""The arrays of a GGHead golden file and what they are here: docs/checkpoints.md, gghead_spec section 11."""

from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from converters.assemble import LAYOUTS
from converters.comparison import Row, Skipped
from converters.gghead_names import sources
from jax_talker.priors import sh
from jax_talker.priors.base import Variables, leaves
from jax_talker.priors.gghead import GGHead
from jax_talker.priors.stylegan2 import block_sizes
from jax_talker.types import Latent

NEAR, FAR = 0.01, 100.0  # of 3DGS's projection matrix
# Gradients are sums over all Gaussians: what rounding leaves scales with their largest entry.
GRADIENT = {"atol": 1e-6, "rtol": 1e-4}
Arrays = Mapping[str, np.ndarray]


def rows(prior: GGHead, variables: Variables, io: Arrays, known: set[str]) -> Iterator[Row | Skipped]:
    """Compare every known array of ``io``; names that were looked at are added to ``known``."""
    known |= {"z", "c", "psi", "cut", "ws_plus", "sel", "c_front"}
    known |= {name for name in io if name.startswith(("unit_", "cotangent_"))}
    for part in (_mapping, _images, _attributes, _cameras, _gradients, _sampled):
        for row in part(prior, variables, io):
            known.add(row.stage)
            yield row


def _mapping(prior: GGHead, variables: Variables, io: Arrays) -> Iterator[Row | Skipped]:
    if not {"z", "c"} <= set(io):
        return
    settings: dict[str, tuple[float, int | None]] = {"ws_psi1": (1.0, None)}
    if "psi" in io:
        settings |= {"ws_trunc": (float(io["psi"]), None), "ws": (float(io["psi"]), None)}
    if "cut" in io:
        settings["ws_cut"] = (float(io["cut"][0]), int(io["cut"][1]))
    for name in ("ws_psi1", "ws_trunc", "ws_cut", "ws"):
        if name not in io:
            continue
        if name not in settings:
            yield Skipped(name, "its truncation is not known; put psi and cut = [psi, cutoff] into the npz")
            continue
        psi, cutoff = settings[name]
        z, c = jnp.asarray(io["z"]), jnp.asarray(io["c"])
        w = prior.mapping(variables, z, c, truncation_psi=psi, truncation_cutoff=cutoff).w
        yield Row(name, np.asarray(w[:, 0] if io[name].ndim == 2 else w), io[name])


def _images(prior: GGHead, variables: Variables, io: Arrays) -> Iterator[Row | Skipped]:
    planes = jax.jit(prior.planes, static_argnames="noise")
    for name, ws, noise in (
        ("planes_trunc_const", "ws_trunc", "const"),
        ("planes_plus_const", "ws_plus", "const"),
        ("planes_plus_none", "ws_plus", "none"),
    ):
        if name in io and ws in io:
            image = planes(variables, _latent(io[ws]), noise=noise)
            yield Row(name, _like(_channels_first(image), io[name]), io[name])
    if "ws_plus" not in io:
        return
    if any(f"block{size}_x" in io for size in block_sizes(prior.config.plane_resolution)):
        for size, (x, image) in zip(
            block_sizes(prior.config.plane_resolution),
            jax.jit(prior.blocks)(variables, _latent(io["ws_plus"])),
            strict=True,
        ):
            for name, value in ((f"block{size}_x", x), (f"block{size}_img", image)):
                if name in io:
                    yield Row(name, _channels_first(value), io[name])
    if "uv_map_after_zero_conv" in io:
        moved = jax.jit(prior.planes_moved)(variables, _latent(io["ws_plus"]))
        yield Row("uv_map_after_zero_conv", _channels_first(moved), io["uv_map_after_zero_conv"])


def _attributes(prior: GGHead, variables: Variables, io: Arrays) -> Iterator[Row | Skipped]:
    if "ws_plus" not in io:
        return
    raw, attributes, view = _everything(prior)(variables, _latent(io["ws_plus"]))
    found = {"uv_samples": jnp.concatenate([raw[name] for name in prior.config.attributes], -1)}
    found |= {f"raw_{name}": value for name, value in raw.items()} | _attribute_arrays(attributes)
    found |= {
        "render_xyz": view.mean,
        "render_scales": view.scale,
        "render_quats": view.quat,
        "render_opacity": view.opacity[..., None],
        "render_sh": view.sh,
        "render_bg": jnp.broadcast_to(jnp.asarray(prior.background), (len(io["ws_plus"]), 3)),
    }
    if "c_front" in io:
        away = view.mean - jnp.asarray(io["c_front"][:16].reshape(4, 4)[:3, 3])[None, None]
        direction = away / jnp.linalg.norm(away, axis=-1, keepdims=True)
        found["render_rgb_from_front_ref"] = sh.colour(jnp.asarray(view.sh), direction)
    for name, value in found.items():
        if name in io:
            yield Row(name, np.asarray(value), io[name], atol=1e-6 if name == "render_scales" else 1e-4)


def _cameras(prior: GGHead, variables: Variables, io: Arrays) -> Iterator[Row | Skipped]:
    if "c" not in io or io["c"].shape[-1] != 25:
        return
    camera = prior.camera(jnp.asarray(io["c"]), 1)
    view = np.asarray(camera.cam_from_world, np.float64)
    focal = np.asarray(camera.intrinsics, np.float64)
    projection = np.zeros_like(view)
    projection[:, 0, 0], projection[:, 1, 1] = 2 * focal[:, 0, 0], 2 * focal[:, 1, 1]
    projection[:, 0, 2], projection[:, 1, 2] = 2 * focal[:, 0, 2] - 1, 2 * focal[:, 1, 2] - 1
    projection[:, 2, 2], projection[:, 2, 3], projection[:, 3, 2] = FAR / (FAR - NEAR), -FAR * NEAR / (FAR - NEAR), 1
    found = {
        "cam_world_view_T": view.swapaxes(1, 2),
        "cam_full_proj_T": (projection @ view).swapaxes(1, 2),
        "cam_center": np.linalg.inv(view)[:, :3, 3],
        "cam_fovx_fovy": 2 * np.arctan(0.5 / focal[:, [0, 1], [0, 1]]),
    }
    for name, value in found.items():
        if name in io:
            yield Row(name, value, io[name])


def _gradients(prior: GGHead, variables: Variables, io: Arrays) -> Iterator[Row | Skipped]:
    """Of Σ attribute · cotangent to the latent and to parameters."""
    wanted = [name for name in io if name.startswith("grad_")]
    if not wanted or "ws_plus" not in io:
        return

    def loss(ws, params):
        inner = {**variables, "params": params}
        attributes = _attribute_arrays(prior.attributes(inner, prior.raw(inner, Latent(w=ws))))
        return sum(
            jnp.sum(value * io[f"cotangent_{name.removeprefix('attr_')}"])
            for name, value in attributes.items()
            if f"cotangent_{name.removeprefix('attr_')}" in io
        )

    run = jax.jit(jax.value_and_grad(loss, (0, 1)))
    value, (to_ws, to_params) = run(jnp.asarray(io["ws_plus"]), variables["params"])
    if "vjp_loss" in io:
        yield Row("vjp_loss", np.asarray(value), io["vjp_loss"], **GRADIENT)
    if "grad_ws_plus" in io:
        yield Row("grad_ws_plus", np.asarray(to_ws), io["grad_ws_plus"], **GRADIENT)
    by_source = {source.name: (path.removeprefix("params/"), source) for path, source in sources(prior).items()}
    found = leaves(to_params)
    for name in wanted:
        path, source = by_source.get(name.removeprefix("grad__"), (None, None))
        if path in found and source is not None:
            got = np.asarray(found[path])
            yield Row(name, got, LAYOUTS[source.layout](io[name]).reshape(got.shape), **GRADIENT)


def _sampled(prior: GGHead, variables: Variables, io: Arrays) -> Iterator[Row | Skipped]:
    """The layout of full-size files: a few pixels and Gaussians of one latent, `ws` [B, D] for all layers."""
    if not {"ws", "sel"} <= set(io):
        return
    ws = jnp.broadcast_to(jnp.asarray(io["ws"])[:, None], (len(io["ws"]), prior.num_ws, prior.w_dim))
    image = _channels_first(jax.jit(prior.planes)(variables, Latent(w=ws)))
    found = {"planes_mean": image.mean((2, 3)), "planes_std": image.std((2, 3), ddof=1)}
    if "planes_sub" in io:
        found["planes_sub"] = _like(image, io["planes_sub"])
    _, attributes, _ = _everything(prior)(variables, Latent(w=ws))
    selected = io["sel"]
    found |= {name: np.asarray(value)[0, selected] for name, value in _attribute_arrays(attributes).items()}
    buffers = variables["buffers"]
    found |= {
        "uv_grid_sel": np.asarray(buffers["uv"])[selected],
        "flame_vertices_sel": np.asarray(buffers["base_position"])[selected],
    }
    for name, value in found.items():
        if name in io and io[name].shape == value.shape:
            yield Row(name, value, io[name])


def _everything(prior: GGHead) -> Callable:
    def run(variables, latent):
        raw = prior.raw(variables, latent)
        return raw, prior.attributes(variables, raw), prior.activate(variables, raw)

    return jax.jit(run)


def _attribute_arrays(attributes: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """As the golden files hold them: colours flat."""
    return {f"attr_{name}": value.reshape(*value.shape[:2], -1) for name, value in attributes.items()}


def _like(image: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Every s-th pixel [i::s, j::s] of ``image`` [B, C, R, R] where the file holds fewer, for the closest i and j."""
    step = image.shape[-1] // want.shape[-1] if want.shape[-1] else 1
    if step <= 1 or image.shape[-1] % want.shape[-1]:
        return image
    offsets = [(i, j) for i in range(step) for j in range(step)]
    differences = [float(np.abs(image[:, 0, i::step, j::step] - want[:, 0]).max()) for i, j in offsets]
    i, j = offsets[int(np.argmin(differences))]
    return image[..., i::step, j::step]


def _channels_first(image: jax.Array) -> np.ndarray:
    return np.moveaxis(np.asarray(image), -1, 1)


def _latent(ws: np.ndarray) -> Latent:
    return Latent(w=jnp.asarray(ws))
