"""Which Gaussians each tile has to look at, near ones first, in static shapes: for ``xla`` and ``pallas_triton``.

Gaussians are sorted by depth once. In that order each one's rows of tiles are listed, and from these its (tile,
Gaussian) pairs; a stable sort by tile keeps the order of depth within each tile, and needs only 32-bit keys. The lists
have room for ``capacity`` pairs per image; what finds no place is counted.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

from kernels.capacity import default_capacity
from kernels.constants import ALPHA_MIN, TILE
from kernels.projection import Splats
from kernels.sharding import vary_over, varying_axes
from kernels.types import Settings

FEATURES = 10  # of a splat, see ``pack``


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


def tiles_of(settings: Settings) -> tuple[int, int]:
    """Columns and rows of tiles."""
    return -(-settings.width // TILE), -(-settings.height // TILE)


def pack(splats: Splats) -> Float[Array, "S 10"]:
    """A row for each splat of each image: u, v, a, s, r, opacity, colour, depth. At least one, for kernels to read."""
    if splats.depth.size == 0:
        return jnp.zeros((1, FEATURES), splats.depth.dtype)
    columns = (splats.center, splats.falloff, splats.opacity[..., None], splats.color, splats.depth[..., None])
    return jnp.concatenate(columns, -1).reshape(-1, FEATURES)


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


def _rows(splats: Splats) -> _Rows:
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
    ends = jnp.cumsum(counts, -1)
    starts = ends - counts
    marks = vary_over(jnp.zeros((images, room), jnp.int32), varying_axes([counts]))
    image = jnp.arange(images)[:, None]
    marks = marks.at[image, starts].add(1, mode="drop")
    owner = jnp.cumsum(marks, -1) - 1
    number = jnp.arange(room)[None] - jnp.take_along_axis(starts, owner, 1)
    return owner, number, ends[:, -1]


def bin_splats(splats: Splats, settings: Settings) -> Bins:
    """List the pairs of all images; leaves of ``splats`` are [B, V, N, …]. Not differentiated."""
    splats = jax.tree.map(lax.stop_gradient, splats)
    count = splats.depth.shape[-1]
    images = splats.depth.shape[0] * splats.depth.shape[1]
    columns, tile_rows = tiles_of(settings)
    tiles = columns * tile_rows
    room = settings.capacity or default_capacity(count, settings.width, settings.height)
    if count == 0:
        nothing, one = jnp.zeros(images * tiles, jnp.int32), jnp.zeros(1, jnp.int32)
        return Bins(one, nothing, nothing, one, jnp.zeros((1, 2), jnp.int32), jnp.zeros(images, jnp.int32))
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

    # Rows beyond the room have no spans yet; only then are all of them worked out once more, for the count alone.
    def every_pair(_: None) -> Array:
        return _count_pairs(rows, drawn, tile_rows)

    wanted = lax.cond((listed_rows > room).any(), every_pair, lambda _: listed, None)
    overflow = wanted - jnp.minimum(listed, room)
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
    before = jnp.concatenate([jnp.zeros_like(widths[:, :1]), jnp.cumsum(widths, -1)], -1)
    rows_end = jnp.cumsum(heights, -1)
    edges = (_take(before, jnp.minimum(row, room)) for row in (rows_end - heights, rows_end))
    near_to_far = jnp.minimum(jnp.stack(list(edges), -1), room)
    image = jnp.arange(order.shape[0])[:, None]
    return jnp.zeros_like(near_to_far).at[image, order].set(near_to_far, unique_indices=True)


def _in_order(splats: Splats) -> tuple[Array, _Rows, Array]:
    """Images' splats [I, N] near to far: their indices, their shapes, and whether they are drawn."""
    images, count = splats.depth.shape[0] * splats.depth.shape[1], splats.depth.shape[2]
    flat = jax.tree.map(
        lambda leaf: leaf.reshape(images, count, *leaf.shape[3:]), splats._replace(skipped=splats.radii)
    )
    # The bits of positive floats sort as integers, which is the one kind of key that every backend sorts fast.
    key = jnp.where(flat.drawn, lax.bitcast_convert_type(flat.depth, jnp.uint32), np.uint32(0xFFFFFFFF))
    index = lax.broadcasted_iota(jnp.int32, key.shape, 1)
    index = vary_over(index, varying_axes([key]))
    _, order = lax.sort((key, index), dimension=-1, is_stable=True, num_keys=1)
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
        tile, place = lax.sort((jnp.where(real, tile, tiles), place), dimension=-1, is_stable=True, num_keys=1)
        return tile, place.astype(jnp.int32)
    # What is not real has the largest key. A real pair has it only in the last place, and then all pairs are real.
    key = jnp.where(real, tile.astype(jnp.uint32) * np.uint32(room) + place, np.uint32(0xFFFFFFFF))
    key = lax.sort(key, dimension=-1, is_stable=False)
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


def _count_pairs(rows: _Rows, drawn: Array, tile_rows: int) -> Int[Array, "I"]:
    """The exact number of pairs, row of tiles by row of tiles."""
    first_row, heights = _tile_rows(rows, drawn)

    def add(number: Array, total: Array) -> Array:
        begin, finish = _span(rows, number)
        there = (number >= first_row) & (number < first_row + heights)
        return total + jnp.sum(jnp.where(there, finish - begin, 0), -1, dtype=jnp.int32)

    start = vary_over(jnp.zeros(heights.shape[0], jnp.int32), varying_axes([heights]))
    return lax.fori_loop(0, tile_rows, add, start)


def count_pairs(splats: Splats, settings: Settings) -> Int[Array, "I"]:
    """The number of (tile, Gaussian) pairs of each image."""
    _, rows, drawn = _in_order(jax.tree.map(lax.stop_gradient, splats))
    return _count_pairs(rows, drawn, tiles_of(settings)[1])
