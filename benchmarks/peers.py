"""Other rasterisers behind the bench's door, when installed: nothing of the project needs them.

``gsplat`` (PyTorch, CUDA), ``splax`` (JAX, NVIDIA Warp), and ``gsplat_torch``: gsplat's own PyTorch functions for
projection and tiles on a CPU, with the blending of a tile, which gsplat has only in CUDA, as dense PyTorch operations.
``opensplat`` is in a file of its own.
"""

import argparse
import importlib
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks import opensplat
from benchmarks.harness import Cannot, Program, peak_memory
from benchmarks.workloads import Workload
from kernels.constants import ALPHA_MIN, SETS, TILE, TRANSMITTANCE_MIN
from kernels.spherical_harmonics import C0


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Cannot(f"{name} is not installed ({error})") from error


def _gsplat(workload: Workload, pull: np.ndarray, args: argparse.Namespace) -> Program:
    gsplat, torch = _import("gsplat"), _import("torch")
    if not torch.cuda.is_available():
        raise Cannot("gsplat needs a CUDA device and a CUDA build of torch")

    def tensor(leaf: Any, trained: bool) -> Any:
        return torch.tensor(np.asarray(leaf), device="cuda", requires_grad=trained)

    trained = [tensor(leaf, True) for leaf in workload.gaussians[:5]]
    poses, intrinsics = (tensor(leaf, False) for leaf in workload.camera)
    weights = tensor(pull, False)

    def image() -> Any:
        out, _, _ = gsplat.rasterization(
            *trained,
            poses,
            intrinsics,
            workload.width,
            workload.height,
            packed=False,
            rasterize_mode="antialiased" if args.antialiased else "classic",
        )
        return out

    def forward() -> None:
        with torch.no_grad():
            image()
        torch.cuda.synchronize()

    def both() -> None:
        torch.autograd.grad((image() * weights).sum(), trained)
        torch.cuda.synchronize()

    def peak_mb() -> float:
        torch.cuda.reset_peak_memory_stats()
        both()
        return torch.cuda.max_memory_allocated() / 2**20

    return Program(forward, both, lambda: image().detach().cpu().numpy(), peak_mb, {}, ("gsplat", "torch"))


