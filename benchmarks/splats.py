"""The rasterisers, beside each other and beside their peers, in one process with equal threads.

    python -m benchmarks splats --workload head_65k_256 --of numba,xla
    python -m benchmarks splats --of pallas_triton,xla,gsplat,splax --batch 1,8 --json benchmarks/results/
    python -m benchmarks splats --of numba,gsplat_torch --threads 1

Forward is the image; forward+backward the gradients of means, quaternions, scales, opacities and colours for a given
cotangent of it. ``--workload`` names scenes or .npz files; default: the four of ``shared/scenes``. Nothing is cached of
what is compiled (unless NUMBA_CACHE_DIR is set), so that compile_s is a newcomer's.
"""

import argparse
import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks import harness, peers
from benchmarks.harness import Cannot, Program
from benchmarks.workloads import SCENES, Workload, load
from kernels import Unsupported, rasterize, suggest_capacity
from kernels.api import IMPLEMENTATIONS
from kernels.constants import SETS

CAPACITY_BOUNDED = ("xla", "pallas_triton")
PACKAGES = ("jax", "jaxlib", "numba", "numpy")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks splats", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", nargs="+", default=list(SCENES[:4]), help=f"{', '.join(SCENES)}, or .npz files")
    parser.add_argument("--constants", choices=sorted(SETS), default="gsplat-1.5", help="peers have gsplat's")
    parser.add_argument("--antialiased", action="store_true")
    parser.add_argument("--capacity", type=int, help="of xla and pallas_triton; default: measured")
    contenders = {name: ours for name in IMPLEMENTATIONS} | {name: peer for name in peers.MAKERS}
    harness.common_options(parser, contenders)
    args = parser.parse_args(argv)
    args.same = ["--constants", args.constants, *["--antialiased"] * args.antialiased]
    args.same += ["--capacity", str(args.capacity)] if args.capacity else []

    def maker(name: str) -> harness.Make:
        return lambda workload, batch, args: contenders[name](name, load(workload, batch), args)

    with _nothing_cached():
        return harness.run("splats", args.workload, {name: maker(name) for name in contenders}, args)


@contextlib.contextmanager
def _nothing_cached() -> Iterator[None]:
    """Numba keeps machine code between runs, but here first calls are timed. A NUMBA_CACHE_DIR of the user's stays."""
    if "NUMBA_CACHE_DIR" in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory() as fresh:
        os.environ["NUMBA_CACHE_DIR"] = fresh
        try:
            yield
        finally:
            del os.environ["NUMBA_CACHE_DIR"]


def cotangent(workload: Workload) -> Array:
    """A cotangent of the images: noise, so that no gradient vanishes by symmetry."""
    batch = workload.camera.intrinsics.shape[0]
    return jax.random.normal(jax.random.key(0), (batch, 1, workload.height, workload.width, 3))


def _notes(workload: Workload, args: argparse.Namespace) -> dict[str, Any]:
    size = [workload.width, workload.height]
    return {"gaussians": workload.gaussians.means.shape[1], "size": size, "constants": args.constants}


def ours(name: str, workload: Workload, args: argparse.Namespace) -> Program:
    """One of this package's implementations. Gradients of all that a Gaussian has, as peers have them."""
    size = {"width": workload.width, "height": workload.height}
    shown = {"constants": args.constants, "antialiased": args.antialiased}
    capacity = None
    if name in CAPACITY_BOUNDED:
        capacity = args.capacity or suggest_capacity(workload.gaussians, workload.camera, **size, **shown)
    settings: Any = {**size, **shown, "capacity": capacity, "implementation": name}
    pull = cotangent(workload)

    @jax.jit
    def render(gaussians, camera):
        out = rasterize(gaussians, camera, **settings)
        return out.image, out.overflow

    @jax.jit
    def gradient(gaussians, camera, pull):
        return jax.grad(lambda gaussians: (rasterize(gaussians, camera, **settings).image * pull).sum())(gaussians)

    given = workload.gaussians, workload.camera

    def forward() -> None:
        try:
            jax.block_until_ready(render(*given))
        except Unsupported as reason:
            raise Cannot(str(reason)) from reason

    def both() -> None:
        jax.block_until_ready(gradient(*given, pull))

    def picture() -> np.ndarray:
        image, overflow = render(*given)
        if lost := int(jnp.max(overflow)):
            raise ValueError(f"{workload.name}: capacity {capacity} is too small by {lost}")
        return np.asarray(image)

    notes = {"capacity": capacity, **_notes(workload, args)}
    return Program(forward, both, picture, lambda: harness.peak_memory(both), notes, PACKAGES)


def peer(name: str, workload: Workload, args: argparse.Namespace) -> Program:
    made = peers.MAKERS[name](workload, np.asarray(cotangent(workload)), args)
    return made._replace(notes=made.notes | _notes(workload, args))
