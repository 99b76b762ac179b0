"""Compositing by Pallas kernels, lowered by Triton, for NVIDIA GPUs. Everything that touches Triton is in this file.

One program draws one tile of 16 × 16 pixels and walks its list; all its state is in registers. A Gaussian's numbers are
read once for all pixels, by loads of one address for all threads, and while one block of Gaussians is drawn the next is
on its way. ``docs/kernels.md`` has registers, bytes and operations. Backward, a program writes the sums of each of its
pairs into the pair's own row, rows of one Gaussian side by side, and a second kernel adds these up: there is no atomic
operation, and gradients are the same bit for bit in every run.

No card has run this yet. Pallas' Triton lowering is deprecated since JAX 0.11. Its successor needs three kernels:
``_forward_kernel``, ``_backward_kernel`` and ``_sum_kernel``; nothing else in the project knows of Triton.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jaxtyping import Float, Int

from kernels.binning import Bins, SceneBins, Shapes, bin_splats, by_scene, of_all, pack, shapes_of, tiles_of
from kernels.canvas import PIXELS, Canvas, nothing_drawn, to_images
from kernels.constants import ALPHA_MIN, TILE, TRANSMITTANCE_MIN
from kernels.dispatch import Gate, Unsupported
from kernels.projection import project
from kernels.sharding import merged, over_batch, parted, varying_axes
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
_SUMMED = 64  # splats that one program of the last kernel adds up
_CLEARED = 16  # places that are marked as unused at once

# "compile": for whatever the program is lowered to, which must be CUDA; "interpret": in plain XLA, thousands of times
# slower, for tests on machines without a GPU.
Mode = Literal["compile", "interpret"]
# Gaussians a step, whose loads are in flight while as many are drawn. XLA, which compiles what is interpreted, takes
# long for many.
_FORWARD_BLOCK = {"compile": 4, "interpret": 2}
_BACKWARD_BLOCK = 1
_ON_CUDA = Gate("needs_cuda", ("cuda",), "pallas_triton needs a GPU, found {found}; xla and numba run without")


def rasterize(scene: Scene, settings: Settings, mode: Mode = "compile") -> Composited:
    """float32, on NVIDIA GPUs. ``mode`` is for tests."""
    if plgpu is None:
        raise Unsupported(f"pallas_triton: this JAX has no Triton lowering ({_missing}); xla runs on this GPU")
    if scene.means.dtype != jnp.float32:
        raise Unsupported(f"pallas_triton works in float32, got {scene.means.dtype}; reference takes other types")
    if mode == "compile":
        scene = scene._replace(means=_gated(scene.means))
    splats = project(scene, settings)
    if splats.depth.shape[-1] == 0:
        canvas, overflow = nothing_drawn(scene, settings), jnp.zeros_like(splats.skipped)
    else:
        drawn = composite(pack(splats), shapes_of(splats), settings, mode)
        canvas, overflow = cast(tuple[Canvas, Array], drawn)
    return to_images(canvas, scene.background, splats.radii, overflow, splats.skipped, settings)


@jax.custom_jvp
def _gated(operand: Array) -> Array:
    return _ON_CUDA(operand)


_gated.defjvp(lambda primals, tangents: (_gated(*primals), *tangents))


class _Residuals(NamedTuple):
    features: Float[Array, "B S F"]
    bins: SceneBins
    light: Float[Array, "B T P"]  # what is left of each ray


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def composite(
    features: Float[Array, "B S F"], shapes: Shapes, settings: Settings, mode: Mode
) -> tuple[Canvas, Int[Array, "B V"]]:
    """Blend each tile's list, near to far: the canvas, leaves [B, T, P, …], and what found no place in the lists."""
    return _composite_forward(features, shapes, settings, mode)[0]


def _composite_forward(
    features: Array, shapes: Shapes, settings: Settings, mode: Mode
) -> tuple[tuple[Canvas, Array], _Residuals]:
    def here(features: Array, shapes: Shapes) -> tuple[Canvas, Array, SceneBins]:
        scenes, splats, size = features.shape
        bins = bin_splats(shapes, settings)
        largest = max(bins.entries.size, scenes * splats)
        if largest * 2 * size >= 1 << 31:
            raise Unsupported(
                f"pallas_triton: {largest} pairs or splats at once do not fit its 32-bit indices; split them"
            )
        canvas, stop = forward(merged(features), bins, settings, mode)
        canvas = jax.tree.map(lambda leaf: parted(leaf, scenes), canvas)
        return canvas, parted(bins.overflow, scenes), by_scene(bins, stop, scenes)

    canvas, overflow, bins = over_batch(here, features, shapes)
    return (canvas, overflow), _Residuals(features, bins, canvas.light)


