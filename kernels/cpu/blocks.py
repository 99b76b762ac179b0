"""A tile as sixteen blocks of 4 × 4 pixels, one vector each: where they lie, and which of them a Gaussian can reach.

Small Gaussians fill blocks better than they fill rows of sixteen pixels, and a block whose rays have all ended is left
out by itself. Bit 4·row + column of a mask stands for a block; pixel 4·y + x of a block is its lane.
"""

import math

import numpy as np

from kernels.constants import ALPHA_MIN, TILE
from kernels.cpu import frame as fr
from kernels.cpu.lanes import load_int, load_records, store_int, transpose
from kernels.cpu.memory import compiled
from kernels.cpu.simd import (
    BYTES,
    LANES,
    bits_as_int,
    ceil,
    floor,
    fma,
    lane_numbers,
    maximum,
    minimum,
    select_int,
    shift_left,
    shift_left_each,
    splat_int,
    sqrt,
    to_float,
    to_int,
)
from kernels.cpu.views import ints

SIDE = 4  # pixels of a block, and blocks of a tile
PIXELS = TILE * TILE
PLANE = 4 * PIXELS  # bytes of one number for each pixel of a tile, block by block
MASKS = BYTES  # bytes of ``reach``'s result
ALL = 0xFFFF
_LOG2_ALPHA_MIN = math.log2(ALPHA_MIN)


@compiled
def place_of(row, column):
    """Where a plane has a pixel of the tile."""
    return LANES * (row // SIDE * SIDE + column // SIDE) + row % SIDE * SIDE + column % SIDE


@compiled
def reach(frame, slot, first, count, left, top, masks):
    """Of ``count`` ≤ 16 entries from the absolute position ``first`` on: the blocks in which each can be drawn.

    The ellipse alpha ≥ ALPHA_MIN is convex: between two heights it reaches furthest right at its rightmost point, or at
    the height next to it (see ``bins``, which finds tiles in this way).
    """
    entries = frame[fr.ENTRIES] + 4 * first
    present = lane_numbers() < np.float32(count)
    indices = select_int(present, load_int(entries), splat_int(ints(entries)[0]))
    fields = transpose(load_records(frame[fr.RECORDS] + fr.RECORD * slot * frame[fr.PADDED], indices))
    u, v, ka, s, kr, rightmost = fields[0], fields[1], fields[2], fields[3], fields[4], fields[14]
    low_row, high_row = to_float(bits_as_int(fields[10])), to_float(bits_as_int(fields[11]))
    above, per_ka = fields[5] - _LOG2_ALPHA_MIN, -1.0 / ka
    across = u - (np.float32(left) + np.float32(0.5))  # of the centre, in columns of the tile
    mask = splat_int(0)
    for row in range(SIDE):
        edge = np.float32(top + SIDE * row)
        high = maximum(low_row, edge) + 0.5 - v
        low = minimum(high_row, edge + np.float32(SIDE)) - 0.5 - v
        at_right = minimum(maximum(rightmost, high), low)
        at_left = minimum(maximum(-1.0 * rightmost, high), low)
        # A little more than float32 can be wrong by; the alpha test has the last word.
        right = sqrt(maximum(fma(kr * at_right, at_right, above) * per_ka, 0.0)) * 1.00001 + 0.004
        left_half = sqrt(maximum(fma(kr * at_left, at_left, above) * per_ka, 0.0)) * 1.00001 + 0.004
        begin = floor(ceil(fma(s, at_left, across) - left_half) * np.float32(1 / SIDE))
        finish = floor(floor(fma(s, at_right, across) + right) * np.float32(1 / SIDE)) + 1.0
        begin = to_int(minimum(maximum(begin, 0.0), np.float32(SIDE)))
        finish = to_int(minimum(maximum(finish, 0.0), np.float32(SIDE)))
        # Bits begin … finish − 1, none if there are no such
        bits = shift_left_each(splat_int(1), finish) - shift_left_each(splat_int(1), begin)
        bits = select_int((high <= low) & (finish > begin), bits, splat_int(0))
        mask = mask | shift_left(bits, SIDE * row)
    store_int(masks, mask)
