"""The arrays of a GSGAN golden set (io.npz, intermediates.npz, raster_inputs.npz) and what they are here.

Names of the second and third file come with the prefixes ``intermediates/`` and ``raster_inputs/``.
"""

from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from converters.assemble import laid_out
from converters.comparison import Row, Skipped
from converters.golden_inputs import COMPILER, check_inputs
from converters.gsgan_names import sources
from converters.kinks import jumps
from jax_talker.errors import UserError
from jax_talker.priors.anchors import SIZES, Splats, concatenate
from jax_talker.priors.base import Variables, leaves
from jax_talker.priors.gsgan import GSGAN, HALF_TANGENT, activate, viewing_direction
from jax_talker.priors.sh import C0
from jax_talker.types import Latent

NEAR, FAR = 2.25, 3.3  # of the original's projection matrix
# gsgan_spec section 15: float32 noise of the original itself on small generators, times about five. The choice of
# neighbours and the decision to split are discontinuous: a few points may land on the other side, with descendants.
TOLERANCE = {"xyz": 1e-4, "scale": 1e-4, "rotation": 1e-4, "color": 4e-4, "opacity": 4e-4}
FLIPS = 1e-3
# Gradients are sums over all points: what rounding leaves scales with their largest entry. Where a unit lies at the
# edge of its leaky ReLU they jump; how far is measured (kinks.py).
GRADIENT = {"atol": 1e-5, "rtol": 2e-4}
Arrays = Mapping[str, np.ndarray]


def rows(prior: GSGAN, variables: Variables, io: Arrays, known: set[str]) -> Iterator[Row | Skipped]:
    """Compare every known array of ``io``; names that were looked at are added to ``known``."""
    known |= {name for name in io if name.startswith("raster_inputs/") and name.endswith("/size")}
    known |= {"z", "c", "psi", "cut", "ws_wplus"} | {name for name in io if name.startswith("grad/cotangent/")}
    _check(prior, io)
    parts = jax.jit(prior.parts, compiler_options=COMPILER)
    for part in (_mapping, _scenes, _intermediates, _raster, _gradients):
        for row in part(prior, variables, io, parts):
            known.add(row.stage)
            yield row


def _check(prior: GSGAN, io: Arrays) -> None:
    ws = ("B", prior.num_ws, prior.w_dim)
    wanted: dict[str, tuple[int | str, ...]] = {"z": ("B", prior.z_dim), "camera_cond": ("B", 3)}
    wanted["c"] = ("B", prior.config.c_dim if "c" in io and np.shape(io["c"])[-1:] != (25,) else 25)
    wanted |= {name: ws for name in io if name.startswith("ws_") and parse_latent(name) is None}
    wanted |= {f"ws_{case}": ws for case in _cases(io)}
    check_inputs(io, wanted)


def _mapping(prior: GSGAN, variables: Variables, io: Arrays, parts: Callable) -> Iterator[Row | Skipped]:
    if not {"z", "c"} <= set(io):
        return
    settings = {name: found for name in sorted(io) if (found := parse_latent(name)) is not None}

    def run(variables, z, c):
        label = c[:, : prior.config.c_dim]
        return {
            name: prior.mapping(variables, z, label, truncation_psi=psi, truncation_cutoff=cutoff).w
            for name, (psi, cutoff) in settings.items()
        }

    found = jax.jit(run, compiler_options=COMPILER)(variables, jnp.asarray(io["z"]), jnp.asarray(io["c"]))
    for name, w in found.items():
        yield Row(name, np.asarray(w), io[name])
    if "camera_cond" in io:
        yield Row("camera_cond", np.asarray(viewing_direction(jnp.asarray(io["c"]))), io["camera_cond"])


