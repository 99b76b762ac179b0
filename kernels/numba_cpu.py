"""The CPU's default: compiled Numba code (``kernels/cpu``) that XLA calls directly, forward and backward.

Nothing is capacity-bounded: the lists are as long as they need to be, in memory that is freed before the call returns.
"""

import ctypes
import functools
import hashlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from kernels.dispatch import Unsupported, platform
from kernels.sharding import vary_over, varying_axes
from kernels.types import Composited, Scene, Settings

_TARGET = "kernels_cpu_rasterize"  # XLA's name for the compiled handler
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
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kernels",
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


def _compile() -> None:
    """Compile (or load) the machine code and tell XLA about it, once in a process."""
    with _lock:
        if _compiled:
            return
        try:
            import numba
        except ImportError as error:
            raise Unsupported(f"numba needs the package numba: {error}") from error
        from kernels.cpu import handlers

        config: Any = cast(Any, numba).config
        configured = config.CACHE_DIR
        folder = _cache_folder(configured)
        try:
            if folder is not None:
                config.CACHE_DIR = str(folder)
            code = handlers.compile_entry_points(cache=folder is not None)
        finally:
            config.CACHE_DIR = configured
        handler = jax.ffi.pycapsule(ctypes.c_void_p(code.rasterize.address))
        jax.ffi.register_ffi_target(_TARGET, handler, platform="cpu")
        _compiled.append(code)


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
    scenes, views, gaussians = *scene.intrinsics.shape[:2], scene.means.shape[1]
    pixels = (scenes, views, settings.height, settings.width)

    def number(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, jnp.float32)

    def integer(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, jnp.int32)

    results = (
        number(*pixels, 3),
        number(*pixels),
        number(*pixels),
        number(*pixels),
        integer(*pixels),
        integer(scenes, views, gaussians),
        integer(scenes, views),
    )
    call = jax.ffi.ffi_call(_TARGET, results, vmap_method="broadcast_all")
    image, alpha, depth, light, stop, radii, skipped = call(
        *scene, settings=_attribute(scene, settings, backward=False)
    )
    out = Composited(image, alpha, depth, radii, jnp.zeros_like(skipped), skipped)
    return out, _Residuals(scene, light, stop)


def _backward(settings: Settings, residuals: _Residuals, cotangent: Composited) -> tuple[Scene]:
    scene, light, stop = residuals
    results = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in scene]
    given = (light, stop, cotangent.image, cotangent.alpha, cotangent.depth)
    return (Scene(*_call(results, scene, given, settings, backward=True)),)


def _call(
    results: Sequence[jax.ShapeDtypeStruct], scene: Scene, more: Sequence[Array], settings: Settings, *, backward: bool
) -> Sequence[Array]:
    call = jax.ffi.ffi_call(_TARGET, results, vmap_method="broadcast_all")
    outputs = call(*scene, *more, settings=_attribute(scene, settings, backward=backward))
    return vary_over(outputs, varying_axes(scene))


_rasterize.defvjp(_forward, _backward)


def rasterize(scene: Scene, settings: Settings) -> Composited:
    """Any number of scenes and views at once; refuses other platforms than the CPU and other types than float32."""
    if (found := platform()) != "cpu":
        raise Unsupported(f"numba runs on the CPU, found {found!r}")
    if scene.means.dtype != jnp.float32:
        raise Unsupported(f"numba works in float32, got {scene.means.dtype}; reference takes other types")
    if max(settings.width, settings.height) > MAX_SIZE:
        raise Unsupported(f"numba makes images of up to {MAX_SIZE} pixels, got {settings.width} × {settings.height}")
    _compile()
    return _rasterize(scene, settings)
