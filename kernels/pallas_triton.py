"""Compositing by Pallas kernels, lowered by Triton: the GPU's default. Everything that touches Triton is in this file.

One program draws one tile of 16 × 16 pixels and walks its list; all its state is in registers. A Gaussian's ten numbers
are read once for all pixels, by loads of one address for all threads. ``docs/kernels.md`` counts registers, bytes and
operations. Backward, a program writes the ten sums of each of its pairs into the pair's own row, rows of one Gaussian
side by side, and a second kernel adds these up: there is no atomic operation, and gradients are the same bit for bit in
every run.

Pallas' Triton lowering is deprecated since JAX 0.11. Its successor needs three kernels: ``_forward_kernel``,
``_backward_kernel`` and ``_sum_kernel``; nothing else in the project knows of Triton.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jaxtyping import Float, Int

from kernels.binning import FEATURES, Bins, bin_splats, pack, tiles_of
from kernels.canvas import PIXELS, Canvas, to_images
from kernels.constants import ALPHA_MIN, TILE, TRANSMITTANCE_MIN
from kernels.dispatch import Unsupported, platform
from kernels.projection import project
from kernels.sharding import varying_axes
from kernels.types import Composited, Scene, Settings

_missing: object = None
try:
    from jax.experimental.pallas import triton as plgpu
except ImportError as error:  # a JAX that has dropped the lowering
    plgpu, _missing = cast(Any, None), error

# Where there are many tiles, throughput counts: forward two warps, so that a thread has four pixels and reading a
# Gaussian (11 loads a warp) costs less than drawing it; backward one warp with eight pixels a thread, as a sum over
# pixels (five shuffles) costs the same for any number of them and stays within the warp. Where there are few, the card
# waits for the longest list: forward four warps; backward two programs share a tile, each writing rows of its own.
_FEW = 2048  # tiles; about as many as an H200 works on at once
_SUM_WARPS = 4
_LANES = 16  # a row of FEATURES, rounded up to a power of two
_SUMMED = 64  # splats that one program of the last kernel adds up

# "compile": for whatever platform the program is lowered to; "interpret": in plain XLA, thousands of times slower, for
# tests on machines without a GPU.
Mode = Literal["compile", "interpret"]
# Gaussians a step. Forward: between two looks whether any ray goes on; their loads overlap. Backward: so few that the
# code fits an SM's instruction cache. XLA, which compiles what is interpreted, takes long for many.
_FORWARD_BLOCK = {"compile": 8, "interpret": 2}
_BACKWARD_BLOCK = 2


def rasterize(scene: Scene, settings: Settings, mode: Mode | None = None) -> Composited:
    """float32, on a GPU. ``mode`` is for tests; None compiles for a GPU and refuses elsewhere."""
    if plgpu is None:
        raise Unsupported(f"pallas_triton: this JAX has no Triton lowering ({_missing}); xla runs on this GPU")
    if mode is None and platform() != "gpu":
        raise Unsupported(f"pallas_triton needs a GPU, found {platform()!r}; xla and numba run without")
    if scene.means.dtype != jnp.float32:
        raise Unsupported(f"pallas_triton works in float32, got {scene.means.dtype}; reference takes other types")
    splats = project(scene, settings)
    bins = bin_splats(splats, settings)
    features = pack(splats)
    largest = max(bins.entries.size, features.shape[0])
    if largest * 2 * FEATURES >= 1 << 31:
        raise Unsupported(f"pallas_triton: {largest} pairs or splats at once do not fit its 32-bit indices; split them")
    canvas = cast(Canvas, composite(features, bins, settings, mode or "compile"))
    return to_images(canvas, scene.background, splats.radii, bins.overflow, splats.skipped, settings)


class _Residuals(NamedTuple):
    features: Float[Array, "S 10"]
    bins: Bins
    light: Float[Array, "T P"]  # what is left of each ray
    stop: Int[Array, "T P"]  # place in the entries where each ray ended, or its tile's list did


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def composite(features: Float[Array, "S 10"], bins: Bins, settings: Settings, mode: Mode) -> Canvas:
    """Blend each tile's list, near to far."""
    return _forward(features, bins, settings, mode)[0]


