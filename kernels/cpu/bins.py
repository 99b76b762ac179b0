"""From records to lists: which Gaussians each tile has to look at, near ones first.

One stable radix sort by depth for each image, then a counting sort into tiles in that order, chunk by chunk: chunks are
counted side by side, the counts are turned into positions, and the chunks are written side by side.
"""

import math

import numpy as np

from kernels.constants import ALPHA_MIN, TILE
from kernels.cpu import frame as fr
from kernels.cpu.lanes import load_int, load_records, store_int, transpose
from kernels.cpu.memory import clear, compiled, prefetch, stack
from kernels.cpu.project import NOT_DRAWN
from kernels.cpu.simd import (
    BYTES,
    LANES,
    bits_and,
    bits_as_int,
    fma,
    lane_numbers,
    largest_int,
    maximum,
    maximum_int,
    minimum,
    minimum_int,
    select_int,
    shift_left,
    shift_right,
    splat_int,
    sqrt,
    to_float,
    to_int,
)
from kernels.cpu.views import ints, words

_DIGIT = 11  # bits sorted by at once; three passes order the 31 bits of a positive float32
_BUCKETS = 1 << _DIGIT
_LOG2_ALPHA_MIN = math.log2(ALPHA_MIN)
_TILE_BITS = TILE.bit_length() - 1
_FAR_RIGHT = 500_000.0  # pixels, beyond any image; a column of tiles must fit 15 bits
MAX_TILE_ROWS = 1023
_SPANS = (MAX_TILE_ROWS + 1) * BYTES


@compiled
def sorting_bytes(n):
    """Scratch of ``sort_by_depth``: keys twice, indices once, and the counts of three digits."""
    return (4 * (3 * n + 3 * _BUCKETS) + 63) // 64 * 64


@compiled
def sort_by_depth(at, slot):
    """Order of one image's drawn Gaussians, nearest first; equal depths keep their order. Their number in VISIBLE."""
    frame = words(at)
    n = frame[fr.PADDED]
    keys = ints(frame[fr.KEYS] + 4 * slot * n)
    order = ints(frame[fr.ORDER] + 4 * slot * n)
    scratch = frame[fr.SORTING] + slot * sorting_bytes(n)
    key_a, key_b, index_a = ints(scratch), ints(scratch + 4 * n), ints(scratch + 8 * n)
    counts = ints(scratch + 12 * n)
    clear(scratch + 12 * n, 4 * 3 * _BUCKETS)
    drawn = 0
    for i in range(n):
        key = keys[i]
        if key != NOT_DRAWN:
            key_a[drawn], index_a[drawn] = key, i
            drawn += 1
            for digit in range(3):
                counts[digit * _BUCKETS + ((key >> (_DIGIT * digit)) & (_BUCKETS - 1))] += 1
    words(frame[fr.VISIBLE])[slot] = drawn
    for digit in range(3):
        total = 0
        for bucket in range(digit * _BUCKETS, (digit + 1) * _BUCKETS):
            number = counts[bucket]
            counts[bucket] = total
            total += number
    # Back and forth between two places; after three passes the indices are in ``order``.
    from_key, from_index, to_key, to_index = key_a, index_a, key_b, order
    for digit in range(3):
        for i in range(drawn):
            key = from_key[i]
            bucket = digit * _BUCKETS + ((key >> (_DIGIT * digit)) & (_BUCKETS - 1))
            place = counts[bucket]
            counts[bucket] = place + 1
            to_key[place], to_index[place] = key, from_index[i]
        from_key, from_index, to_key, to_index = to_key, to_index, from_key, from_index
    return True


@compiled
def _spans(frame, slot, first, end, spans):
    """For up to sixteen neighbours in the order of depth: the tile columns in which each can be drawn, row by row.

    The ellipse alpha ≥ ALPHA_MIN is convex: between two heights it reaches furthest right at its rightmost point, or at
    the height next to it. ``spans[row][lane]`` gets first | end << 16 for row 0, 1, … of the Gaussian's tile rows, and
    ``spans[-1]``, in front of them, first | end << 16 of these tile rows.
    """
    padded = frame[fr.PADDED]
    records = frame[fr.RECORDS] + fr.RECORD * slot * padded
    order = ints(frame[fr.ORDER] + 4 * slot * padded)
    for rank in range(first + LANES, min(first + 2 * LANES, end)):
        prefetch(records + fr.RECORD * order[rank])
    present = lane_numbers() < np.float32(min(end - first, LANES))
    indices = select_int(present, load_int(frame[fr.ORDER] + 4 * (slot * padded + first)), splat_int(order[first]))
    fields = transpose(load_records(records, indices))
    u, v, ka, s, kr, rightmost = fields[0], fields[1], fields[2], fields[3], fields[4], fields[14]
    low_row, high_row = to_float(bits_as_int(fields[10])), to_float(bits_as_int(fields[11]))
    columns, rows = bits_as_int(fields[12]), bits_as_int(fields[13])
    store_int(spans - BYTES, rows)
    first_column, end_column = bits_and(columns, 0xFFFF), shift_right(columns, 16)
    first_row, end_row = bits_and(rows, 0xFFFF), shift_right(rows, 16)
    edge = to_float(first_row) * TILE
    above = fields[5] - _LOG2_ALPHA_MIN
    per_ka = -1.0 / ka
    for row in range(largest_int(end_row - first_row)):
        top = maximum(edge, low_row) + 0.5 - v
        bottom = minimum(edge + TILE, high_row) - 0.5 - v
        edge = edge + TILE
        at_right = minimum(maximum(rightmost, top), bottom)
        at_left = minimum(maximum(-1.0 * rightmost, top), bottom)
        # A little more than float32 can be wrong by
        right = sqrt(maximum(fma(kr * at_right, at_right, above) * per_ka, 0.0)) * 1.00001 + 0.004
        left = sqrt(maximum(fma(kr * at_left, at_left, above) * per_ka, 0.0)) * 1.00001 + 0.004
        low = minimum(maximum(fma(s, at_left, u) - left - 0.5, 0.0), _FAR_RIGHT)
        high = minimum(maximum(fma(s, at_right, u) + right - 0.5 + TILE, 0.0), _FAR_RIGHT)
        begin = maximum_int(first_column, shift_right(to_int(low), _TILE_BITS))
        finish = minimum_int(end_column, shift_right(to_int(high), _TILE_BITS))
        store_int(spans + BYTES * row, begin | shift_left(maximum_int(finish, begin), 16))


