"""Compositing of one tile: a row of sixteen pixels is one vector.

A tile's pixels live on the stack, row by row. ``light`` is what is left of a ray; it turns negative when the ray has
ended, so that one comparison tells both.
"""

import numpy as np

from kernels.constants import ALPHA_MIN, TILE, TRANSMITTANCE_MIN
from kernels.cpu import frame as fr
from kernels.cpu.lanes import load, load_int, store, store_int
from kernels.cpu.memory import compiled, doubles, floats, ints, prefetch, stack, words
from kernels.cpu.simd import (
    BYTES,
    any_lane,
    exp2,
    fma,
    lane_numbers,
    largest,
    maximum,
    minimum,
    minus_abs,
    select,
    select_int,
    splat,
    splat_int,
)

PIXELS = TILE * TILE
PLANE = TILE * BYTES  # bytes of one number for each pixel of a tile
_STATE = 6 * PLANE
_LOOK = 16  # Gaussians composited between two looks whether every ray of the tile has ended


@compiled
def tile_of(frame, item):
    """slot, image, first pixel column and row of a tile, and how many columns and rows of it the image has."""
    tiles = frame[fr.TILES_X] * frame[fr.TILES_Y]
    slot, tile = item // tiles, item % tiles
    left, top = tile % frame[fr.TILES_X] * TILE, tile // frame[fr.TILES_X] * TILE
    columns, rows = min(frame[fr.WIDTH] - left, TILE), min(frame[fr.HEIGHT] - top, TILE)
    return slot, frame[fr.FIRST_IMAGE] + slot, left, top, columns, rows


@compiled
def composite(frame, item):
    """Blend one tile's Gaussians, near to far, and write its pixels."""
    slot, image, left, top, columns, rows = tile_of(frame, item)
    settings = doubles(frame[fr.SETTINGS], fr.NUM_SETTINGS)
    alpha_min, alpha_max = splat(ALPHA_MIN), splat(settings[fr.ALPHA_MAX])
    light_min = splat(TRANSMITTANCE_MIN)
    starts = words(frame[fr.STARTS] + 8 * item, 2)
    size = starts[1] - starts[0]
    entries = ints(frame[fr.ENTRIES] + 4 * starts[0], size)
    records = frame[fr.RECORDS] + fr.RECORD * slot * frame[fr.PADDED]
    nothing = splat(0.0)
    pixel_x = lane_numbers() + (np.float32(left) + np.float32(0.5))

    light_at = stack(_STATE)
    red_at, green_at, blue_at = light_at + PLANE, light_at + 2 * PLANE, light_at + 3 * PLANE
    depth_at, stop_at = light_at + 4 * PLANE, light_at + 5 * PLANE
    for y in range(0, PLANE, BYTES):
        # Pixels outside the image have no light, or they would keep the tile busy.
        store(light_at + y, select(lane_numbers() < np.float32(columns), 1.0, -1.0))
        store(red_at + y, nothing)
        store(green_at + y, nothing)
        store(blue_at + y, nothing)
        store(depth_at + y, nothing)
        store_int(stop_at + y, splat_int(size))

    for i in range(size):
        if i % _LOOK == 0 and i > 0 and _ended(light_at, rows):
            break
        prefetch(records + fr.RECORD * entries[min(i + 4, size - 1)])
        at = records + fr.RECORD * entries[i]
        g, whole = floats(at, 16), ints(at, 16)
        dx = pixel_x - g[0]
        for row in range(max(whole[10] - top, 0), min(whole[11] - top, rows)):
            y = BYTES * row
            dy = np.float32(top + row) + np.float32(0.5) - g[1]
            off = dx - g[3] * dy
            alpha = minimum(exp2(fma(g[2] * off, off, g[5] + g[4] * dy * dy)), alpha_max)
            alpha = select(alpha >= alpha_min, alpha, nothing)
            light = load(light_at + y)
            weight = alpha * light
            ends = light - weight < light_min
            if any_lane(ends & (light > nothing)):
                now = ends & (light > nothing)
                store_int(stop_at + y, select_int(now, splat_int(i), load_int(stop_at + y)))
            weight = select(ends, nothing, weight)
            store(light_at + y, select(ends, minus_abs(light), light - weight))
            store(red_at + y, fma(weight, g[6], load(red_at + y)))
            store(green_at + y, fma(weight, g[7], load(green_at + y)))
            store(blue_at + y, fma(weight, g[8], load(blue_at + y)))
            store(depth_at + y, fma(weight, g[9], load(depth_at + y)))

    # Out of the tile, over the background
    width, height = frame[fr.WIDTH], frame[fr.HEIGHT]
    back = floats(frame[fr.BACKGROUND] + 12 * image, 3)
    planes, stops = floats(light_at, 5 * PIXELS), ints(stop_at, PIXELS)
    pixels, before = height * width, image * height * width
    image_out = floats(frame[fr.IMAGE] + 12 * before, 3 * pixels)
    alpha_out = floats(frame[fr.ALPHA] + 4 * before, pixels)
    depth_out = floats(frame[fr.DEPTH] + 4 * before, pixels)
    light_out = floats(frame[fr.LIGHT] + 4 * before, pixels)
    stop_out = ints(frame[fr.STOP] + 4 * before, pixels)
    for row in range(rows):
        for column in range(columns):
            of, to = TILE * row + column, (top + row) * width + left + column
            rest = abs(planes[of])
            for channel in range(3):
                image_out[3 * to + channel] = planes[(1 + channel) * PIXELS + of] + rest * back[channel]
            alpha_out[to] = np.float32(1.0) - rest
            depth_out[to] = planes[4 * PIXELS + of]
            light_out[to] = rest
            stop_out[to] = stops[of]


@compiled
def _ended(light_at, rows):
    """Whether no ray of the tile has light left."""
    most = load(light_at)
    for row in range(1, rows):
        most = maximum(most, load(light_at + BYTES * row))
    return largest(most) <= np.float32(0.0)
