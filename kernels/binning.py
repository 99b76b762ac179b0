"""Which Gaussians each tile has to look at, near ones first, in static shapes: for ``xla`` and ``pallas_triton``.

Gaussians are sorted by depth once. In that order each one's rows of tiles are listed, and from these its (tile,
Gaussian) pairs; a stable sort by tile keeps the order of depth within each tile, and needs only 32-bit keys. The lists
have room for ``capacity`` pairs per image; what finds no place is counted.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from kernels.capacity import LIMIT, default_capacity
from kernels.constants import ALPHA_MIN, TILE
from kernels.dispatch import Unsupported
from kernels.projection import Splats
from kernels.sharding import merged, parted, vary_over, varying_axes
from kernels.types import Settings

_MOST = np.int32(LIMIT - 1)  # where counts stop


class Shapes(NamedTuple):
    """What is needed of splats to list them; no gradients."""

    center: Float[Array, "B V N 2"]
    falloff: Float[Array, "B V N 3"]
    depth: Float[Array, "B V N"]
    opacity: Float[Array, "B V N"]
    bounds: Int[Array, "B V N 4"]
    drawn: Bool[Array, "B V N"]


class Bins(NamedTuple):
    """The tiles' lists of all images. ``entries[first[t] : end[t]]`` are tile t's splats, near to far."""

    entries: Int[Array, "E"]  # rows of ``pack``'s features; E = images · capacity
    first: Int[Array, "T"]  # T = images · tiles, tiles row by row
    end: Int[Array, "T"]
    # Where each entry stood before the sort by tile, when a splat's pairs were side by side: spans[s] is splat s's
    # first place and end there. Kernels that write per pair add up per splat in that order, without atomics.
    place: Int[Array, "E"]
    spans: Int[Array, "S 2"]
    overflow: Int[Array, "I"]  # pairs that found no place, by image


class SceneBins(NamedTuple):
    """``Bins`` of each scene by itself, with all numbers counted from the scene's own first splat and place.

    They then mean the same on whatever device, in whatever part of the batch, the scene is next worked on.
    """

    entries: Int[Array, "B E"]
    first: Int[Array, "B T"]
    end: Int[Array, "B T"]
    place: Int[Array, "B E"]
    spans: Int[Array, "B S 2"]
    stop: Int[Array, "B T P"]  # place where each ray ended, see the kernels


def by_scene(bins: Bins, stop: Array, scenes: int) -> SceneBins:
    leaves = (bins.entries, bins.first, bins.end, bins.place, bins.spans, stop)
    entries, first, end, place, spans, stop = (parted(leaf, scenes) for leaf in leaves)
    splat, start = _bases(entries, spans)
    listed = end > 0
    return SceneBins(
        entries - splat,
        jnp.where(listed, first - start, 0),
        jnp.where(listed, end - start, 0),
        place - start,
        spans - start[..., None],
        jnp.where(listed[..., None], jnp.maximum(stop - start[..., None], 0), 0),
    )


def of_all(own: SceneBins) -> tuple[Bins, Int[Array, "T P"]]:
    """The inverse of ``by_scene``: (bins, stop). Overflow is not brought back."""
    splat, start = _bases(own.entries, own.spans)
    listed = own.end > 0
    leaves = (
        own.entries + splat,
        jnp.where(listed, own.first + start, 0),
        jnp.where(listed, own.end + start, 0),
        own.place + start,
        own.spans + start[..., None],
        jnp.where(listed[..., None], own.stop + start[..., None], 0),
    )
    entries, first, end, place, spans, stop = map(merged, leaves)
    return Bins(entries, first, end, place, spans, jnp.zeros_like(first[:1])), stop


def _bases(entries: Array, spans: Array) -> tuple[Int[Array, "B 1"], Int[Array, "B 1"]]:
    """The first splat and the first place of each scene among those of all."""
    scene = jnp.arange(entries.shape[0], dtype=jnp.int32)[:, None]
    return scene * spans.shape[1], scene * entries.shape[1]


def tiles_of(settings: Settings) -> tuple[int, int]:
    """Columns and rows of tiles."""
    return -(-settings.width // TILE), -(-settings.height // TILE)


def pack(splats: Splats) -> Float[Array, "B S F"]:
    """A row for each splat of each scene: u, v, a, s, r, opacity, colour, depth, extra channels, and with absgrad two
    more, which are not drawn: their gradient is what ``Splats.pull`` wants."""
    columns = (splats.center, splats.falloff, splats.opacity[..., None], splats.color, splats.depth[..., None])
    rows = jnp.concatenate([*columns, splats.extra, splats.pull], -1)
    return rows.reshape(rows.shape[0], rows.shape[1] * rows.shape[2], rows.shape[3])


def shapes_of(splats: Splats) -> Shapes:
    return jax.tree.map(lax.stop_gradient, Shapes(*(getattr(splats, name) for name in Shapes._fields)))


class _Rows(NamedTuple):
    """What is needed of a splat to find its tiles. Any shape."""

    u: Array
    v: Array
    ka: Array  # a and r over 2·log(opacity / ALPHA_MIN): the ellipse that can be drawn is ka·t² + kr·dy² ≤ 1
    s: Array
    kr: Array
    rightmost: Array  # height of the ellipse's rightmost point over its centre
    left: Array  # pixels, as Splats.bounds
    right: Array
    top: Array
    bottom: Array


def _rows(splats: Shapes) -> _Rows:
    a, s, r = jnp.moveaxis(splats.falloff, -1, 0)
    above = 2 * jnp.log(jnp.maximum(splats.opacity, ALPHA_MIN * 1.0001) / ALPHA_MIN)
    ka, kr = a / above, r / above
    # The ellipse's half width is √(cxx), with cxx = 1/ka + s²/kr, at height cxy/√cxx, with cxy = s/kr.
    rightmost = s / kr / jnp.sqrt(1 / ka + s * s / kr)
    u, v = jnp.moveaxis(splats.center, -1, 0)
    return _Rows(u, v, ka, s, kr, rightmost, *jnp.moveaxis(splats.bounds, -1, 0))


def _span(rows: _Rows, row: Array) -> tuple[Array, Array]:
    """Columns of tiles [first, end) in which a splat can be drawn, in a row of tiles.

    The ellipse is convex: between two heights it reaches furthest right at its rightmost point, or next to it.
    """
    low = jnp.maximum(row * TILE, rows.top) + 0.5 - rows.v
    high = jnp.minimum((row + 1) * TILE, rows.bottom) - 0.5 - rows.v

    def edge(height: Array, side: int) -> Array:
        height = jnp.clip(height, low, high)
        half = jnp.sqrt(jnp.maximum((1 - rows.kr * height * height) / rows.ka, 0))
        # A little more than float32 can be wrong by; the alpha test has the last word.
        return rows.u + rows.s * height + side * (half * 1.00001 + 0.004) - 0.5

    first = jnp.floor(jnp.clip(edge(-rows.rightmost, -1), rows.left, rows.right) / TILE).astype(jnp.int32)
    end = jnp.floor(jnp.clip(edge(rows.rightmost, 1), rows.left - 1, rows.right - 1) / TILE).astype(jnp.int32) + 1
    return first, jnp.maximum(end, first)


def _owners(counts: Int[Array, "I N"], room: int) -> tuple[Int[Array, "I room"], Int[Array, "I room"], Int[Array, "I"]]:
    """Who owns each place when owner i gets counts[i] places in turn, the place's number for it, and the total."""
    images, _ = counts.shape
    ends = _running(counts)
    starts = jnp.concatenate([jnp.zeros_like(ends[:, :1]), ends[:, :-1]], -1)
    marks = vary_over(jnp.zeros((images, room), jnp.int32), varying_axes([counts]))
    image = jnp.arange(images)[:, None]
    marks = marks.at[image, starts].add(1, mode="drop")
    owner = jnp.cumsum(marks, -1) - 1
    number = jnp.arange(room)[None] - jnp.take_along_axis(starts, owner, 1)
    return owner, number, ends[:, -1]


