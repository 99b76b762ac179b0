"""Tiled compositing in plain XLA, with its own backward pass: for CPUs, GPUs and TPUs alike.

A number of tiles (lanes) are worked on side by side, a block of Gaussians a step. A lane whose tile is finished,
because its list or the light of all its rays has ended, takes the next tile; so a crowded tile makes no other one wait.
Memory is linear in pixels and pairs.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from kernels.binning import Bins, SceneBins, Shapes, bin_splats, by_scene, of_all, pack, shapes_of, tiles_of
from kernels.canvas import PIXELS, Canvas, nothing_drawn, to_images
from kernels.constants import ALPHA_MIN, TILE, TRANSMITTANCE_MIN
from kernels.dispatch import Unsupported
from kernels.projection import project
from kernels.sharding import merged, over_batch, parted, vary_over, varying_axes
from kernels.types import Composited, Scene, Settings

_BLOCK = 8  # Gaussians a step: enough to hide what a step costs, few enough to end a tile in time
# Side by side: on a CPU few, because steps are cheap and caches small; elsewhere many, because steps are dear.
_LANES_ON_CPU, _LANES_ELSEWHERE = 16, 4096


class _Residuals(NamedTuple):
    features: Float[Array, "B S F"]
    bins: SceneBins
    light: Float[Array, "B T P"]


def rasterize(scene: Scene, settings: Settings) -> Composited:
    """float32 only; any platform."""
    if scene.means.dtype != jnp.float32:
        raise Unsupported(f"xla works in float32, got {scene.means.dtype}; reference takes other types")
    splats = project(scene, settings)
    if splats.depth.shape[-1] == 0:
        canvas, overflow = nothing_drawn(scene, settings), jnp.zeros_like(splats.skipped)
    else:
        drawn = composite(pack(splats), shapes_of(splats), settings, None)
        canvas, overflow = cast(tuple[Canvas, Array], drawn)
    return to_images(canvas, scene.background, splats.radii, overflow, splats.skipped, settings)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def composite(
    features: Float[Array, "B S F"], shapes: Shapes, settings: Settings, lanes: int | None
) -> tuple[Canvas, Int[Array, "B V"]]:
    """Blend each tile's list, near to far: the canvas, leaves [B, T, P, …], and what found no place in the lists.

    ``lanes`` is for tests; None: what suits the platform that the program is lowered for.
    """
    return _composite_forward(features, shapes, settings, lanes)[0]


def _composite_forward(
    features: Array, shapes: Shapes, settings: Settings, lanes: int | None
) -> tuple[tuple[Canvas, Array], _Residuals]:
    def here(features: Array, shapes: Shapes) -> tuple[Canvas, Array, SceneBins]:
        scenes = features.shape[0]
        bins = bin_splats(shapes, settings)
        forward = _on_platform(functools.partial(_forward, settings=settings), lanes)
        canvas, stop = forward(merged(features), bins)
        canvas = jax.tree.map(lambda leaf: parted(leaf, scenes), canvas)
        return canvas, parted(bins.overflow, scenes), by_scene(bins, stop, scenes)

    canvas, overflow, bins = over_batch(here, features, shapes)
    return (canvas, overflow), _Residuals(features, bins, canvas.light)


def _composite_backward(
    settings: Settings, lanes: int | None, residuals: _Residuals, cotangent: tuple[Canvas, Any]
) -> tuple[Array, None]:
    def here(features: Array, bins: SceneBins, light: Array, cotangent: Canvas) -> Array:
        rows, light, cotangent = jax.tree.map(merged, (features, light, cotangent))
        lists, stop = of_all(bins)
        backward = _on_platform(functools.partial(_backward, settings=settings), lanes)
        return backward(rows, lists, stop, light, cotangent).reshape(features.shape)

    return over_batch(here, *residuals, cotangent[0]), None


composite.defvjp(_composite_forward, _composite_backward)


def _on_platform(function: Callable[..., Any], lanes: int | None) -> Callable[..., Any]:
    """``function`` with as many lanes as asked for, or as suit the platform."""
    if lanes is not None:
        return functools.partial(function, lanes=lanes)

    def chosen(*operands: Any) -> Any:
        few, many = (functools.partial(function, lanes=number) for number in (_LANES_ON_CPU, _LANES_ELSEWHERE))
        return lax.platform_dependent(*operands, cpu=few, default=many)

    return chosen


class _Lanes(NamedTuple):
    tile: Int[Array, "L"]  # which tile a lane works on; T when there is none left
    place: Int[Array, "L"]  # in the entries: of the next block, forward; of the last block's end, backward
    rays: tuple[Array, ...]  # [L, P] each


def _pixel_centers(tile: Int[Array, "L"], settings: Settings) -> tuple[Array, Array]:
    """x and y [L, P] of a tile's pixels."""
    columns, rows = tiles_of(settings)
    within = tile % (columns * rows)
    left, top = within % columns * TILE, within // columns * TILE
    pixel = jnp.arange(PIXELS)
    x = left[:, None] + pixel[None] % TILE
    y = top[:, None] + pixel[None] // TILE
    return x + 0.5, y + 0.5


