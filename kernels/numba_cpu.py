"""The CPU's default: compiled Numba code (``kernels/cpu``) that XLA calls directly, forward and backward.

Nothing is capacity-bounded: the lists are as long as they need to be, in memory that waits for the next call.
"""

import contextlib
import ctypes
import functools
import gc
import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from kernels.dispatch import Gate, Unsupported
from kernels.sharding import over_batch, vary_over, varying_axes
from kernels.types import Composited, Scene, Settings

_TARGET = "kernels_cpu_rasterize"  # XLA's name for the compiled handler
FFI_VERSIONS = ((0, 3), (0, 4))  # whose layout kernels/cpu/ffi.py knows: JAX 0.10 and 0.11
MAX_SIZE = 16_000  # pixels: a column of tiles has a place on the stack
_lock = threading.Lock()
_compiled: list[object] = []  # keeps the machine code alive, as XLA may call it until the process ends


def _cache_folder(configured: str) -> Path | None:
    """A writable folder for machine code, named after what it depends on; None when there is nowhere to write.

    Numba itself looks only at the file of the function that it caches, not at the files that function calls.
    """
    here = Path(__file__).parent
    sources = [here / "constants.py", *sorted((here / "cpu").glob("*.py"))]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    homes = [
        configured,  # the user's NUMBA_CACHE_DIR
        here / "__pycache__",
        *_user_cache(),
    ]
    for home in filter(None, homes):
        folder = Path(home) / f"numba_cpu-{digest}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError:
            continue
        return folder
    return None


