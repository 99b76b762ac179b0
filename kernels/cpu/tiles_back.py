"""Compositing of one tile, backward: from the last Gaussian that was drawn to the first.

With weight w = alpha·T (T: the light in front of the Gaussian) and a pixel's cotangents folded into one number for each
Gaussian, c = Σ cotangent·(colour, depth), the derivative is dL/dalpha = T·c − behind/(1 − alpha), where ``behind`` is
Σ w·c of all that lies behind, background included. T is recovered from the light that was left, by division, so that
its error stays relative (Kerbl et al. 2023, appendix).

What a Gaussian gets from a tile is one record of sums over its pixels, of v = dL/dalpha·alpha (the derivative by the
exponent), of distances t = dx − s·dy and dy from its centre, and of weights:

    0 Σv   1 Σv·t   2 Σv·t²   3 Σv·t·dy   4 Σv·dy   5 Σv·dy²   6 7 8 Σw·d_image   9 Σw·d_depth
    10 Σ|v·ka·t|   11 Σ|v·(kr·dy − ka·s·t)|: with absgrad, 2·log 2 times which are the magnitudes by u and v

and a second one, of Σw·d_extra, where there are extra channels.
"""

import numpy as np

from kernels.constants import ALPHA_MIN
from kernels.cpu import frame as fr
from kernels.cpu.blocks import MASKS, PIXELS, PLANE, SIDE, place_of, reach
from kernels.cpu.lanes import lane_sums, load, load_int, store
from kernels.cpu.memory import allocate, clear, compiled, lowest_bit, prefetch, release, stack
from kernels.cpu.simd import (
    BYTES,
    LANES,
    absolute,
    exp2,
    fma,
    lane_columns,
    lane_rows,
    less_int,
    minimum,
    select,
    splat,
    splat_int,
    sum_lanes,
)
from kernels.cpu.tiles import extra_of, tile_of
from kernels.cpu.views import doubles, flags, floats, ints, words

_STATE = 7 * PLANE
_LASTS = 8 * SIDE * SIDE  # bytes


@compiled
def find_ends(at, item):
    """Where the entries of a tile end that any of its pixels has looked at."""
    frame = words(at)
    _, image, left, top, columns, rows = tile_of(frame, item)
    width, last = frame[fr.WIDTH], 0
    stop = ints(frame[fr.STOP] + 4 * image * frame[fr.HEIGHT] * width)
    for row in range(top, top + rows):
        for at_pixel in range(row * width + left, row * width + left + columns):
            last = max(last, stop[at_pixel])
    words(frame[fr.ENDS])[item] = words(frame[fr.STARTS])[item] + last
    return True