def _add(a: Array, b: Array) -> Array:
    """a + b for a, b ≥ 0, but never beyond what an int32 can say."""
    return a + jnp.minimum(b, _MOST - a)


def _running(counts: Int[Array, "I N"]) -> Int[Array, "I N"]:
    """Running sums that stop at ``_MOST`` rather than wrap."""
    return lax.associative_scan(_add, counts, axis=-1)


def _total(counts: Array, axes: tuple[int, ...]) -> Array:
    zero = vary_over(jnp.int32(0), varying_axes([counts]))
    return lax.reduce(counts, zero, _add, axes)


def bin_splats(splats: Shapes, settings: Settings) -> Bins:
    """List the pairs of all images; leaves of ``splats`` are [B, V, N, …], N at least 1. Not differentiated.

    Raises:
      Unsupported: more places, splats or tiles than int32 can number.
    """
    count = splats.depth.shape[-1]
    images = splats.depth.shape[0] * splats.depth.shape[1]
    columns, tile_rows = tiles_of(settings)
    tiles = columns * tile_rows
    room = settings.capacity or default_capacity(count, settings.width, settings.height)
    for what, number in (("places of capacity", room), ("Gaussians", count), ("pixels", tiles * TILE * TILE)):
        if images * number >= LIMIT:
            raise Unsupported(
                f"lists are numbered with 31 bits: {number} {what} × {images} images are too many; render fewer images "
                "at once, smaller ones, or with less capacity"
            )
    order, rows, drawn = _in_order(splats)
    first_row, heights = _tile_rows(rows, drawn)
    owner, number, listed_rows = _owners(heights, room)
    here = jax.tree.map(lambda leaf: _take(leaf, owner), rows)
    row = _take(first_row, owner) + number
    begin, finish = _span(here, row)
    exists = jnp.arange(room)[None] < listed_rows[:, None]
    widths = jnp.where(exists, finish - begin, 0)

    row_of, number, listed = _owners(widths, room)
    tile = _take(row, row_of) * columns + _take(begin, row_of) + number
    rank = _take(owner, row_of)
    tile, place = _sort_by_tile(tile, listed, tiles)
    image = jnp.arange(images)[:, None]
    entries = _take(order, _take(rank, place)) + count * image
    first, end = _edges(tile, tiles)
    shift = jnp.where(end > 0, room * image, 0)

    overflow = _wanted(rows, drawn, listed_rows, listed, room, tile_rows) - jnp.minimum(listed, room)
    spans = _spans(order, heights, widths) + room * image[..., None]
    return Bins(
        entries.reshape(-1),
        (first + shift).reshape(-1),
        (end + shift).reshape(-1),
        (place + room * image).reshape(-1),
        spans.reshape(-1, 2),
        overflow,
    )