def _forward(features: Array, bins: Bins, settings: Settings, mode: Mode) -> tuple[Canvas, _Residuals]:
    tiles = bins.first.shape[0]
    operands = (features.reshape(-1), bins.entries, bins.first, bins.end)
    results = [((tiles * 4, PIXELS), jnp.float32), ((tiles, PIXELS), jnp.float32), ((tiles, PIXELS), jnp.int32)]
    kernel = functools.partial(_forward_kernel, settings=settings, block=_FORWARD_BLOCK[mode])
    sums, light, stop = _call(kernel, "splat_composite_fwd", operands, results, tiles, 4 if tiles <= _FEW else 2, mode)
    sums = sums.reshape(tiles, 4, PIXELS)
    canvas = Canvas(jnp.moveaxis(sums[:, :3], 1, -1), sums[:, 3], light)
    return canvas, _Residuals(features, bins, light, stop)


def _backward(settings: Settings, mode: Mode, residuals: _Residuals, cotangent: Canvas) -> tuple[Array, None]:
    features, bins, light, stop = residuals
    tiles, splats = bins.first.shape[0], features.shape[0]
    parts = 2 if tiles <= _FEW else 1
    pulls = jnp.concatenate([jnp.moveaxis(cotangent.color, -1, 1), cotangent.depth[:, None]], 1)
    lists = (bins.entries, bins.place, bins.first, bins.end)
    planes = (leaf.reshape(-1, PIXELS // parts) for leaf in (light, stop, pulls, cotangent.light))
    results = [((bins.entries.shape[0] * parts * FEATURES,), jnp.float32)]
    kernel = functools.partial(_backward_kernel, settings=settings, parts=parts)
    operands = (features.reshape(-1), *lists, *planes)
    (rows,) = _call(kernel, "splat_composite_bwd", operands, results, tiles * parts, 1, mode)
    operands = (rows, bins.spans.reshape(-1) * parts)
    results = [((splats * FEATURES,), jnp.float32)]
    programs = pl.cdiv(splats, _SUMMED)
    (gradient,) = _call(_sum_kernel, "splat_sum_rows", operands, results, programs, _SUM_WARPS, mode)
    return gradient.reshape(splats, FEATURES), None


composite.defvjp(_forward, _backward)


def _call(
    kernel: Callable[..., None],
    name: str,
    operands: tuple[Array, ...],
    results: list[tuple[tuple[int, ...], Any]],
    programs: int,
    warps: int,
    mode: Mode,
) -> tuple[Array, ...]:
    """Run ``programs`` programs on whole arrays, flat but for the pixels of a tile.

    ``compiler_params`` are what selects Triton rather than Mosaic.
    """
    axes = varying_axes(operands)
    kind = {"manual_axis_type": jax.typeof(operands[0]).manual_axis_type} if axes else {}
    call = pl.pallas_call(
        kernel,
        [jax.ShapeDtypeStruct(shape, dtype, **kind) for shape, dtype in results],
        grid=(programs,),
        name=name,
        interpret=mode == "interpret",
        compiler_params=plgpu.CompilerParams(num_warps=warps, num_stages=1),
    )
    return tuple(call(*operands))


def _store(ref: Any, at: Array, value: Array, mask: Array) -> None:
    """Store where ``mask`` is true. Elsewhere the address is past the end: interpret mode writes the old value back."""
    plgpu.store(ref.at[jnp.where(mask, at, ref.shape[0])], value, mask=mask)


def _pixels(tile: Array, settings: Settings, part: Array | int = 0, parts: int = 1) -> tuple[Array, Array]:
    """x and y of the centres of a tile's pixels, or of one of ``parts`` equal shares of its rows."""
    columns, rows = tiles_of(settings)
    within = tile % (columns * rows)
    pixel = part * (PIXELS // parts) + lax.iota(jnp.int32, PIXELS // parts)
    x = within % columns * TILE + pixel % TILE
    y = within // columns * TILE + pixel // TILE
    return x.astype(jnp.float32) + 0.5, y.astype(jnp.float32) + 0.5


def _splat(features_ref: Any, index: Array) -> tuple[Array, ...]:
    """The numbers of ``pack``, each one scalar."""
    return tuple(plgpu.load(features_ref.at[index * FEATURES + i]) for i in range(FEATURES))


def _falloff(x: Array, y: Array, splat: tuple[Array, ...]) -> tuple[Array, Array, Array]:
    """opacity · exp(−½(a·t² + r·dy²)) and t, dy at pixels [P]."""
    u, v, a, s, r, opacity = splat[:6]
    dy = y - v
    t = x - u - s * dy
    return opacity * jnp.exp(-0.5 * (a * t * t + r * dy * dy)), t, dy


def _forward_kernel(
    features_ref, entries_ref, first_ref, end_ref, sums_ref, light_ref, stop_ref, *, settings: Settings, block: int
):
    """One tile, near to far. ``light`` turns negative when a ray has ended, so that one comparison tells both."""
    tile = pl.program_id(0)
    first, end = plgpu.load(first_ref.at[tile]), plgpu.load(end_ref.at[tile])
    x, y = _pixels(tile, settings)

    def step(state):
        place, light, stop, *sums = state
        for offset in range(block):
            here = place + offset
            listed = here < end
            splat = _splat(features_ref, plgpu.load(entries_ref.at[jnp.minimum(here, end - 1)]))
            alpha = jnp.minimum(_falloff(x, y, splat)[0], settings.constants.alpha_max)
            weight = jnp.where((alpha >= ALPHA_MIN) & listed, alpha * light, 0.0)
            ends = light - weight < TRANSMITTANCE_MIN
            stop = jnp.where(ends & (light > 0), here, stop)
            weight = jnp.where(ends, 0.0, weight)
            light = jnp.where(ends, -jnp.abs(light), light - weight)
            sums = [total + weight * number for total, number in zip(sums, splat[6:], strict=True)]
        return place + block, light, stop, *sums

    nothing = jnp.zeros(PIXELS, jnp.float32)
    # Pixels outside the image have no light, or they would keep the tile busy.
    inside = (x < settings.width) & (y < settings.height)
    light = jnp.where(inside, 1.0, -1.0)
    stop = jnp.where(inside, end, 0)
    state = (first, light, stop, nothing, nothing, nothing, nothing)
    _, light, stop, *sums = lax.while_loop(lambda s: (s[0] < end) & (jnp.max(s[1]) > 0), step, state)
    plgpu.store(light_ref.at[tile], jnp.abs(light))
    plgpu.store(stop_ref.at[tile], stop)
    for i, total in enumerate(sums):
        plgpu.store(sums_ref.at[tile * 4 + i], total)


def _backward_kernel(
    features_ref,
    entries_ref,
    place_ref,
    first_ref,
    end_ref,
    light_ref,
    stop_ref,
    pulls_ref,
    pull_light_ref,
    rows_ref,
    *,
    settings: Settings,
    parts: int,
):
    """One tile, or one of its ``parts``, from the last used entry to the first: a row for each.

    ``cpu/tiles_back.py`` has the mathematics.
    """
    program = pl.program_id(0)
    tile, part = program // parts, program % parts
    first, end = plgpu.load(first_ref.at[tile]), plgpu.load(end_ref.at[tile])
    x, y = _pixels(tile, settings, part, parts)
    light, stop = plgpu.load(light_ref.at[program]), plgpu.load(stop_ref.at[program])
    pulls = [plgpu.load(pulls_ref.at[(tile * 4 + i) * parts + part]) for i in range(4)]
    lane = lax.iota(jnp.int32, _LANES)
    alpha_max = settings.constants.alpha_max

    def step(state):
        place, light, behind = state
        for offset in range(_BACKWARD_BLOCK):
            here = jnp.maximum(place - 1 - offset, first)
            used = place - 1 - offset >= first
            splat = _splat(features_ref, plgpu.load(entries_ref.at[here]))
            _, _, a, s, r, opacity = splat[:6]
            raw, t, dy = _falloff(x, y, splat)
            drawn = (raw >= ALPHA_MIN) & (here < stop) & used
            alpha = jnp.where(drawn, jnp.minimum(raw, alpha_max), 0.0)
            growth = 1 / (1 - alpha)
            light = light * growth
            weight = alpha * light
            pull = sum(plane * number for plane, number in zip(pulls, splat[6:], strict=True))
            d_alpha = light * pull - behind * growth
            behind = behind + weight * pull
            # An alpha at its cap does not move.
            v = jnp.where(drawn & (raw < alpha_max), d_alpha * raw, 0.0)
            vt, vdy = v * t, v * dy
            sum_t, sum_dy = jnp.sum(vt), jnp.sum(vdy)
            numbers = [
                a * sum_t,
                r * sum_dy - a * s * sum_t,
                -0.5 * jnp.sum(vt * t),
                a * jnp.sum(vt * dy),
                -0.5 * jnp.sum(vdy * dy),
                jnp.sum(v) / jnp.where(opacity > 0, opacity, 1.0),
                *[jnp.sum(weight * plane) for plane in pulls],
            ]
            row = jnp.zeros(_LANES, jnp.float32)
            for i, number in enumerate(numbers):
                row = jnp.where(lane == i, number, row)
            at = (plgpu.load(place_ref.at[here]) * parts + part) * FEATURES + lane
            _store(rows_ref, at, row, (lane < FEATURES) & used)
        return place - _BACKWARD_BLOCK, light, behind

    last = jnp.max(stop)
    behind = light * plgpu.load(pull_light_ref.at[program])
    lax.while_loop(lambda state: state[0] > first, step, (last, light, behind))

    # Entries behind the end of all rays get rows as well: zeros.
    def clear(place):
        here = place + lane
        at = plgpu.load(place_ref.at[jnp.minimum(here, end - 1)]) * parts + part
        for i in range(FEATURES):
            _store(rows_ref, at * FEATURES + i, jnp.zeros(_LANES, jnp.float32), here < end)
        return place + _LANES

    lax.while_loop(lambda place: place < end, clear, jnp.maximum(last, first))


def _sum_kernel(rows_ref, spans_ref, gradient_ref):
    """Add up the rows of ``_SUMMED`` splats, in the order in which the splats' pairs were listed."""
    number, lane = _SUMMED, lax.iota(jnp.int32, _LANES)
    splats = gradient_ref.shape[0] // FEATURES
    splat = pl.program_id(0) * number + lax.iota(jnp.int32, number)
    exists = splat < splats
    inside = jnp.minimum(splat, splats - 1)
    start = plgpu.load(spans_ref.at[2 * inside])
    count = jnp.where(exists, plgpu.load(spans_ref.at[2 * inside + 1]) - start, 0)
    column = jnp.minimum(lane, FEATURES - 1)[None]
    real = (lane < FEATURES)[None]

    def add(state):
        i, total = state
        here = (i < count)[:, None]
        at = jnp.where(here, (start + i)[:, None], 0) * FEATURES + column
        row = plgpu.load(rows_ref.at[at], mask=here & real, other=0.0)
        return i + 1, total + row

    start_sum = (jnp.int32(0), jnp.zeros((number, _LANES), jnp.float32))
    most = jnp.max(count)
    _, total = lax.while_loop(lambda state: state[0] < most, add, start_sum)
    _store(gradient_ref, splat[:, None] * FEATURES + column, total, exists[:, None] & real)