@compiled
def composite_back(at, item):
    """Records of sums for one tile's entries, and the tile's part of the background's gradient.

    False when there is no memory.
    """
    frame = words(at)
    slot, image, left, top, columns, rows = tile_of(frame, item)
    settings = doubles(frame[fr.SETTINGS])
    alpha_min, alpha_max = splat(ALPHA_MIN), splat(settings[fr.ALPHA_MAX])
    absgrad = settings[fr.ABSGRAD] != 0
    first = words(frame[fr.STARTS] + 8 * item)[0]
    entries = ints(frame[fr.ENTRIES] + 4 * first)
    sums = frame[fr.SUMS] + fr.RECORD * first
    used = flags(frame[fr.USED] + first)
    records = frame[fr.RECORDS] + fr.RECORD * slot * frame[fr.PADDED]
    channels, extra = frame[fr.EXTRA_CHANNELS], extra_of(frame, image)
    nothing, one = splat(0.0), splat(1.0)
    masks = stack(MASKS)
    mask_of = ints(masks)
    lasts = stack(_LASTS)
    last_of = words(lasts)
    clear(lasts, _LASTS)

    light_at = stack(_STATE)
    behind_at, red_at, green_at = light_at + PLANE, light_at + 2 * PLANE, light_at + 3 * PLANE
    blue_at, depth_at, stop_at = light_at + 4 * PLANE, light_at + 5 * PLANE, light_at + 6 * PLANE
    # Cotangents of the extra channels, and behind them a vector of sums for each
    extra_at = allocate(channels * (PLANE + BYTES)) if channels > 0 else light_at
    if extra_at == 0:
        return False
    extra_sums = extra_at + channels * PLANE
    last = _load_tile(frame, item, image, left, top, columns, rows, light_at, extra_at, last_of)
    clear(frame[fr.USED] + first, last)
    active = 0  # blocks that have begun, as seen from the nearest of sixteen entries
    for i in range(last - 1, -1, -1):
        lane = i % LANES
        if lane == LANES - 1 or i == last - 1:
            reach(frame, slot, first + i - lane, lane + 1, left, top, masks)
            for block in range(SIDE * SIDE):
                active |= np.int64(last_of[block] > i - lane) << block
        mask = mask_of[lane] & active
        if mask == 0:
            continue
        prefetch(records + fr.RECORD * entries[max(i - 8, 0)])
        g = floats(records + fr.RECORD * entries[i])
        mine = floats(extra + 4 * channels * entries[i])
        from_u = lane_columns() + (np.float32(left) + np.float32(0.5) - g[0])
        from_v = lane_rows() + (np.float32(top) + np.float32(0.5) - g[1])
        v0, v1, v2, v3, v4, v5 = nothing, nothing, nothing, nothing, nothing, nothing
        w0, w1, w2, w3, by_u, by_v = nothing, nothing, nothing, nothing, nothing, nothing
        for channel in range(channels):
            store(extra_sums + BYTES * channel, nothing)
        while mask != 0:
            block = lowest_bit(mask)
            mask &= mask - 1
            if i >= last_of[block]:
                continue
            used[i] = 1
            y = BYTES * block
            dy = from_v + np.float32(block // SIDE * SIDE)
            off = from_u + np.float32(block % SIDE * SIDE) - g[3] * dy
            raw = exp2(fma(g[2] * off, off, fma(g[4] * dy, dy, g[5])))
            drawn = (raw >= alpha_min) & less_int(splat_int(i), load_int(stop_at + y))
            alpha = select(drawn, minimum(raw, alpha_max), nothing)
            growth = one / (one - alpha)
            light = load(light_at + y) * growth
            weight = alpha * light
            behind = load(behind_at + y)
            d_red, d_green, d_blue, d_depth = (
                load(red_at + y),
                load(green_at + y),
                load(blue_at + y),
                load(depth_at + y),
            )
            c = fma(d_red, g[6], fma(d_green, g[7], fma(d_blue, g[8], d_depth * g[9])))
            for channel in range(channels):
                d_extra = load(extra_at + channel * PLANE + y)
                c = fma(d_extra, mine[channel], c)
                channel_sum = extra_sums + BYTES * channel
                store(channel_sum, fma(weight, d_extra, load(channel_sum)))
            d_alpha = light * c - behind * growth
            store(light_at + y, light)
            store(behind_at + y, fma(weight, c, behind))
            # An alpha at its cap does not move.
            v = select(drawn & (raw < alpha_max), d_alpha * raw, nothing)
            vt = v * off
            v0 = v0 + v
            v1 = v1 + vt
            v2 = fma(vt, off, v2)
            v3 = fma(vt, dy, v3)
            vdy = v * dy
            v4 = v4 + vdy
            v5 = fma(vdy, dy, v5)
            w0 = fma(weight, d_red, w0)
            w1 = fma(weight, d_green, w1)
            w2 = fma(weight, d_blue, w2)
            w3 = fma(weight, d_depth, w3)
            if absgrad:
                by_u = by_u + absolute(vt * g[2])
                by_v = by_v + absolute(vdy * g[4] - vt * (g[2] * g[3]))
        total = lane_sums((v0, v1, v2, v3, v4, v5, w0, w1, w2, w3, by_u, by_v, nothing, nothing, nothing, nothing))
        store(sums + fr.RECORD * i, total)
        if channels > 0:
            whole = floats(frame[fr.EXTRA_SUMS] + 4 * channels * (first + i))
            for channel in range(channels):
                whole[channel] = sum_lanes(load(extra_sums + BYTES * channel))
    if channels > 0:
        release(extra_at)
    return True


@compiled
def _load_tile(frame, item, image, left, top, columns, rows, light_at, extra_at, last_of):
    """Fill a tile's planes: light left, Σ behind (so far the background), cotangents, stops.

    The last stop of each block goes to ``last_of``; returns that of the tile.
    """
    width, height, channels = frame[fr.WIDTH], frame[fr.HEIGHT], frame[fr.EXTRA_CHANNELS]
    back = floats(frame[fr.BACKGROUND] + 12 * image)
    before = image * height * width
    d_image = floats(frame[fr.D_IMAGE] + 12 * before)
    d_alpha = floats(frame[fr.D_ALPHA] + 4 * before)
    d_depth = floats(frame[fr.D_DEPTH] + 4 * before)
    d_extra = floats(frame[fr.D_EXTRA_IMAGE] + 4 * channels * before)
    light = floats(frame[fr.LIGHT] + 4 * before)
    stop = ints(frame[fr.STOP] + 4 * before)
    planes, stops = floats(light_at), ints(light_at + 6 * PLANE)
    extras = floats(extra_at)
    if columns < SIDE * SIDE or rows < SIDE * SIDE:
        for i in range(6 * PIXELS):
            planes[i] = 0.0
        for i in range(PIXELS):
            stops[i] = 0
        for i in range(channels * PIXELS):
            extras[i] = 0.0
    last = 0
    red, green, blue = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for row in range(rows):
        for column in range(columns):
            to, of = place_of(row, column), (top + row) * width + left + column
            rest = light[of]
            planes[to] = rest
            r, g, b = d_image[3 * of], d_image[3 * of + 1], d_image[3 * of + 2]
            planes[PIXELS + to] = rest * (r * back[0] + g * back[1] + b * back[2] - d_alpha[of])
            planes[2 * PIXELS + to], planes[3 * PIXELS + to], planes[4 * PIXELS + to] = r, g, b
            planes[5 * PIXELS + to] = d_depth[of]
            for channel in range(channels):
                extras[channel * PIXELS + to] = d_extra[channels * of + channel]
            stops[to] = stop[of]
            last_of[to // LANES] = max(last_of[to // LANES], stop[of])
            last = max(last, stop[of])
            red, green, blue = red + rest * r, green + rest * g, blue + rest * b
    parts = floats(frame[fr.BACKGROUND_SUMS] + 12 * item)
    parts[0], parts[1], parts[2] = red, green, blue
    return last