def parse_latent(name: str) -> tuple[float, int | None] | None:
    """ψ and cutoff from a name: ws_psi1 → 1, ws_psi07 → 0.7, ws_psi07_cutoff3 → 0.7 and 3."""
    head, _, cutoff = name.removeprefix("ws_psi").partition("_cutoff")
    if not name.startswith("ws_psi") or not head.isdigit() or (cutoff and not cutoff.isdigit()):
        return None
    return float(f"{head[0]}.{head[1:] or 0}"), int(cutoff) if cutoff else None


def _direction(io: Arrays) -> jax.Array:
    return jnp.asarray(io["camera_cond"]) if "camera_cond" in io else viewing_direction(jnp.asarray(io["c"]))


def _cases(io: Arrays) -> list[str]:
    """Names of latents whose scenes are stored: psi1, psi07, wplus, …"""
    return sorted({name.split("/")[0] for name in io if name.endswith("/fg/xyz") and "ws_" + name.split("/")[0] in io})


def _scenes(prior: GSGAN, variables: Variables, io: Arrays, parts: Callable) -> Iterator[Row | Skipped]:
    for case in _cases(io):
        got = parts(variables, _latent(io[f"ws_{case}"]), _direction(io))
        for part, splats in zip(("fg", "anchor", "bg"), got, strict=True):
            for head in SIZES:
                name = f"{case}/{part}/{head}"
                if name in io:
                    flips = 0.0 if part == "bg" else FLIPS
                    yield Row(name, np.asarray(getattr(splats, head)), io[name], atol=TOLERANCE[head], flips=flips)


def _intermediates(prior: GSGAN, variables: Variables, io: Arrays, parts: Callable) -> Iterator[Row | Skipped]:
    prefix, record = "intermediates/", jax.jit(prior.record, compiler_options=COMPILER)
    for case in sorted({name.split("/")[1] for name in io if name.startswith(prefix)}):
        if f"ws_{case}" not in io:
            continue
        seen = record(variables, _latent(io[f"ws_{case}"]), _direction(io))
        neighbours = [value for name, value in sorted(seen.items(), key=_block) if name.endswith("knn_idx")]
        for name in (n for n in io if n.startswith(f"{prefix}{case}/")):
            short, want = name.removeprefix(f"{prefix}{case}/"), io[name]
            if short.startswith("fg/knn_idx_"):
                got = np.sort(np.asarray(neighbours[int(short.removeprefix("fg/knn_idx_"))]), -1)
                # The order among neighbours is irrelevant; one that differs shifts the others of its row.
                yield Row(name, got, np.sort(want, -1), atol=0, flips=FLIPS)
            elif short in seen:
                got = np.asarray(seen[short])
                if got.ndim < want.ndim and got.shape == want.shape[1:]:  # the same for every sample
                    got = np.broadcast_to(got[None], (len(want), *got.shape))
                got = got[: len(want)] if want.ndim and len(want) < len(got) else got  # some files keep one sample
                yield Row(name, got, want, atol=1e-4, flips=FLIPS if short.startswith("fg/") else 0.0)


def _block(item: tuple[str, object]) -> int:
    """The number of a name's block: fg/block_16/knn_idx → 16."""
    digits = item[0].partition("block_")[2].partition("/")[0]
    return int(digits) if digits.isdigit() else 0