def _gsplat_torch(workload: Workload, pull: np.ndarray, args: argparse.Namespace) -> Program:
    torch, theirs = _import("torch"), _import("gsplat.cuda._torch_impl")
    if args.threads:
        torch.set_num_threads(args.threads)
    width, height, alpha_max = workload.width, workload.height, SETS[args.constants].alpha_max
    columns, rows = -(-width // TILE), -(-height // TILE)
    trained = [torch.tensor(np.asarray(leaf[0]), requires_grad=True) for leaf in workload.gaussians[:5]]
    poses, intrinsics = (torch.tensor(np.asarray(leaf[0])) for leaf in workload.camera)
    weights = torch.tensor(pull[0, 0])
    if len(workload.gaussians.means) > 1:
        raise Cannot("gsplat_torch renders one image at a time")

    def lists(means: Any, radii: Any, depths: Any) -> tuple[Any, Any]:
        with torch.no_grad():
            _, keys, order = theirs._isect_tiles(means, radii, depths, TILE, columns, rows)
            first = theirs._isect_offset_encode(keys, 1, columns, rows)
        return order, [*first.reshape(-1).tolist(), len(order)]

    y, x = (part.reshape(1, -1) for part in torch.meshgrid(*[torch.arange(TILE) + 0.5] * 2, indexing="ij"))

    def projected() -> tuple[list[Any], list[int]]:
        """Centre, conic, opacity and colour of every Gaussian of every tile, and where each tile's begin."""
        means, quats, scales, opacities, colors = trained
        covariances, _ = theirs._quat_scale_to_covar_preci(quats, scales, compute_preci=False)
        radii, centers, depths, conics, shrunk = theirs._fully_fused_projection(
            means, covariances, poses, intrinsics, width, height, calc_compensations=args.antialiased
        )
        alphas = opacities * shrunk[0] if args.antialiased else opacities
        order, first = lists(centers, radii, depths)
        return [values[order.long()] for values in (centers[0], conics[0], alphas, colors)], first

    def blended(tile: int, center: Any, conic: Any, opacity: Any, color: Any) -> Any:
        a, b, c = conic.T
        dx = x + tile % columns * TILE - center[:, :1]
        dy = y + tile // columns * TILE - center[:, 1:]
        power = -0.5 * (a[:, None] * dx * dx + c[:, None] * dy * dy) - b[:, None] * dx * dy
        alpha = torch.clamp(opacity[:, None] * torch.exp(power), max=alpha_max)
        alpha = torch.where(alpha >= ALPHA_MIN, alpha, 0)
        light = torch.cumprod(1 - alpha, 0)
        before = torch.cat([torch.ones_like(light[:1]), light[:-1]])
        weight = torch.where(light > TRANSMITTANCE_MIN, alpha * before, 0)
        return (weight.T @ color).reshape(TILE, TILE, 3)

    def forward() -> Any:
        with torch.no_grad():
            listed, first = projected()
            tiles = [
                blended(tile, *(values[first[tile] : first[tile + 1]] for values in listed))
                for tile in range(columns * rows)
            ]
            whole = torch.stack(tiles).reshape(rows, columns, TILE, TILE, 3).transpose(1, 2)
            return whole.reshape(rows * TILE, columns * TILE, 3)[:height, :width]

    padded = torch.nn.functional.pad(weights, (0, 0, 0, columns * TILE - width, 0, rows * TILE - height))

    def both() -> None:
        """Tile by tile: what all tiles keep for their gradients together is more than 20 GiB of the largest scene."""
        listed, first = projected()
        gradients: list[list[Any]] = [[] for _ in listed]
        for tile in range(columns * rows):
            own = [values[first[tile] : first[tile + 1]].detach().requires_grad_() for values in listed]
            row, column = tile // columns * TILE, tile % columns * TILE
            pulled = (blended(tile, *own) * padded[row : row + TILE, column : column + TILE]).sum()
            for parts, part in zip(gradients, torch.autograd.grad(pulled, own), strict=True):
                parts.append(part)
        torch.autograd.grad(listed, trained, [torch.cat(parts) for parts in gradients])

    def picture() -> np.ndarray:
        return forward().numpy()[None, None]

    return Program(forward, both, picture, lambda: peak_memory(both), {}, ("gsplat", "torch"))


def _splax(workload: Workload, pull: np.ndarray, args: argparse.Namespace) -> Program:
    splax = _import("splax")
    if jax.default_backend() != "gpu":
        raise Cannot("splax needs an NVIDIA GPU")
    means, quats, scales, opacities = workload.gaussians[:4]
    colors = cast(Array, workload.gaussians.colors)
    poses, intrinsics = workload.camera
    # Focal length and principal point are static there: those of the first scene.
    fx, fy, cx, cy = (float(intrinsics[0, 0][at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
    # It takes what a .ply stores. Solid Gaussians have no finite logit; 1 − 1e-6 draws the same.
    opacities = jnp.clip(opacities, 1e-6, 1 - 1e-6)
    stored = (means, jnp.log(scales), quats, (colors[:, :, None] - 0.5) / C0, jnp.log(opacities / (1 - opacities)))

    def one(stored, pose):
        image, _ = splax.render(
            *stored,
            viewmat=pose,
            background=jnp.zeros(3),
            img_shape=(workload.height, workload.width),
            f=(fx, fy),
            c=(cx, cy),
            antialiased=args.antialiased,
        )
        return image

    def images(stored):
        return jax.vmap(one)(stored, poses[:, 0])[:, None]

    render, gradient = jax.jit(images), jax.jit(jax.grad(lambda stored: (images(stored) * pull).sum()))

    def both() -> None:
        jax.block_until_ready(gradient(stored))

    return Program(
        lambda: jax.block_until_ready(render(stored)),
        both,
        lambda: np.asarray(render(stored)),
        lambda: peak_memory(both),
        {},
        ("splax", "warp-lang", "jax"),
    )


Maker = Callable[[Workload, np.ndarray, argparse.Namespace], Program]
MAKERS: dict[str, Maker] = {
    "gsplat": _gsplat,
    "gsplat_torch": _gsplat_torch,
    "opensplat": opensplat.make,
    "splax": _splax,
}