def _spans(order: Int[Array, "I N"], heights: Int[Array, "I N"], widths: Int[Array, "I room"]) -> Int[Array, "I N 2"]:
    """First place and end of each splat's pairs before the sort by tile, as far as there is room."""
    room = widths.shape[-1]
    before = jnp.concatenate([jnp.zeros_like(widths[:, :1]), _running(widths)], -1)
    rows_end = _running(heights)
    rows_start = jnp.concatenate([jnp.zeros_like(rows_end[:, :1]), rows_end[:, :-1]], -1)
    edges = (_take(before, jnp.minimum(row, room)) for row in (rows_start, rows_end))
    near_to_far = jnp.minimum(jnp.stack(list(edges), -1), room)
    image = jnp.arange(order.shape[0])[:, None]
    return jnp.zeros_like(near_to_far).at[image, order].set(near_to_far, unique_indices=True)


def _in_order(splats: Shapes) -> tuple[Array, _Rows, Array]:
    """Images' splats [I, N] near to far: their indices, their shapes, and whether they are drawn."""
    images, count = splats.depth.shape[0] * splats.depth.shape[1], splats.depth.shape[2]
    flat = jax.tree.map(lambda leaf: leaf.reshape(images, count, *leaf.shape[3:]), splats)
    # The bits of positive floats sort as integers, which is the one kind of key that every backend sorts fast.
    key = jnp.where(flat.drawn, lax.bitcast_convert_type(flat.depth, jnp.uint32), np.uint32(0xFFFFFFFF))
    index = lax.broadcasted_iota(jnp.int32, key.shape, 1)
    index = vary_over(index, varying_axes([key]))
    _, order = _sorted(lambda key, index: lax.sort((key, index), is_stable=True, num_keys=1), key, index)
    return order, jax.tree.map(lambda leaf: _take(leaf, order), _rows(flat)), _take(flat.drawn, order)