def _falloff(x: Array, y: Array, splat: Array) -> tuple[Array, Array, Array]:
    """opacity · exp(−½(a·t² + r·dy²)) and t, dy at pixels [L, P] of one splat per lane [L, F]."""
    u, v, a, s, r, opacity = (splat[:, None, i] for i in range(6))
    dy = y - v
    t = x - u - s * dy
    return opacity * jnp.exp(-0.5 * (a * t * t + r * dy * dy)), t, dy


def _take_tiles(lanes: _Lanes, finished: Array, following: Array, tiles: int) -> tuple[Array, Array]:
    """The lanes' next tiles, and the first tile that none has taken."""
    tile = following + jnp.cumsum(finished) - 1
    return jnp.where(finished, jnp.minimum(tile, tiles), lanes.tile), following + jnp.sum(finished)


def _channels(features: Array, settings: Settings) -> int:
    """How many numbers of a splat are blended: colour, depth and extra channels."""
    return features.shape[1] - 6 - 2 * settings.absgrad


def _forward(features: Array, bins: Bins, settings: Settings, lanes: int) -> tuple[Canvas, Array]:
    """The canvas, and the place in the entries where each ray ended, or its tile's list did."""
    tiles, channels = bins.first.shape[0], _channels(features, settings)
    lanes = min(lanes, tiles)
    first, end = (jnp.concatenate([edge, jnp.zeros(1, jnp.int32)]) for edge in (bins.first, bins.end))
    inside = _inside(settings, tiles)

    def fresh(tile: Array) -> tuple[Array, ...]:
        """Rays of lanes that begin a tile; those of pixels outside the image have ended already."""
        nothing = jnp.zeros((lanes, PIXELS))
        return nothing + 1.0, ~inside[tile], jnp.where(inside[tile], end[tile][:, None], 0), *[nothing] * channels

    def step(state: tuple) -> tuple:
        at, following, canvas = state
        x, y = _pixel_centers(at.tile, settings)
        light, ended, stop, *sums = at.rays
        for offset in range(_BLOCK):
            place = at.place + offset
            splat = _splat(features, bins, place)
            alpha = jnp.minimum(_falloff(x, y, splat)[0], settings.constants.alpha_max)
            drawn = (alpha >= ALPHA_MIN) & (place < end[at.tile])[:, None]
            weight = jnp.where(drawn & ~ended, alpha * light, 0)
            ends = light - weight < TRANSMITTANCE_MIN
            stop = jnp.where(ends & ~ended, place[:, None], stop)
            ended |= ends
            weight = jnp.where(ended, 0, weight)
            light -= weight
            sums = [total + weight * splat[:, None, 6 + i] for i, total in enumerate(sums)]
        place = at.place + _BLOCK
        finished = (place >= end[at.tile]) | ended.all(-1)
        out = jnp.where(finished, at.tile, tiles)
        canvas = tuple(
            whole.at[out].set(part, mode="drop") for whole, part in zip(canvas, (light, stop, *sums), strict=True)
        )
        tile, following = _take_tiles(at, finished, following, tiles)
        rays = tuple(
            jnp.where(finished[:, None], new, old)
            for new, old in zip(fresh(tile), (light, ended, stop, *sums), strict=True)
        )
        return _Lanes(tile, jnp.where(finished, first[tile], place), rays), following, canvas

    tile = jnp.arange(lanes)
    zeros = jnp.zeros((tiles, PIXELS))
    start = (
        _Lanes(tile, first[tile], fresh(tile)),
        jnp.int32(lanes),
        (zeros, zeros.astype(jnp.int32), *[zeros] * channels),
    )
    start = vary_over(start, varying_axes([features, *bins]))
    _, _, (light, stop, *sums) = lax.while_loop(lambda state: (state[0].tile < tiles).any(), step, start)
    blended = jnp.stack(sums, -1)
    return Canvas(blended[..., :3], sums[3], light, blended[..., 4:]), stop


