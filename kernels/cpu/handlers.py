"""The compiled entry points: what XLA calls for a forward or a backward pass, and the phases that its threads run."""

from typing import Any

import numba
import numpy as np

from kernels.constants import TILE
from kernels.cpu import bins, ffi
from kernels.cpu import frame as fr
from kernels.cpu.ffi import (
    DONE,
    NO_MEMORY,
    TOO_MANY,
    UNKNOWN_VERSION,
    answers_metadata,
    attribute,
    data,
    failure,
    knows_version,
    leading,
    operands,
    parallel,
    results,
)
from kernels.cpu.memory import OPTIONS, allocate, clear, compiled, release, stack
from kernels.cpu.project import project
from kernels.cpu.project_back import project_back
from kernels.cpu.simd import LANES
from kernels.cpu.tiles import composite
from kernels.cpu.tiles_back import composite_back, find_ends
from kernels.cpu.views import doubles, floats, ints, words

# NumPy's integers, because Numba would compile a function once for each Python constant that it is called with.
_PROJECT, _SORT, _COUNT, _EMIT, _COMPOSITE, _FIND_ENDS, _COMPOSITE_BACK, _PROJECT_BACK = map(
    np.int64, range(ffi.PHASES)
)
_FRAME = 8 * 96  # bytes of a frame
MOST_ENTRIES = (1 << 31) - 64  # (tile, Gaussian) pairs of a group: their positions are int32, and read as whole vectors
_GROUP = 1 << 16  # Gaussians: images are handled together up to this many, for threads to share small ones


@compiled
def _read_call(call, frame):
    """Sizes, and addresses of operands and results."""
    given, wanted = operands(call), results(call)
    frame[fr.SETTINGS] = attribute(call)
    settings = doubles(frame[fr.SETTINGS])
    frame[fr.GRADIENTS] = np.int64(settings[fr.BACKWARD])
    frame[fr.SCENES] = leading(given, np.int64(2))
    frame[fr.VIEWS] = np.int64(settings[fr.NUM_VIEWS])
    frame[fr.GAUSSIANS] = np.int64(settings[fr.NUM_GAUSSIANS])
    frame[fr.COLOR_VIEWS] = np.int64(settings[fr.NUM_COLOR_VIEWS])
    frame[fr.WIDTH], frame[fr.HEIGHT] = np.int64(settings[fr.IMAGE_WIDTH]), np.int64(settings[fr.IMAGE_HEIGHT])
    frame[fr.EXTRA_CHANNELS] = np.int64(settings[fr.NUM_EXTRA])
    frame[fr.HAS_OFFSET] = np.int64(settings[fr.MOVED])
    for index in range(10):
        frame[fr.MEANS + index] = data(given, index)
    if frame[fr.GRADIENTS] == 0:
        for index in range(8):
            frame[fr.IMAGE + index] = data(wanted, index)
    else:
        for index in range(6):  # light, stop, d_image, d_alpha, d_depth, d_extra_image
            frame[fr.LIGHT + index if index < 2 else fr.D_IMAGE + index - 2] = data(given, 10 + index)
        for index in range(10):
            frame[fr.D_MEANS + index] = data(wanted, index)