def _composite_backward(
    settings: Settings, mode: Mode, residuals: _Residuals, cotangent: tuple[Canvas, Any]
) -> tuple[Array, None]:
    def here(features: Array, bins: SceneBins, light: Array, cotangent: Canvas) -> Array:
        rows, light, cotangent = jax.tree.map(merged, (features, light, cotangent))
        lists, stop = of_all(bins)
        return backward(rows, lists, stop, light, cotangent, settings, mode).reshape(features.shape)

    return over_batch(here, *residuals, cotangent[0]), None


composite.defvjp(_composite_forward, _composite_backward)


def _channels(features: Array, settings: Settings) -> int:
    """How many numbers of a splat are blended: colour, depth and extra channels."""
    return features.shape[1] - 6 - 2 * settings.absgrad


def forward(features: Array, bins: Bins, settings: Settings, mode: Mode) -> tuple[Canvas, Int[Array, "T P"]]:
    """The canvas, leaves [T, P, …], and the place in the entries where each ray ended, or its tile's list did."""
    tiles, channels = bins.first.shape[0], _channels(features, settings)
    operands = (features.reshape(-1), bins.entries, bins.first, bins.end)
    pixels = (tiles, PIXELS)
    results = [((tiles * channels, PIXELS), jnp.float32), (pixels, jnp.float32), (pixels, jnp.int32)]
    kernel = functools.partial(
        _forward_kernel,
        settings=settings,
        channels=channels,
        stride=features.shape[1],
        block=_FORWARD_BLOCK[mode],
        maths=_MATHS[mode],
    )
    sums, light, stop = _call(kernel, "splat_composite_fwd", operands, results, tiles, 4 if tiles <= _FEW else 2, mode)
    sums = jnp.moveaxis(sums.reshape(tiles, channels, PIXELS), 1, -1)
    return Canvas(sums[..., :3], sums[..., 3], light, sums[..., 4:]), stop