def _user_cache() -> list[Path]:
    """The folder for this package's caches that the user's environment names; none for a user without a home, as a
    container's is who is in no /etc/passwd."""
    try:
        return [Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kernels"]
    except RuntimeError:  # the home cannot be determined
        return []


_BESIDE = "import gc; gc.disable(); from kernels.cpu import handlers; handlers.compile_from_the_end()"


def _processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _compiled_beside(folder: Path, last: str) -> Iterator[None]:
    """Meanwhile another process fills the cache from the other end, if ``last`` is not in it and a processor is free.

    Numba compiles one function at a time in a process. Should the other one fail, nothing is lost but time: what is not
    in the cache is compiled here.
    """
    other = None
    if sys.executable and _processors() > 1 and next(folder.rglob(f"*.{last}-*.nbi"), None) is None:
        path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
        env = os.environ | {"PYTHONPATH": path, "NUMBA_CACHE_DIR": str(folder), "JAX_PLATFORMS": "cpu"}
        quiet = subprocess.DEVNULL
        # No process to be had is the same as one that fails.
        with contextlib.suppress(OSError):
            other = subprocess.Popen([sys.executable, "-c", _BESIDE], env=env, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        yield
    finally:
        if other is not None:  # it may be at what has just been finished here
            other.kill()
            other.wait()


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Numba makes millions of objects, nearly all of which stay: looking for garbage costs a tenth more time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _compile() -> None:
    """Compile (or load) the machine code and tell XLA about it, once in a process."""
    with _lock:
        if _compiled:
            return
        import numba

        from kernels.cpu import handlers

        config: Any = cast(Any, numba).config
        configured = config.CACHE_DIR
        folder = _cache_folder(configured)
        try:
            with contextlib.ExitStack() as meanwhile:
                meanwhile.enter_context(_without_collections())
                if folder is not None:
                    config.CACHE_DIR = str(folder)
                    last = handlers.BY_COST[-1].py_func.__name__
                    meanwhile.enter_context(_compiled_beside(folder, last))
                code = handlers.compile_all(cache=folder is not None)
        finally:
            config.CACHE_DIR = configured
        handler = jax.ffi.pycapsule(ctypes.c_void_p(code[handlers.rasterize].address))
        jax.ffi.register_ffi_target(_TARGET, handler, platform="cpu")
        _compiled.append(code)


# Machine code is needed when a program is lowered for a CPU, not where it is only traced.
_ON_CPU = Gate("needs_cpu", ("cpu",), "numba runs on the CPU, found {found}", _compile)


@functools.cache
def ffi_version() -> tuple[int, int]:
    """(major, minor) of XLA's FFI in the installed jaxlib, as its header says."""
    header = (Path(jax.ffi.include_dir()) / "xla/ffi/api/c_api.h").read_text(encoding="utf-8")
    major, minor = (re.search(rf"define XLA_FFI_API_{part} (\d+)", header) for part in ("MAJOR", "MINOR"))
    return (int(major[1]), int(minor[1])) if major and minor else (-1, -1)


def _attribute(scene: Scene, settings: Settings, *, backward: bool) -> np.ndarray:
    """Sizes and settings as the compiled code reads them. The number of scenes it reads off the operands."""
    from kernels.cpu import frame

    constants = settings.constants
    values = {
        frame.BACKWARD: backward,
        frame.NUM_VIEWS: scene.intrinsics.shape[1],
        frame.NUM_GAUSSIANS: scene.means.shape[1],
        frame.NUM_COLOR_VIEWS: scene.colors.shape[1],
        frame.IMAGE_WIDTH: settings.width,
        frame.IMAGE_HEIGHT: settings.height,
        frame.EPS2D: settings.eps2d,
        frame.NEAR: settings.near,
        frame.FAR: settings.far,
        frame.RADIUS_CLIP: settings.radius_clip,
        frame.ANTIALIASED: settings.antialiased,
        frame.ALPHA_MAX: constants.alpha_max,
        frame.FOV_MARGIN: constants.fov_margin,
        frame.FOV_CENTRED: constants.fov_centred,
        frame.RADIUS_SIGMAS: constants.radius_sigmas,
        frame.OPACITY_AWARE: constants.opacity_aware,
        frame.TILE_CUTOFF: constants.tile_cutoff,
        frame.COMPENSATION_MIN: constants.compensation_min,
        frame.NUM_EXTRA: scene.extra.shape[-1],
        frame.MOVED: scene.offset.shape[2] > 0,
        frame.ABSGRAD: settings.absgrad,
    }
    return np.array([values[word] for word in range(frame.NUM_SETTINGS)], np.float64)


class _Residuals(NamedTuple):
    scene: Scene
    light: Float[Array, "B V H W"]  # what was left of each ray
    stop: Int[Array, "B V H W"]  # position in its tile's list of the Gaussian that ended the ray


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _rasterize(scene: Scene, settings: Settings) -> Composited:
    return _forward(scene, settings)[0]


def _forward(scene: Scene, settings: Settings) -> tuple[Composited, _Residuals]:
    def here(scene: Scene) -> tuple[Array, ...]:
        scenes, views, gaussians = *scene.intrinsics.shape[:2], scene.means.shape[1]
        pixels = (scenes, views, settings.height, settings.width)
        results = [
            *[((*pixels, 3), jnp.float32), *[(pixels, jnp.float32)] * 3, (pixels, jnp.int32)],
            *[((scenes, views, gaussians), jnp.int32), ((scenes, views), jnp.int32)],
            ((*pixels, scene.extra.shape[-1]), jnp.float32),
        ]
        return _call([jax.ShapeDtypeStruct(*kind) for kind in results], scene, (), settings, backward=False)

    image, alpha, depth, light, stop, radii, skipped, extra = over_batch(here, scene)
    none = vary_over(jnp.zeros_like(skipped), varying_axes([skipped]))  # no capacity, no overflow
    out = Composited(image, alpha, depth, radii, none, skipped, extra)
    return out, _Residuals(scene, light, stop)


def _backward(settings: Settings, residuals: _Residuals, cotangent: Composited) -> tuple[Scene]:
    def here(scene: Scene, *given: Array) -> Scene:
        results = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in scene]
        return Scene(*_call(results, scene, given, settings, backward=True))

    given = (cotangent.image, cotangent.alpha, cotangent.depth, cotangent.extra)
    return (over_batch(here, *residuals, *given),)


def _call(
    results: Sequence[jax.ShapeDtypeStruct], scene: Scene, more: Sequence[Array], settings: Settings, *, backward: bool
) -> tuple[Array, ...]:
    axes = varying_axes(scene)
    call = jax.ffi.ffi_call(_TARGET, results, vmap_method="broadcast_all")  # for vmap inside of shard_map
    means = _ON_CPU(scene.means)
    outputs = call(means, *scene[1:], *more, settings=_attribute(scene, settings, backward=backward))
    return tuple(vary_over(outputs, axes))


_rasterize.defvjp(_forward, _backward)


def rasterize(scene: Scene, settings: Settings) -> Composited:
    """Any number of scenes and views at once, in float32; lowered for another platform than the CPU, it refuses."""
    if importlib.util.find_spec("numba") is None:
        raise Unsupported("numba needs the package numba, which is not installed")
    if scene.means.dtype != jnp.float32:
        raise Unsupported(f"numba works in float32, got {scene.means.dtype}; reference takes other types")
    if max(settings.width, settings.height) > MAX_SIZE:
        raise Unsupported(f"numba makes images of up to {MAX_SIZE} pixels, got {settings.width} × {settings.height}")
    if (found := ffi_version()) not in FFI_VERSIONS:
        raise Unsupported(f"numba knows versions {FFI_VERSIONS} of XLA's FFI, this jaxlib has {found}")
    return _rasterize(scene, settings)