@compiled
def _allocate_group(frame):
    """Scratch for as many images at once as share the threads well; False when there is no memory."""
    n, width, height = frame[fr.GAUSSIANS], frame[fr.WIDTH], frame[fr.HEIGHT]
    frame[fr.TILES_X], frame[fr.TILES_Y] = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    images = min(max(_GROUP // max(n, 1), 1), frame[fr.SCENES] * frame[fr.VIEWS])
    chunks = max((n + fr.CHUNK - 1) // fr.CHUNK, 1)
    n = (n + LANES - 1) // LANES * LANES
    frame[fr.PADDED] = n
    frame[fr.IMAGES], frame[fr.CHUNKS] = images, chunks
    tiles_of_all = images * frame[fr.TILES_X] * frame[fr.TILES_Y]
    frame[fr.RECORDS] = allocate(images * n * fr.RECORD)
    frame[fr.KEYS] = allocate(images * n * 4)
    frame[fr.ORDER] = allocate((images * n + LANES) * 4)
    frame[fr.SORTING] = allocate(images * bins.sorting_bytes(n))
    frame[fr.VISIBLE] = allocate(images * 8)
    frame[fr.SKIPPED_PARTS] = allocate(images * chunks * 4)
    frame[fr.COUNTS] = allocate(tiles_of_all * chunks * 4)
    frame[fr.STARTS] = allocate((tiles_of_all + 1) * 8)
    frame[fr.TOTALS] = allocate(images * chunks * 8)
    done = True
    for word in range(fr.RECORDS, fr.ENTRIES):
        done = done and frame[word] != 0
    return done


@compiled
def _release_group(frame):
    for word in range(fr.RECORDS, fr.ENTRIES):
        release(frame[word])


@compiled
def _allocate_lists(frame):
    images, size = frame[fr.IMAGES], frame[fr.NUM_ENTRIES]
    frame[fr.ENTRIES] = allocate((size + LANES) * 4)  # whole vectors are read
    done = frame[fr.ENTRIES] != 0
    if frame[fr.GRADIENTS] != 0:
        frame[fr.ENDS] = allocate(images * frame[fr.TILES_X] * frame[fr.TILES_Y] * 8)
        frame[fr.OWN] = allocate(images * frame[fr.PADDED] * 8)
        frame[fr.POSITIONS] = allocate(size * 4)
        frame[fr.USED] = allocate(size)
        frame[fr.SUMS] = allocate(size * fr.RECORD)
        frame[fr.EXTRA_SUMS] = allocate(size * frame[fr.EXTRA_CHANNELS] * 4)
        frame[fr.BACKGROUND_SUMS] = allocate(images * frame[fr.TILES_X] * frame[fr.TILES_Y] * 12)
        frame[fr.CAMERA_SUMS] = allocate(images * frame[fr.CHUNKS] * fr.RECORD)
        for word in range(fr.ENDS, fr.WORDS):
            done = done and frame[word] != 0
    return done


@compiled
def _release_lists(frame):
    release(frame[fr.ENTRIES])
    frame[fr.ENTRIES] = 0
    for word in range(fr.ENDS, fr.WORDS):
        release(frame[word])
        frame[word] = 0


@compiled
def _render_group(call, at, frame):
    """Everything for one group of images; DONE, or what went wrong."""
    images, chunks = frame[fr.IMAGES], frame[fr.CHUNKS]
    tiles_of_each = frame[fr.TILES_X] * frame[fr.TILES_Y]
    done = parallel(call, _PROJECT, at, images * chunks)
    done = done and parallel(call, _SORT, at, images)
    done = done and parallel(call, _COUNT, at, images * chunks)
    frame[fr.NUM_ENTRIES] = bins.counts_to_positions(frame) if done else 0
    if frame[fr.NUM_ENTRIES] >= MOST_ENTRIES:
        return TOO_MANY
    done = done and _allocate_lists(frame)
    if frame[fr.GRADIENTS] != 0:
        done = done and parallel(call, _FIND_ENDS, at, images * tiles_of_each)
    done = done and parallel(call, _EMIT, at, images * chunks)
    if frame[fr.GRADIENTS] == 0:
        done = done and parallel(call, _COMPOSITE, at, images * tiles_of_each)
    else:
        first, views = frame[fr.FIRST_IMAGE], frame[fr.VIEWS]
        scenes = (first + images - 1) // views - first // views + 1
        done = done and parallel(call, _COMPOSITE_BACK, at, images * tiles_of_each)
        done = done and parallel(call, _PROJECT_BACK, at, scenes * chunks)
    for slot in range(images if done else 0):
        if frame[fr.GRADIENTS] == 0:
            _add_up_skipped(frame, slot)
        else:
            _add_up_gradients(frame, slot)
    _release_lists(frame)
    return DONE if done else NO_MEMORY


@compiled
def _add_up_skipped(frame, slot):
    chunks = frame[fr.CHUNKS]
    parts = ints(frame[fr.SKIPPED_PARTS] + 4 * slot * chunks)
    total = 0
    for chunk in range(chunks):
        total += parts[chunk]
    ints(frame[fr.SKIPPED])[frame[fr.FIRST_IMAGE] + slot] = total


@compiled
def _add_up_gradients(frame, slot):
    """Gradients of an image's camera and background from the parts of its chunks and tiles."""
    chunks, tiles_of_each = frame[fr.CHUNKS], frame[fr.TILES_X] * frame[fr.TILES_Y]
    image = frame[fr.FIRST_IMAGE] + slot
    pose, matrix = floats(frame[fr.D_POSES] + 64 * image), floats(frame[fr.D_INTRINSICS] + 36 * image)
    clear(frame[fr.D_POSES] + 64 * image, 64)
    clear(frame[fr.D_INTRINSICS] + 36 * image, 36)
    for number in range(16):
        total = 0.0  # in double precision: millions of Gaussians may pull at one camera
        parts = floats(frame[fr.CAMERA_SUMS] + fr.RECORD * slot * chunks)
        for chunk in range(chunks):
            total += parts[16 * chunk + number]
        if number < 12:
            pose[number] = total
        elif number < 14:
            matrix[4 * (number - 12)] = total  # fx, fy
        else:
            matrix[3 * (number - 14) + 2] = total  # cx, cy
    back = floats(frame[fr.D_BACKGROUND] + 12 * image)
    parts = floats(frame[fr.BACKGROUND_SUMS] + 12 * slot * tiles_of_each)
    for channel in range(3):
        total = 0.0
        for tile in range(tiles_of_each):
            total += parts[3 * tile + channel]
        back[channel] = total


@compiled
def rasterize(call):
    """XLA_FFI_Handler of both directions: operands and results in the order of ``frame.py``."""
    if answers_metadata(call):
        return failure(call, DONE if knows_version(call) else UNKNOWN_VERSION)
    at = stack(_FRAME)
    frame = words(at)
    clear(at, 8 * fr.WORDS)
    _read_call(call, frame)
    outcome = DONE if _allocate_group(frame) else NO_MEMORY
    total, group = frame[fr.SCENES] * frame[fr.VIEWS], frame[fr.IMAGES]
    for first in range(0, total, max(group, 1)):
        frame[fr.FIRST_IMAGE], frame[fr.IMAGES] = first, min(group, total - first)
        if outcome == DONE:
            outcome = _render_group(call, at, frame)
    _release_group(frame)
    return failure(call, outcome)


_ADDRESS = numba.int64
_PHASE, _FUNCTION = _ADDRESS(_ADDRESS, numba.int64), _ADDRESS(_ADDRESS)  # C functions of a frame and an item; of a call
# In the order in which ``ffi`` numbers them, and the handler
_PHASES = (project, bins.sort_by_depth, bins.count, bins.emit, composite, find_ends, composite_back, project_back)
ENTRY_POINTS = {function: _PHASE for function in _PHASES} | {ffi.run_items: _FUNCTION, rasterize: _FUNCTION}
# Neighbours share helpers, which a process compiles once; both ends are dear, the middle is cheap.
BY_COST = (
    *(project_back, project, rasterize, ffi.run_items),
    *(bins.sort_by_depth, bins.emit, bins.count, find_ends, composite, composite_back),
)


def compile_entry_point(function: Any, *, cache: bool) -> Any:
    """Machine code for this processor (``numba.core.ccallback.CFunc``), from Numba's cache where it has it."""
    return numba.cfunc(ENTRY_POINTS[function], cache=cache, **OPTIONS)(function.py_func)


def compile_all(*, cache: bool) -> dict[Any, Any]:
    """Every entry point, ready to be called; machine code lives as long as the result."""
    code = {function: compile_entry_point(function, cache=cache) for function in BY_COST}
    ffi.set_functions([code[function].address for function in (*_PHASES, ffi.run_items)])
    return code


def compile_from_the_end() -> None:
    """What a second process does: fill the cache, until it meets the one that began at the other end."""
    for function in reversed(BY_COST):
        if compile_entry_point(function, cache=True).cache_hits:
            return
