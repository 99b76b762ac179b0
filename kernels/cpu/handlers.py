"""The compiled entry points: what XLA calls for a forward or a backward pass, and what its threads run."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np

from kernels.constants import TILE
from kernels.cpu import bins, tiles
from kernels.cpu import frame as fr
from kernels.cpu.ffi import (
    BACKWARD_WORKER,
    DONE,
    FORWARD_WORKER,
    NO_MEMORY,
    TOO_MANY,
    UNKNOWN_VERSION,
    answers_metadata,
    attribute,
    backward_worker,
    data,
    failure,
    finish_item,
    forward_worker,
    knows_version,
    leading,
    leave,
    next_item,
    operands,
    parallel,
    results,
)
from kernels.cpu.memory import allocate, compiled, doubles, floats, ints, publish, release, stack, words
from kernels.cpu.project import project
from kernels.cpu.project_back import project_back
from kernels.cpu.simd import LANES
from kernels.cpu.tiles_back import composite_back

# NumPy's integers, because Numba would compile a function once for each Python constant that it is called with.
_PROJECT, _SORT, _COUNT, _EMIT, _COMPOSITE, _COMPOSITE_BACK, _PROJECT_BACK = (np.int64(phase) for phase in range(7))
_FRAME = 8 * 96  # bytes of a frame
MOST_ENTRIES = (1 << 31) - 64  # (tile, Gaussian) pairs of a group: their positions are int32, and read as whole vectors
_GROUP = 1 << 16  # Gaussians: images are handled together up to this many, for threads to share small ones


@compiled
def run_forward_items(job):
    """What a thread does for a job of the phases up to compositing: run items until none is left."""
    phase, at, item = next_item(job)
    while item >= 0:
        frame = words(at, fr.WORDS)
        done = True
        if phase == _PROJECT:
            project(frame, item)
        elif phase == _SORT:
            bins.sort_by_depth(frame, item)
        elif phase == _COUNT:
            bins.count(frame, item)
        elif phase == _EMIT:
            bins.emit(frame, item)
        elif phase == _COMPOSITE:
            done = tiles.composite(frame, item)
        finish_item(job, done)
        phase, at, item = next_item(job)
    leave(job)
    return 0


@compiled
def run_backward_items(job):
    """The same for the phases of the way back. Apart, so that both can be compiled side by side."""
    phase, at, item = next_item(job)
    while item >= 0:
        frame = words(at, fr.WORDS)
        done = True
        if phase == _COMPOSITE_BACK:
            done = composite_back(frame, item)
        elif phase == _PROJECT_BACK:
            project_back(frame, item)
        finish_item(job, done)
        phase, at, item = next_item(job)
    leave(job)
    return 0


@compiled
def _read_call(call, frame):
    """Sizes, and addresses of operands and results."""
    given, wanted = operands(call), results(call)
    frame[:] = 0
    frame[fr.SETTINGS] = attribute(call)
    settings = doubles(frame[fr.SETTINGS], fr.NUM_SETTINGS)
    frame[fr.GRADIENTS] = np.int64(settings[fr.BACKWARD])
    frame[fr.SCENES] = leading(given, 2)
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
        frame[fr.FIRST_OF] = allocate(images * frame[fr.PADDED] * 4)
        frame[fr.COUNT_OF] = allocate(images * frame[fr.PADDED] * 4)
        frame[fr.POSITIONS] = allocate(size * 4)
        frame[fr.USED] = allocate(size)
        frame[fr.SUMS] = allocate(size * fr.RECORD)
        frame[fr.EXTRA_SUMS] = allocate(size * frame[fr.EXTRA_CHANNELS] * 4)
        frame[fr.BACKGROUND_SUMS] = allocate(images * frame[fr.TILES_X] * frame[fr.TILES_Y] * 12)
        frame[fr.CAMERA_SUMS] = allocate(images * frame[fr.CHUNKS] * fr.RECORD)
        for word in range(fr.FIRST_OF, fr.WORDS):
            done = done and frame[word] != 0
    return done


@compiled
def _release_lists(frame):
    release(frame[fr.ENTRIES])
    frame[fr.ENTRIES] = 0
    for word in range(fr.FIRST_OF, fr.WORDS):
        release(frame[word])
        frame[word] = 0


@compiled
def _render_group(call, at, frame):
    """Everything for one group of images; DONE, or what went wrong."""
    images, chunks = frame[fr.IMAGES], frame[fr.CHUNKS]
    tiles_of_each = frame[fr.TILES_X] * frame[fr.TILES_Y]
    done = parallel(call, forward_worker(), _PROJECT, at, images * chunks)
    done = done and parallel(call, forward_worker(), _SORT, at, images)
    done = done and parallel(call, forward_worker(), _COUNT, at, images * chunks)
    frame[fr.NUM_ENTRIES] = bins.counts_to_positions(frame) if done else 0
    if frame[fr.NUM_ENTRIES] >= MOST_ENTRIES:
        return TOO_MANY
    done = done and _allocate_lists(frame)
    done = done and parallel(call, forward_worker(), _EMIT, at, images * chunks)
    if frame[fr.GRADIENTS] == 0:
        done = done and parallel(call, forward_worker(), _COMPOSITE, at, images * tiles_of_each)
    else:
        first, views = frame[fr.FIRST_IMAGE], frame[fr.VIEWS]
        scenes = (first + images - 1) // views - first // views + 1
        done = done and parallel(call, backward_worker(), _COMPOSITE_BACK, at, images * tiles_of_each)
        done = done and parallel(call, backward_worker(), _PROJECT_BACK, at, scenes * chunks)
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
    parts = ints(frame[fr.SKIPPED_PARTS] + 4 * slot * chunks, chunks)
    total = 0
    for chunk in range(chunks):
        total += parts[chunk]
    ints(frame[fr.SKIPPED], frame[fr.SCENES] * frame[fr.VIEWS])[frame[fr.FIRST_IMAGE] + slot] = total


@compiled
def _add_up_gradients(frame, slot):
    """Gradients of an image's camera and background from the parts of its chunks and tiles."""
    chunks, tiles_of_each = frame[fr.CHUNKS], frame[fr.TILES_X] * frame[fr.TILES_Y]
    image = frame[fr.FIRST_IMAGE] + slot
    pose, matrix = floats(frame[fr.D_POSES] + 64 * image, 16), floats(frame[fr.D_INTRINSICS] + 36 * image, 9)
    pose[:] = 0
    matrix[:] = 0
    for number in range(16):
        total = 0.0  # in double precision: millions of Gaussians may pull at one camera
        parts = floats(frame[fr.CAMERA_SUMS] + fr.RECORD * slot * chunks, 16 * chunks)
        for chunk in range(chunks):
            total += parts[16 * chunk + number]
        if number < 12:
            pose[number] = total
        elif number < 14:
            matrix[4 * (number - 12)] = total  # fx, fy
        else:
            matrix[3 * (number - 14) + 2] = total  # cx, cy
    back = floats(frame[fr.D_BACKGROUND] + 12 * image, 3)
    parts = floats(frame[fr.BACKGROUND_SUMS] + 12 * slot * tiles_of_each, 3 * tiles_of_each)
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
    frame = words(at, fr.WORDS)
    _read_call(call, frame)
    outcome = DONE if _allocate_group(frame) else NO_MEMORY
    total, group = frame[fr.SCENES] * frame[fr.VIEWS], frame[fr.IMAGES]
    for first in range(0, total, max(group, 1)):
        frame[fr.FIRST_IMAGE], frame[fr.IMAGES] = first, min(group, total - first)
        if outcome == DONE:
            outcome = _render_group(call, at, frame)
    _release_group(frame)
    return failure(call, outcome)


class EntryPoints(NamedTuple):
    """Compiled C functions (``numba.core.ccallback.CFunc``); their machine code lives as long as they do."""

    run_forward_items: Any
    run_backward_items: Any
    rasterize: Any


def compiled_entry(function: Any, *, cache: bool) -> Any:
    """Machine code for this processor, from Numba's cache where it has it."""
    return numba.cfunc(numba.int64(numba.int64), cache=cache, error_model="numpy")(function.py_func)


def compile_entry_points(*, cache: bool, before_backward: Callable[[], None] = lambda: None) -> EntryPoints:
    """All of them. ``before_backward`` may wait for another process that compiles that part into the cache."""
    forward = compiled_entry(run_forward_items, cache=cache)
    before_backward()
    backward = compiled_entry(run_backward_items, cache=cache)
    # Before the handler, which refers to them, is loaded
    publish(FORWARD_WORKER, forward.address)
    publish(BACKWARD_WORKER, backward.address)
    return EntryPoints(forward, backward, compiled_entry(rasterize, cache=cache))
