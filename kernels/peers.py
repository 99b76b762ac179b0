"""Other rasterisers behind the bench's door: gsplat (PyTorch, CUDA) and splax (JAX, NVIDIA Warp), when installed.

Nothing else uses them, and they are imported by name when asked for, so that ``kernels`` depends on neither.
"""

import importlib
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kernels.dispatch import Unsupported
from kernels.programs import Options, Program, Workload, cotangent, peak_of_jax
from kernels.spherical_harmonics import C0

PACKAGES = {"gsplat": ("gsplat", "torch"), "splax": ("splax", "warp-lang", "jax")}


def make(name: str, workload: Workload, options: Options) -> Program:
    """The peer's forward and forward+backward on a workload.

    Raises:
      Unsupported: it is not installed, or cannot run here.
    """
    return {"gsplat": _gsplat, "splax": _splax}[name](workload, options)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Unsupported(f"{name} is not installed ({error})") from error


def _gsplat(workload: Workload, options: Options) -> Program:
    gsplat, torch = _import("gsplat"), _import("torch")
    if not torch.cuda.is_available():
        raise Unsupported("gsplat needs a CUDA device and a CUDA build of torch")

    def tensor(leaf: Any, trained: bool) -> Any:
        return torch.tensor(np.asarray(leaf), device="cuda", requires_grad=trained)

    trained = [tensor(leaf, True) for leaf in workload.gaussians[:5]]
    poses, intrinsics = (tensor(leaf, False) for leaf in workload.camera)
    pull = tensor(cotangent(workload), False)

    def image() -> Any:
        out, _, _ = gsplat.rasterization(
            *trained,
            poses,
            intrinsics,
            workload.width,
            workload.height,
            packed=False,
            rasterize_mode="antialiased" if options.antialiased else "classic",
        )
        return out

    def forward() -> None:
        with torch.no_grad():
            image()
        torch.cuda.synchronize()

    def both() -> None:
        torch.autograd.grad((image() * pull).sum(), trained)
        torch.cuda.synchronize()

    def picture() -> np.ndarray:
        return image().detach().cpu().numpy()

    def peak_mb() -> float:
        torch.cuda.reset_peak_memory_stats()
        both()
        return torch.cuda.max_memory_allocated() / 2**20

    return Program(forward, both, picture, peak_mb, {})


def _splax(workload: Workload, options: Options) -> Program:
    splax = _import("splax")
    if jax.default_backend() != "gpu":
        raise Unsupported("splax needs an NVIDIA GPU")
    means, quats, scales, opacities = workload.gaussians[:4]
    colors = cast(Array, workload.gaussians.colors)
    poses, intrinsics = workload.camera
    # Focal length and principal point are static there: those of the first scene.
    fx, fy, cx, cy = (float(intrinsics[0, 0][at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
    # It takes what a .ply stores. Solid Gaussians have no finite logit; 1 − 1e-6 draws the same.
    opacities = jnp.clip(opacities, 1e-6, 1 - 1e-6)
    stored = (means, jnp.log(scales), quats, (colors[:, :, None] - 0.5) / C0, jnp.log(opacities / (1 - opacities)))
    pull = cotangent(workload)

    def one(stored, pose):
        image, _ = splax.render(
            *stored,
            viewmat=pose,
            background=jnp.zeros(3),
            img_shape=(workload.height, workload.width),
            f=(fx, fy),
            c=(cx, cy),
            antialiased=options.antialiased,
        )
        return image

    def images(stored):
        return jax.vmap(one)(stored, poses[:, 0])[:, None]

    render, gradient = jax.jit(images), jax.jit(jax.grad(lambda stored: (images(stored) * pull).sum()))

    def forward() -> None:
        jax.block_until_ready(render(stored))

    def both() -> None:
        jax.block_until_ready(gradient(stored))

    return Program(forward, both, lambda: np.asarray(render(stored)), lambda: peak_of_jax(both), {})