def _inside(settings: Settings, tiles: int) -> Array:
    """Which pixels [T + 1, P] of the tiles are in the image; none of the tile beyond the last."""
    x, y = _pixel_centers(jnp.arange(tiles + 1), settings)
    return (x < settings.width) & (y < settings.height) & (jnp.arange(tiles + 1) < tiles)[:, None]


def _splat(features: Array, bins: Bins, place: Int[Array, "L"]) -> Float[Array, "L F"]:
    return features[bins.entries[jnp.clip(place, 0, bins.entries.shape[0] - 1)]]


def _backward(
    features: Array, bins: Bins, stop: Array, light: Array, cotangent: Canvas, *, settings: Settings, lanes: int
) -> Array:
    """From each tile's last used entry to its first; see ``cpu/tiles_back.py`` for the mathematics."""
    tiles = bins.first.shape[0]
    lanes = min(lanes, tiles)
    first = jnp.concatenate([bins.first, jnp.zeros(1, jnp.int32)])
    last = jnp.concatenate([stop.max(-1), jnp.zeros(1, jnp.int32)])

    def pad(leaf: Array) -> Array:
        return jnp.concatenate([leaf, jnp.zeros((1, PIXELS), leaf.dtype)])

    colors, extras = (jnp.moveaxis(leaf, -1, 0) for leaf in (cotangent.color, cotangent.extra))
    planes = [pad(plane) for plane in (*colors, cotangent.depth, *extras)]
    light, stop, behind = pad(light), pad(stop), pad(light * cotangent.light)

    def fresh(tile: Array) -> tuple[Array, ...]:
        return light[tile], behind[tile]

    def step(state: tuple) -> tuple:
        at, following, gradient = state
        x, y = _pixel_centers(at.tile, settings)
        light, behind = at.rays
        pulls = [plane[at.tile] for plane in planes]
        ends = stop[at.tile]
        places, rows = [], []
        for offset in range(_BLOCK):
            place = at.place - 1 - offset
            splat = _splat(features, bins, place)
            _, _, a, s, r, opacity = (splat[:, i] for i in range(6))
            raw, t, dy = _falloff(x, y, splat)
            drawn = (raw >= ALPHA_MIN) & (place[:, None] < ends) & (place >= first[at.tile])[:, None]
            alpha = jnp.where(drawn, jnp.minimum(raw, settings.constants.alpha_max), 0)
            growth = 1 / (1 - alpha)
            light *= growth
            weight = alpha * light
            pull = sum(plane * splat[:, None, 6 + i] for i, plane in enumerate(pulls))
            d_alpha = light * pull - behind * growth
            behind += weight * pull
            v = jnp.where(drawn & (raw < settings.constants.alpha_max), d_alpha * raw, 0)
            total = [jnp.sum(v * factor, -1) for factor in (1, t, t * t, t * dy, dy, dy * dy)]
            d_u, d_v = a * total[1], r * total[4] - a * s * total[1]
            d_opacity = total[0] / jnp.where(opacity > 0, opacity, 1)
            own = [d_u, d_v, -0.5 * total[2], a * total[3], -0.5 * total[5], d_opacity]
            own += [jnp.sum(weight * plane, -1) for plane in pulls]
            if settings.absgrad:
                by_u, by_v = a[:, None] * t, r[:, None] * dy - (a * s)[:, None] * t
                own += [jnp.sum(jnp.abs(v * by), -1) for by in (by_u, by_v)]
            rows.append(jnp.stack(own, -1))
            used = (place >= first[at.tile]) & (at.tile < tiles)
            places.append(jnp.where(used, bins.entries[jnp.clip(place, 0, None)], features.shape[0]))
        gradient = gradient.at[jnp.concatenate(places)].add(jnp.concatenate(rows), mode="drop")
        place = at.place - _BLOCK
        finished = place <= first[at.tile]
        tile, following = _take_tiles(at, finished, following, tiles)
        rays = tuple(
            jnp.where(finished[:, None], new, old) for new, old in zip(fresh(tile), (light, behind), strict=True)
        )
        return _Lanes(tile, jnp.where(finished, last[tile], place), rays), following, gradient

    tile = jnp.arange(lanes)
    start = (_Lanes(tile, last[tile], fresh(tile)), jnp.int32(lanes), jnp.zeros_like(features))
    start = vary_over(start, varying_axes([features, *bins, *planes, behind]))
    _, _, gradient = lax.while_loop(lambda state: (state[0].tile < tiles).any(), step, start)
    return gradient