@compiled
def _chunk(frame, item):
    """slot, ranks [first, end) and counts by tile of an item of the two counting passes."""
    chunks, tiles = frame[fr.CHUNKS], frame[fr.TILES_X] * frame[fr.TILES_Y]
    slot, chunk = item // chunks, item % chunks
    drawn = words(frame[fr.VISIBLE])[slot]
    counts = ints(frame[fr.COUNTS] + 4 * tiles * item)
    return slot, min(chunk * fr.CHUNK, drawn), min((chunk + 1) * fr.CHUNK, drawn), counts


@compiled
def count(at, item):
    """How many entries a chunk of depth-ordered Gaussians gives to each tile; its total in TOTALS."""
    frame = words(at)
    slot, start, end, counts = _chunk(frame, item)
    tiles_x, tiles = frame[fr.TILES_X], frame[fr.TILES_X] * frame[fr.TILES_Y]
    table = stack(_SPANS) + BYTES
    spans = ints(table - BYTES)
    clear(frame[fr.COUNTS] + 4 * tiles * item, 4 * tiles)
    # First the changes from tile to tile, where spans begin and end: most are short, of unforeseeable length.
    for first in range(start, end, LANES):
        _spans(frame, slot, first, end, table)
        for lane in range(min(LANES, end - first)):
            rows = spans[lane]
            column = LANES + lane
            for row in range(rows & 0xFFFF, rows >> 16):
                span = spans[column]
                before, after = row * tiles_x + (span & 0xFFFF), row * tiles_x + (span >> 16)
                if before < tiles:  # an empty span may lie beyond all tiles
                    counts[before] += 1
                if after < tiles:
                    counts[after] -= 1
                column += LANES
    number, total = 0, 0
    for tile in range(tiles):
        number += counts[tile]
        counts[tile] = number
        total += number
    words(frame[fr.TOTALS])[item] = total
    return True


@compiled
def counts_to_positions(frame):
    """Turn counts into the position of each chunk's first entry in each tile's list; returns the number of entries."""
    images, chunks = frame[fr.IMAGES], frame[fr.CHUNKS]
    tiles = frame[fr.TILES_X] * frame[fr.TILES_Y]
    position = 0
    for slot in range(images):
        counts = frame[fr.COUNTS] + 4 * tiles * chunks * slot
        starts = words(frame[fr.STARTS] + 8 * tiles * slot)
        for tile in range(tiles):
            starts[tile] = 0
        for chunk in range(chunks):  # row by row, as they lie: positions in the tile's own list
            row = ints(counts + 4 * tiles * chunk)
            for tile in range(tiles):
                number = row[tile]
                row[tile] = starts[tile]
                starts[tile] += number
        for tile in range(tiles):
            number = starts[tile]
            starts[tile] = position
            position += number
        for chunk in range(chunks):
            row = ints(counts + 4 * tiles * chunk)
            for tile in range(tiles):
                row[tile] += starts[tile]
    words(frame[fr.STARTS])[images * tiles] = position
    totals = words(frame[fr.TOTALS])
    running = 0
    for item in range(images * chunks):
        number = totals[item]
        totals[item] = running
        running += number
    return position


@compiled
def emit(at, item):
    """Write a chunk's entries to the lists. In the backward pass also note where each Gaussian's entries went: of those
    in front of what ended the tile's last ray. Behind it lies most of a solid head."""
    frame = words(at)
    slot, start, end, positions = _chunk(frame, item)
    padded, tiles_x = frame[fr.PADDED], frame[fr.TILES_X]
    order = ints(frame[fr.ORDER] + 4 * slot * padded)
    entries = ints(frame[fr.ENTRIES])
    remember = frame[fr.GRADIENTS] != 0
    position_of = ints(frame[fr.POSITIONS])
    own = ints(frame[fr.OWN] + 8 * slot * padded)
    ends = words(frame[fr.ENDS] + 8 * slot * tiles_x * frame[fr.TILES_Y])
    emitted = words(frame[fr.TOTALS])[item]
    table = stack(_SPANS) + BYTES
    spans = ints(table - BYTES)
    for first in range(start, end, LANES):
        _spans(frame, slot, first, end, table)
        if remember:
            for rank in range(first + LANES, min(first + 2 * LANES, end)):
                prefetch(frame[fr.OWN] + 8 * (slot * padded + order[rank]))
        for lane in range(min(LANES, end - first)):
            index, before = order[first + lane], emitted
            rows = spans[lane]
            column = LANES + lane
            for row in range(rows & 0xFFFF, rows >> 16):
                for tile in range(row * tiles_x + (spans[column] & 0xFFFF), row * tiles_x + (spans[column] >> 16)):
                    place = positions[tile]
                    positions[tile] = place + 1
                    if remember:
                        if place >= ends[tile]:
                            continue
                        position_of[emitted] = place
                        emitted += 1
                    entries[place] = index
                column += LANES
            if remember:
                own[2 * index], own[2 * index + 1] = before, emitted
    return True