def backward(
    features: Array, bins: Bins, stop: Array, light: Array, cotangent: Canvas, settings: Settings, mode: Mode
) -> Float[Array, "S F"]:
    """Gradients of all splats' numbers."""
    tiles, channels = bins.first.shape[0], _channels(features, settings)
    splats, stride = features.shape
    parts = 2 if tiles <= _FEW else 1
    pulls = jnp.concatenate([cotangent.color, cotangent.depth[..., None], cotangent.extra], -1)
    lists = (bins.entries, bins.place, bins.first, bins.end)
    planes = (leaf.reshape(-1, PIXELS // parts) for leaf in (light, stop, jnp.moveaxis(pulls, -1, 1), cotangent.light))
    pairs = bins.entries.shape[0] * parts
    results = [((pairs * stride,), jnp.float32), ((pairs,), jnp.int32)]
    maths = _MATHS[mode]
    kernel = functools.partial(
        _backward_kernel, settings=settings, channels=channels, stride=stride, parts=parts, maths=maths
    )
    operands = (features.reshape(-1), *lists, *planes)
    rows, used = _call(kernel, "splat_composite_bwd", operands, results, tiles * parts, 1, mode)
    kernel = functools.partial(_sum_kernel, stride=stride)
    operands, results = (rows, used, bins.spans.reshape(-1) * parts), [((splats * stride,), jnp.float32)]
    (gradient,) = _call(kernel, "splat_sum_rows", operands, results, pl.cdiv(splats, _SUMMED), _SUM_WARPS, mode)
    return gradient.reshape(splats, stride)


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


class _Maths(NamedTuple):
    fma: Callable[[Any, Any, Any], Array]  # a·b + c
    exp2: Callable[[Any], Array]
    reciprocal: Callable[[Any], Array]


def _ptx(instruction: str, *operands: Any) -> Array:
    shape = jnp.broadcast_shapes(*(jnp.shape(operand) for operand in operands))
    (result,) = plgpu.elementwise_inline_asm(
        f"{instruction} $0, {', '.join(f'${i + 1}' for i in range(len(operands)))};",
        args=[jnp.broadcast_to(jnp.asarray(operand, jnp.float32), shape) for operand in operands],
        constraints="=f" + ",f" * len(operands),
        pack=1,
        result_shape_dtypes=[jax.ShapeDtypeStruct(shape, jnp.float32)],
    )
    return result


# Compiled, multiplications and additions are rounded one by one (XLA forbids Triton to fuse them since JAX 0.11), and
# an exponential is eight instructions. Errors: ½, 2 and 1 units in the last place.
_MATHS = {
    "compile": _Maths(
        functools.partial(_ptx, "fma.rn.f32"),
        functools.partial(_ptx, "ex2.approx.ftz.f32"),
        functools.partial(_ptx, "rcp.approx.ftz.f32"),
    ),
    "interpret": _Maths(lambda a, b, c: a * b + c, jnp.exp2, lambda a: 1 / a),
}
_EXPONENT = -0.5 * math.log2(math.e)


def _splat(features_ref: Any, index: Array, count: int, stride: int) -> tuple[Array, ...]:
    """The first ``count`` numbers of a row of ``pack``, each one scalar."""
    return tuple(plgpu.load(features_ref.at[index * stride + i]) for i in range(count))


def _falloff(x: Array, y: Array, splat: tuple[Array, ...], maths: _Maths) -> tuple[Array, Array, Array]:
    """opacity · exp(−½(a·t² + r·dy²)) and t, dy at pixels [P]."""
    u, v, a, s, r, opacity = splat[:6]
    dy = y - v
    t = maths.fma(-s, dy, x - u)
    return opacity * maths.exp2(maths.fma(a * _EXPONENT * t, t, r * _EXPONENT * dy * dy)), t, dy


def _forward_kernel(
    features_ref,
    entries_ref,
    first_ref,
    end_ref,
    sums_ref,
    light_ref,
    stop_ref,
    *,
    settings: Settings,
    channels: int,
    stride: int,
    block: int,
    maths: _Maths,
):
    """One tile, near to far. ``light`` turns negative when a ray has ended, so that one comparison tells both."""
    tile = pl.program_id(0)
    first, end = plgpu.load(first_ref.at[tile]), plgpu.load(end_ref.at[tile])
    x, y = _pixels(tile, settings)

    def read(place):
        # Of an empty list, whose end is 0, the first of all entries.
        at = [jnp.maximum(jnp.minimum(place + offset, end - 1), 0) for offset in range(block)]
        return [_splat(features_ref, plgpu.load(entries_ref.at[here]), 6 + channels, stride) for here in at]

    def step(state):
        place, light, stop, sums, splats = state
        following = read(place + block)
        for offset, splat in enumerate(splats):
            here = place + offset
            listed = here < end
            alpha = jnp.minimum(_falloff(x, y, splat, maths)[0], settings.constants.alpha_max)
            weight = jnp.where((alpha >= ALPHA_MIN) & listed, alpha * light, 0.0)
            ends = light - weight < TRANSMITTANCE_MIN
            stop = jnp.where(ends & (light > 0), here, stop)
            weight = jnp.where(ends, 0.0, weight)
            light = jnp.where(ends, -jnp.abs(light), light - weight)
            sums = [maths.fma(weight, number, total) for total, number in zip(sums, splat[6:], strict=True)]
        return place + block, light, stop, sums, following

    nothing = jnp.zeros(PIXELS, jnp.float32)
    # Pixels outside the image have no light, or they would keep the tile busy.
    inside = (x < settings.width) & (y < settings.height)
    light = jnp.where(inside, 1.0, -1.0)
    stop = jnp.where(inside, end, 0)
    state = (first, light, stop, [nothing] * channels, read(first))
    _, light, stop, sums, _ = lax.while_loop(lambda s: (s[0] < end) & (jnp.max(s[1]) > 0), step, state)
    plgpu.store(light_ref.at[tile], jnp.abs(light))
    plgpu.store(stop_ref.at[tile], stop)
    for i, total in enumerate(sums):
        plgpu.store(sums_ref.at[tile * channels + i], total)


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
    used_ref,
    *,
    settings: Settings,
    channels: int,
    stride: int,
    parts: int,
    maths: _Maths,
):
    """One tile, or one of its ``parts``, from the last used entry to the first: a row for each.

    ``cpu/tiles_back.py`` has the mathematics.
    """
    program = pl.program_id(0)
    tile, part = program // parts, program % parts
    first, end = plgpu.load(first_ref.at[tile]), plgpu.load(end_ref.at[tile])
    x, y = _pixels(tile, settings, part, parts)
    light, stop = plgpu.load(light_ref.at[program]), plgpu.load(stop_ref.at[program])
    pulls = [plgpu.load(pulls_ref.at[(tile * channels + i) * parts + part]) for i in range(channels)]
    lane = lax.iota(jnp.int32, pl.next_power_of_2(stride))
    alpha_max = settings.constants.alpha_max

    def read(place):
        at = [jnp.maximum(place - 1 - offset, first) for offset in range(_BACKWARD_BLOCK)]
        indices = [plgpu.load(entries_ref.at[here]) for here in at]
        splats = [_splat(features_ref, index, 6 + channels, stride) for index in indices]
        return splats, [plgpu.load(place_ref.at[here]) for here in at]

    def step(state):
        place, light, behind, (splats, homes) = state
        following = read(place - _BACKWARD_BLOCK)
        for offset, (splat, home) in enumerate(zip(splats, homes, strict=True)):
            here = jnp.maximum(place - 1 - offset, first)
            used = place - 1 - offset >= first
            _, _, a, s, r, opacity = splat[:6]
            raw, t, dy = _falloff(x, y, splat, maths)
            drawn = (raw >= ALPHA_MIN) & (here < stop) & used
            alpha = jnp.where(drawn, jnp.minimum(raw, alpha_max), 0.0)
            growth = maths.reciprocal(1 - alpha)
            light = light * growth
            weight = alpha * light
            pull = pulls[0] * splat[6]
            for plane, number in zip(pulls[1:], splat[7:], strict=True):
                pull = maths.fma(plane, number, pull)
            d_alpha = maths.fma(light, pull, -behind * growth)
            behind = maths.fma(weight, pull, behind)
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
            if settings.absgrad:
                numbers += [jnp.sum(jnp.abs(a * vt)), jnp.sum(jnp.abs(r * vdy - a * s * vt))]
            row = jnp.zeros(lane.shape[0], jnp.float32)
            for i, number in enumerate(numbers):
                row = jnp.where(lane == i, number, row)
            own = home * parts + part
            _store(rows_ref, own * stride + lane, row, (lane < stride) & used)
            _store(used_ref, own, jnp.int32(1), used)
        return place - _BACKWARD_BLOCK, light, behind, following

    last = jnp.max(stop)
    behind = light * plgpu.load(pull_light_ref.at[program])
    lax.while_loop(lambda state: state[0] > first, step, (last, light, behind, read(last)))

    # Rows of entries behind the end of all rays are neither written nor read, only marked.
    some = lax.iota(jnp.int32, _CLEARED)

    def clear(place):
        here = place + some
        own = plgpu.load(place_ref.at[jnp.minimum(here, end - 1)]) * parts + part
        _store(used_ref, own, jnp.zeros(_CLEARED, jnp.int32), here < end)
        return place + _CLEARED

    lax.while_loop(lambda place: place < end, clear, jnp.maximum(last, first))


def _sum_kernel(rows_ref, used_ref, spans_ref, gradient_ref, *, stride: int):
    """Add up the rows of ``_SUMMED`` splats, in the order in which the splats' pairs were listed."""
    number, lane = _SUMMED, lax.iota(jnp.int32, pl.next_power_of_2(stride))
    splats = gradient_ref.shape[0] // stride
    splat = pl.program_id(0) * number + lax.iota(jnp.int32, number)
    exists = splat < splats
    inside = jnp.minimum(splat, splats - 1)
    start = plgpu.load(spans_ref.at[2 * inside])
    count = jnp.where(exists, plgpu.load(spans_ref.at[2 * inside + 1]) - start, 0)
    column = jnp.minimum(lane, stride - 1)[None]
    real = (lane < stride)[None]

    def add(state):
        i, total = state
        here = i < count
        at = jnp.where(here, start + i, 0)
        here &= plgpu.load(used_ref.at[at], mask=here, other=0) > 0
        row = plgpu.load(rows_ref.at[at[:, None] * stride + column], mask=here[:, None] & real, other=0.0)
        return i + 1, total + row

    start_sum = (jnp.int32(0), jnp.zeros((number, lane.shape[0]), jnp.float32))
    most = jnp.max(count)
    _, total = lax.while_loop(lambda state: state[0] < most, add, start_sum)
    _store(gradient_ref, splat[:, None] * stride + column, total, exists[:, None] & real)
