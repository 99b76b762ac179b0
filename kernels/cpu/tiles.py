"""Compositing of one tile, block by block of 4 × 4 pixels: a block is one vector.

A tile's pixels live on the stack. ``light`` is what is left of a ray; it turns negative when the ray has ended, so that
one comparison tells both.
"""

import numpy as np

from kernels.constants import ALPHA_MIN, TILE, TRANSMITTANCE_MIN
from kernels.cpu import frame as fr
from kernels.cpu.blocks import MASKS, PIXELS, PLANE, SIDE, place_of, reach
from kernels.cpu.lanes import load, load_int, store, store_int
from kernels.cpu.memory import allocate, compiled, lowest_bit, prefetch, release, stack
from kernels.cpu.simd import (
    BYTES,
    LANES,
    any_lane,
    exp2,
    fma,
    lane_columns,
    lane_rows,
    minimum,
    minus_abs,
    select,
    select_int,
    splat,
    splat_int,
)
from kernels.cpu.views import doubles, floats, ints, words

_STATE = 6 * PLANE


@compiled
def tile_of(frame, item):
    """slot, image, first pixel column and row of a tile, and how many columns and rows of it the image has."""
    tiles = frame[fr.TILES_X] * frame[fr.TILES_Y]
    slot, tile = item // tiles, item % tiles
    left, top = tile % frame[fr.TILES_X] * TILE, tile // frame[fr.TILES_X] * TILE
    columns, rows = min(frame[fr.WIDTH] - left, TILE), min(frame[fr.HEIGHT] - top, TILE)
    return slot, frame[fr.FIRST_IMAGE] + slot, left, top, columns, rows


@compiled
def extra_of(frame, image):
    """Address of the extra channels of an image's first Gaussian."""
    return frame[fr.EXTRA] + 4 * (image // frame[fr.VIEWS] * frame[fr.GAUSSIANS] * frame[fr.EXTRA_CHANNELS])


@compiled
def composite(at, item):
    """Blend one tile's Gaussians, near to far, and write its pixels. False when there is no memory."""
    frame = words(at)
    slot, image, left, top, columns, rows = tile_of(frame, item)
    settings = doubles(frame[fr.SETTINGS])
    alpha_min, alpha_max = splat(ALPHA_MIN), splat(settings[fr.ALPHA_MAX])
    light_min = splat(TRANSMITTANCE_MIN)
    starts = words(frame[fr.STARTS] + 8 * item)
    size = starts[1] - starts[0]
    entries = ints(frame[fr.ENTRIES] + 4 * starts[0])
    records = frame[fr.RECORDS] + fr.RECORD * slot * frame[fr.PADDED]
    channels, extra = frame[fr.EXTRA_CHANNELS], extra_of(frame, image)
    nothing = splat(0.0)
    masks = stack(MASKS)
    mask_of = ints(masks)

    light_at = stack(_STATE)
    red_at, green_at, blue_at = light_at + PLANE, light_at + 2 * PLANE, light_at + 3 * PLANE
    depth_at, stop_at = light_at + 4 * PLANE, light_at + 5 * PLANE
    extra_at = allocate(channels * PLANE) if channels > 0 else light_at
    if extra_at == 0:
        return False
    alive = 0
    for block in range(SIDE * SIDE):
        y = BYTES * block
        # Pixels outside the image have no light, or they would keep the tile busy.
        inside = lane_columns() < np.float32(columns - block % SIDE * SIDE)
        inside = inside & (lane_rows() < np.float32(rows - block // SIDE * SIDE))
        if any_lane(inside):
            alive |= 1 << block
        store(light_at + y, select(inside, 1.0, -1.0))
        for plane in range(1, 5):
            store(light_at + plane * PLANE + y, nothing)
        for channel in range(channels):
            store(extra_at + channel * PLANE + y, nothing)
        store_int(stop_at + y, splat_int(size))

    for i in range(size):
        lane = i % LANES
        if lane == 0:
            if alive == 0:
                break
            reach(frame, slot, starts[0] + i, min(size - i, LANES), left, top, masks)
        mask = mask_of[lane] & alive
        if mask == 0:
            continue
        prefetch(records + fr.RECORD * entries[min(i + 4, size - 1)])
        g = floats(records + fr.RECORD * entries[i])
        mine = floats(extra + 4 * channels * entries[i])
        from_u = lane_columns() + (np.float32(left) + np.float32(0.5) - g[0])
        from_v = lane_rows() + (np.float32(top) + np.float32(0.5) - g[1])
        while mask != 0:
            block = lowest_bit(mask)
            mask &= mask - 1
            y = BYTES * block
            dy = from_v + np.float32(block // SIDE * SIDE)
            off = from_u + np.float32(block % SIDE * SIDE) - g[3] * dy
            alpha = minimum(exp2(fma(g[2] * off, off, fma(g[4] * dy, dy, g[5]))), alpha_max)
            alpha = select(alpha >= alpha_min, alpha, nothing)
            light = load(light_at + y)
            weight = alpha * light
            ends = light - weight < light_min
            if any_lane(ends & (light > nothing)):
                now = ends & (light > nothing)
                store_int(stop_at + y, select_int(now, splat_int(i), load_int(stop_at + y)))
                if not any_lane((light > nothing) & (light - weight >= light_min)):
                    alive &= ~(1 << block)
            weight = select(ends, nothing, weight)
            store(light_at + y, select(ends, minus_abs(light), light - weight))
            store(red_at + y, fma(weight, g[6], load(red_at + y)))
            store(green_at + y, fma(weight, g[7], load(green_at + y)))
            store(blue_at + y, fma(weight, g[8], load(blue_at + y)))
            store(depth_at + y, fma(weight, g[9], load(depth_at + y)))
            for channel in range(channels):
                plane = extra_at + channel * PLANE + y
                store(plane, fma(weight, mine[channel], load(plane)))
    _write(frame, image, left, top, columns, rows, light_at, extra_at)
    if channels > 0:
        release(extra_at)
    return True


@compiled
def _write(frame, image, left, top, columns, rows, light_at, extra_at):
    """A tile's planes to the image, over the background."""
    width, height, channels = frame[fr.WIDTH], frame[fr.HEIGHT], frame[fr.EXTRA_CHANNELS]
    back = floats(frame[fr.BACKGROUND] + 12 * image)
    planes, stops = floats(light_at), ints(light_at + 5 * PLANE)
    extras = floats(extra_at)
    before = image * height * width
    image_out = floats(frame[fr.IMAGE] + 12 * before)
    alpha_out = floats(frame[fr.ALPHA] + 4 * before)
    depth_out = floats(frame[fr.DEPTH] + 4 * before)
    light_out = floats(frame[fr.LIGHT] + 4 * before)
    stop_out = ints(frame[fr.STOP] + 4 * before)
    extra_out = floats(frame[fr.EXTRA_IMAGE] + 4 * channels * before)
    for row in range(rows):
        for column in range(columns):
            of, to = place_of(row, column), (top + row) * width + left + column
            rest = abs(planes[of])
            for channel in range(3):
                image_out[3 * to + channel] = planes[(1 + channel) * PIXELS + of] + rest * back[channel]
            alpha_out[to] = np.float32(1.0) - rest
            depth_out[to] = planes[4 * PIXELS + of]
            light_out[to] = rest
            stop_out[to] = stops[of]
            for channel in range(channels):
                extra_out[channels * to + channel] = extras[channel * PIXELS + of]
