"""What the bench times: a workload, and an implementation's forward and forward+backward on it."""

import os
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kernels.api import rasterize
from kernels.capacity import suggest_capacity
from kernels.types import Camera, Gaussians

CAPACITY_BOUNDED = ("xla", "pallas_triton")


class Workload(NamedTuple):
    """Leaves with a batch axis; one view each."""

    name: str
    gaussians: Gaussians
    camera: Camera
    width: int
    height: int


class Options(NamedTuple):
    constants: str = "gsplat"
    antialiased: bool = False
    capacity: int | None = None  # None: measured


class Program(NamedTuple):
    """How to run one implementation on one workload."""

    forward: Callable[[], None]  # both return when the device has finished
    both: Callable[[], None]
    picture: Callable[[], np.ndarray]  # [B, 1, H, W, 3]
    peak_mb: Callable[[], float | None]  # of one forward+backward, once both have run
    notes: dict[str, Any]  # further fields of the result


def load(path: Path, batch: int) -> Workload:
    """A scene file (.npz: means, quats, scales, opacities, colors, viewmat, K, width, height), ``batch`` times.

    Raises:
      ValueError: the file is not such a scene.
    """
    names = ("means", "quats", "scales", "opacities", "colors", "viewmat", "K", "width", "height")
    try:
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in names}
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(
            f"{path}: not a scene for the bench, which needs the arrays {', '.join(names)}: {error}"
        ) from None

    def repeated(name: str) -> Array:
        leaf = jnp.asarray(arrays[name], jnp.float32)
        return jnp.tile(leaf[None], (batch,) + (1,) * leaf.ndim)

    gaussians = Gaussians(*(repeated(name) for name in names[:5]))
    camera = Camera(repeated("viewmat")[:, None], repeated("K")[:, None])
    return Workload(path.stem, gaussians, camera, int(arrays["width"]), int(arrays["height"]))


def cotangent(workload: Workload) -> Array:
    """A cotangent of the images: noise, so that no gradient vanishes by symmetry."""
    batch = workload.camera.intrinsics.shape[0]
    return jax.random.normal(jax.random.key(0), (batch, 1, workload.height, workload.width, 3))


def ours(name: str, workload: Workload, options: Options) -> Program:
    """One of this package's implementations. Gradients of all that a Gaussian has, as peers have them.

    The first call raises Unsupported if it cannot run here.
    """
    size = {"width": workload.width, "height": workload.height}
    shown = {"constants": options.constants, "antialiased": options.antialiased}
    capacity = None
    if name in CAPACITY_BOUNDED:
        capacity = options.capacity or suggest_capacity(workload.gaussians, workload.camera, **size, **shown)
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
        jax.block_until_ready(render(*given))

    def both() -> None:
        jax.block_until_ready(gradient(*given, pull))

    def picture() -> np.ndarray:
        image, overflow = render(*given)
        if lost := int(overflow.max()):
            raise ValueError(f"{workload.name}: capacity {capacity} is too small by {lost}")
        return np.asarray(image)

    return Program(forward, both, picture, lambda: peak_of_jax(both), {"capacity": capacity})


def peak_of_jax(run: Callable[[], None]) -> float | None:
    """MiB: on an accelerator what its allocator held at most since the process began; on a CPU the peak of resident
    memory during ``run`` over what the process held when it began to time (Linux; None elsewhere)."""
    if jax.default_backend() != "cpu":
        run()
        stats = jax.local_devices()[0].memory_stats() or {}
        return stats["peak_bytes_in_use"] / 2**20 if "peak_bytes_in_use" in stats else None
    try:
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    except OSError:
        return None
    run()
    return resident_mb("VmHWM")


def resident_mb(field: str = "VmRSS") -> float:
    """Of this process, MiB; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def device() -> str:
    """The card's name, or the processor's and its cores."""
    first = jax.local_devices()[0]
    if first.platform != "cpu":
        return first.device_kind
    info = Path("/proc/cpuinfo")
    names = info.read_text().splitlines() if info.exists() else []
    model = next((line.split(":")[1].strip() for line in names if line.startswith("model name")), platform.processor())
    return f"{model or platform.machine()}, {len(os.sched_getaffinity(0))} cores"


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Of installed packages, and of Python."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