def _tile_rows(rows: _Rows, drawn: Array) -> tuple[Array, Array]:
    """First row of tiles of each splat, and how many it has."""
    first = rows.top // TILE
    return first, jnp.where(drawn, -(-rows.bottom // TILE) - first, 0)


def _take(leaf: Array, index: Int[Array, "I M"]) -> Array:
    """leaf[i, index[i]] for every image i; indices are in range."""
    return leaf[jnp.arange(leaf.shape[0])[:, None], index]


def _sort_by_tile(
    tile: Int[Array, "I room"], listed: Int[Array, "I"], tiles: int
) -> tuple[Int[Array, "I room"], Int[Array, "I room"]]:
    """Sorted tiles, and where each stood. Stable. The first ``listed`` are real, the others come out as ``tiles``.

    One 32-bit key where tile and place fit into it: several times as fast as a key with a value.
    """
    room = tile.shape[-1]
    place = vary_over(lax.broadcasted_iota(jnp.uint32, tile.shape, 1), varying_axes([tile]))
    real = lax.broadcasted_iota(jnp.int32, tile.shape, 1) < listed[:, None]
    if tiles * room > 1 << 32:
        keys = jnp.where(real, tile, tiles)
        tile, place = _sorted(lambda key, place: lax.sort((key, place), is_stable=True, num_keys=1), keys, place)
        return tile, place.astype(jnp.int32)
    # What is not real has the largest key. A real pair has it only in the last place, and then all pairs are real.
    key = jnp.where(real, tile.astype(jnp.uint32) * np.uint32(room) + place, np.uint32(0xFFFFFFFF))
    (key,) = _sorted(lambda key: (lax.sort(key, is_stable=False),), key)
    place = (key % np.uint32(room)).astype(jnp.int32)
    return jnp.where(real, (key // np.uint32(room)).astype(jnp.int32), tiles), place


def _edges(tile: Array, tiles: int) -> tuple[Int[Array, "I tiles"], Int[Array, "I tiles"]]:
    """First place and end of each tile in sorted tile numbers; (0, 0) where it has none."""
    place = jnp.arange(tile.shape[-1])[None]
    image = jnp.arange(tile.shape[0])[:, None]
    other = jnp.full_like(tile[:, :1], -1)
    begins = tile != jnp.concatenate([other, tile[:, :-1]], -1)
    ends = tile != jnp.concatenate([tile[:, 1:], other], -1)
    empty = vary_over(jnp.zeros((tile.shape[0], tiles), jnp.int32), varying_axes([tile]))
    first = empty.at[image, jnp.where(begins, tile, tiles)].set(place, mode="drop")
    return first, empty.at[image, jnp.where(ends, tile, tiles)].set(place + 1, mode="drop")


# Up to about so many rows of keys, XLA's GPU compiler sorts them all by a bitonic network; a single one by CUB's radix
# sort, which is several times as fast.
_BITONIC = 32


def _sorted(sort: Callable[..., tuple[Array, ...]], *rows: Array) -> tuple[Array, ...]:
    """``sort`` along the last axis of arrays [I, M]."""
    images = rows[0].shape[0]
    if not 1 < images <= _BITONIC:
        return tuple(sort(*rows))

    def one_by_one(*rows: Array) -> tuple[Array, ...]:
        each = [sort(*(leaf[i] for leaf in rows)) for i in range(images)]
        return tuple(jnp.stack(column) for column in zip(*each, strict=True))

    return lax.platform_dependent(*rows, cuda=one_by_one, default=lambda *rows: tuple(sort(*rows)))


def _wanted(rows: _Rows, drawn: Array, listed_rows: Array, listed: Array, room: int, tile_rows: int) -> Int[Array, "I"]:
    """The number of pairs of each image, those that found no place included.

    Rows beyond the room have no spans. On a CPU all spans are worked out once more only then, for the count alone;
    elsewhere always, since a branch would make the device wait for the host.
    """

    def if_needed(rows: _Rows, drawn: Array, listed_rows: Array, listed: Array) -> Array:
        return lax.cond((listed_rows > room).any(), lambda: _count_row_by_row(rows, drawn, tile_rows), lambda: listed)

    def always(rows: _Rows, drawn: Array, listed_rows: Array, listed: Array) -> Array:
        return _count_at_once(rows, drawn, tile_rows)

    return lax.platform_dependent(rows, drawn, listed_rows, listed, cpu=if_needed, default=always)


def _widths(rows: _Rows, drawn: Array, number: Array) -> Array:
    """Tiles of each splat in a row of tiles."""
    first_row, heights = _tile_rows(rows, drawn)
    begin, finish = _span(rows, number)
    return jnp.where((number >= first_row) & (number < first_row + heights), finish - begin, 0)


def _count_row_by_row(rows: _Rows, drawn: Array, tile_rows: int) -> Int[Array, "I"]:
    def add(number: Array, total: Array) -> Array:
        return _add(total, _total(_widths(rows, drawn, number), (1,)))

    start = vary_over(jnp.zeros(drawn.shape[0], jnp.int32), varying_axes([*rows, drawn]))
    return lax.fori_loop(0, tile_rows, add, start)


def _count_at_once(rows: _Rows, drawn: Array, tile_rows: int) -> Int[Array, "I"]:
    number = jnp.arange(tile_rows, dtype=jnp.int32)[None, :, None]
    return _total(_widths(jax.tree.map(lambda leaf: leaf[:, None], rows), drawn[:, None], number), (1, 2))


def count_pairs(splats: Shapes, settings: Settings) -> Int[Array, "I"]:
    """The number of (tile, Gaussian) pairs of each image; 2³¹ − 1 stands for that many or more."""
    _, rows, drawn = _in_order(splats)
    tile_rows, given = tiles_of(settings)[1], (rows, drawn)

    def row_by_row(rows: _Rows, drawn: Array) -> Array:
        return _count_row_by_row(rows, drawn, tile_rows)

    return lax.platform_dependent(
        *given, cpu=row_by_row, default=lambda rows, drawn: _count_at_once(rows, drawn, tile_rows)
    )