def _raster(prior: GSGAN, variables: Variables, io: Arrays, parts: Callable) -> Iterator[Row | Skipped]:
    prefix = "raster_inputs/"
    for case in sorted({name.split("/")[1] for name in io if name.startswith(prefix)}):
        if f"ws_{case}" not in io or "c" not in io:
            continue
        foreground, _, background = parts(variables, _latent(io[f"ws_{case}"]), _direction(io))
        scene = jax.jit(lambda f, b: activate(concatenate([f, b])))(foreground, background)
        label = jnp.asarray(io["c"])
        camera = jax.jit(lambda c: prior.camera(c, 1))(label)
        for sample in range(len(io["c"])):
            view = np.asarray(camera.cam_from_world[sample], np.float64)
            projection = np.zeros((4, 4))
            projection[0, 0] = projection[1, 1] = 2 * float(camera.intrinsics[sample, 0, 0])
            projection[2, 2], projection[2, 3], projection[3, 2] = FAR / (FAR - NEAR), -FAR * NEAR / (FAR - NEAR), 1
            found = {
                "viewmatrix": view.T,
                "projmatrix": (projection @ view).T,
                "campos": -io["c"][sample, [3, 7, 11]],  # as passed, with the wrong sign; degree 0 does not use it
                "tanfov": np.full(2, HALF_TANGENT),
                "bg": np.zeros(3),
                "means3D": scene.mean[sample],
                "shs": (np.asarray(scene.rgb)[sample, :, None] - 0.5) / C0,
                "opacities": scene.opacity[sample, :, None],
                "scales": scene.scale[sample],
                "rotations": scene.quat[sample],
            }
            for name, value in found.items():
                full = f"{prefix}{case}/{sample}/{name}"
                if full not in io:
                    continue
                got, want = np.asarray(value), io[full]
                if name == "shs":  # colours are clamped at 0, so darker coefficients are not seen
                    want = np.maximum(want, -0.5 / C0)
                flips = FLIPS if len(got) > 4 else 0.0
                yield Row(full, got, want, atol=4e-4 if name in ("shs", "opacities") else 1e-4, flips=flips)


def _gradients(prior: GSGAN, variables: Variables, io: Arrays, parts: Callable) -> Iterator[Row | Skipped]:
    """Of Σ output · cotangent, to the latent and to parameters."""
    if "grad/ws" not in io or "ws_wplus" not in io:
        return
    shapes = jax.eval_shape(prior.parts, variables, _latent(io["ws_wplus"]), _direction(io))
    wanted = {
        f"grad/cotangent/{part}/{head}": getattr(splats, head).shape
        for part, splats in zip(("fg", "anchor", "bg"), shapes, strict=True)
        for head in SIZES
    }
    if missing := sorted(set(wanted) - set(io)):
        raise UserError(f"golden array {missing[0]} is missing; gradients cannot be compared without it")
    check_inputs(io, wanted)
    cotangents = [
        Splats(**{head: jnp.asarray(io[f"grad/cotangent/{part}/{head}"]) for head in SIZES})
        for part in ("fg", "anchor", "bg")
    ]

    def loss(ws, params):
        got = prior.parts({**variables, "params": params}, Latent(w=ws), _direction(io))
        products = jax.tree.map(lambda a, b: jnp.sum(a * b), got, tuple(cotangents))
        return sum(jax.tree.leaves(products))

    run = jax.jit(jax.value_and_grad(loss, (0, 1)), compiler_options=COMPILER)
    (value, (to_ws, to_params)), (jump, (jump_ws, jump_params)) = jumps(
        run, jnp.asarray(io["ws_wplus"]), variables["params"]
    )
    if "grad/loss" in io:
        yield Row("grad/loss", value, io["grad/loss"], jumps=jump, **GRADIENT)
    yield Row("grad/ws", to_ws, io["grad/ws"], jumps=jump_ws, **GRADIENT)
    by_source = {source.name: (path.removeprefix("params/"), source) for path, source in sources(prior).items()}
    found, moved = leaves(to_params), leaves(jump_params)
    largest = max(
        (float(np.abs(io[name]).max(initial=0)) for name in io if name.startswith("grad/param/")), default=0.0
    )
    for name in (n for n in io if n.startswith("grad/param/")):
        path, source = by_source.get(name.removeprefix("grad/param/"), (None, None))
        if path not in found or source is None:
            yield Skipped(name, "this tensor has no effect and is not converted")
            continue
        want = laid_out(source.layout, io[name], found[path].shape)
        # Biases that a softmax cancels have gradients that are nothing but rounding; measured against all others.
        yield Row(name, found[path], want, atol=1e-6 * largest, rtol=GRADIENT["rtol"], jumps=moved[path])


def _latent(ws: np.ndarray) -> Latent:
    return Latent(w=jnp.asarray(ws))
