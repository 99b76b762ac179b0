"""XLA's FFI seen from Numba: call frames and parallel loops, with no Python in between.

A handler is a C function that XLA calls with an ``XLA_FFI_CallFrame`` (``xla/ffi/api/c_api.h`` under
``jax.ffi.include_dir()``; the byte offsets below are that header's: API versions 0.3 and 0.4, 64-bit machines; a
test compares them). Another version is refused before anything is called. Unlike
``jax.pure_callback`` it needs neither the GIL nor copies, so it can neither wait for a Python thread nor slow one down.

Parallel loops run on XLA's own thread pool, which knows how many threads this process may use. (Numba's own: the
default layer aborts when two XLA threads enter at once, the other two need further packages.) The calling thread always
works too, and in the end waits only for items that another thread has already begun. So a loop finishes with any number
of free threads, none included, and from any number of callers at once. What an item is depends on the problem alone,
never on the number of threads, and so does the result.
"""

import ctypes
from collections.abc import Sequence

import numpy as np

from kernels.cpu.memory import (
    address_of,
    allocate,
    atomic_add,
    atomic_load,
    call_phase,
    call_pointer,
    compiled,
    give_way,
    peek,
    peek32,
    poke,
    poke32,
    publish,
    release,
    stack,
)

# XLA_FFI_CallFrame; the last three are pointers to arrays of pointers
_EXTENSION, _API, _CONTEXT, _ARGUMENTS, _RESULTS, _ATTRIBUTES = 8, 16, 24, 72, 112, 160
# XLA_FFI_Buffer and XLA_FFI_Array
_BUFFER_DATA, _BUFFER_RANK, _BUFFER_DIMS, _ARRAY_DATA = 24, 32, 40, 16
# XLA_FFI_Extension_Base, XLA_FFI_Metadata_Extension, XLA_FFI_Metadata
_EXTENSION_TYPE, _EXTENSION_METADATA, _METADATA_MAJOR, _METADATA_MINOR, _METADATA_TRAITS = 8, 24, 24, 28, 32
_IS_METADATA = 1
# XLA_FFI_Api
_API_MINOR, _ERROR_CREATE, _ERROR_DESTROY, _SCHEDULE, _NUM_THREADS = 36, 48, 64, 136, 144
_API_MAJOR = 32
_RESOURCE_EXHAUSTED, _UNIMPLEMENTED = 8, 12
MAJOR, FIRST_MINOR, LAST_MINOR = 0, 3, 4  # versions of the header that have these offsets (JAX 0.10, 0.11)

# What a call comes to: the error's code and its text
DONE, NO_MEMORY, TOO_MANY, UNKNOWN_VERSION = (np.int64(outcome) for outcome in range(4))
_texts = [
    ctypes.create_string_buffer(text)
    for text in (
        b"CPU rasteriser: out of memory",
        b"CPU rasteriser: more than 2^31 (tile, Gaussian) pairs at once; render fewer images at once, smaller ones, or "
        b"smaller Gaussians",
        b"CPU rasteriser: this version of XLA's FFI is not known",
    )
]
for _number, _text in enumerate(_texts, 1):
    publish(f"kernels_cpu_text_{_number}", ctypes.addressof(_text))
_no_memory, _too_many, _unknown_version = (address_of(f"kernels_cpu_text_{number}") for number in (1, 2, 3))


@compiled
def answers_metadata(call):
    """True when XLA only asks what this handler is, as it does at registration; the answer has then been given."""
    extension = peek(call + _EXTENSION)
    if extension == 0 or peek32(extension + _EXTENSION_TYPE) != _IS_METADATA:
        return False
    metadata = peek(extension + _EXTENSION_METADATA)
    poke32(metadata + _METADATA_MAJOR, MAJOR)
    poke32(metadata + _METADATA_MINOR, min(LAST_MINOR, peek32(peek(call + _API) + _API_MINOR)))
    poke32(metadata + _METADATA_TRAITS, 0)
    return True


@compiled
def knows_version(call):
    """Whether XLA's FFI is one that the offsets above are for."""
    api = peek(call + _API)
    minor = peek32(api + _API_MINOR)
    return peek32(api + _API_MAJOR) == MAJOR and minor >= FIRST_MINOR and minor <= LAST_MINOR


@compiled
def operands(call):
    """Address of the array of addresses of the operands' XLA_FFI_Buffers."""
    return peek(call + _ARGUMENTS)


@compiled
def results(call):
    return peek(call + _RESULTS)


@compiled
def data(buffers, index):
    """Address of a buffer's first element."""
    return peek(peek(buffers + 8 * index) + _BUFFER_DATA)


@compiled
def leading(buffers, inner):
    """Product of all axes of the first buffer but the ``inner`` last ones."""
    buffer = peek(buffers)
    product = 1
    for axis in range(peek(buffer + _BUFFER_RANK) - inner):
        product *= peek(peek(buffer + _BUFFER_DIMS) + 8 * axis)
    return product


@compiled
def attribute(call):
    """Address of the first element of the only attribute, an array."""
    return peek(peek(peek(call + _ATTRIBUTES)) + _ARRAY_DATA)


@compiled
def failure(call, outcome):
    """What a handler returns: 0, or the XLA_FFI_Error of an outcome that is not DONE."""
    if outcome == DONE:
        return 0
    arguments = stack(32)
    poke(arguments, 32)
    poke(arguments + 8, 0)
    text = _no_memory()
    code = _RESOURCE_EXHAUSTED
    if outcome == TOO_MANY:
        text = _too_many()
    if outcome == UNKNOWN_VERSION:
        text, code = _unknown_version(), _UNIMPLEMENTED
    poke(arguments + 16, text)
    poke(arguments + 24, code)
    return call_pointer(peek(peek(call + _API) + _ERROR_CREATE), arguments)


@compiled
def _succeeded(call, error):
    if error == 0:
        return True
    arguments = stack(24)
    poke(arguments, 24)
    poke(arguments + 8, 0)
    poke(arguments + 16, error)
    call_pointer(peek(peek(call + _API) + _ERROR_DESTROY), arguments)
    return False


# ---------------------------------------------------------------------------------------------------------------------
# Parallel loops. A job in memory, as int64 words; the two counters have cache lines of their own.

_PHASE, _FRAME, _ITEMS, _HOLDERS, _FAILED, _NEXT, _FINISHED, _JOB_BYTES = 0, 8, 16, 24, 32, 64, 128, 192
_SPINS = 100  # glances at the counter before giving way: about a microsecond

# Addresses of C functions that are compiled by themselves: WORKER is ``run_items``; a phase is int64(frame, item) and
# returns 0 when there was no memory.
PHASES = 8
PROJECT, SORT, COUNT, EMIT, COMPOSITE, FIND_ENDS, COMPOSITE_BACK, PROJECT_BACK, WORKER = range(PHASES + 1)
_addresses = (ctypes.c_int64 * (PHASES + 1))()
publish("kernels_cpu_functions", ctypes.addressof(_addresses))
_functions = address_of("kernels_cpu_functions")


def set_functions(addresses: Sequence[int]) -> None:
    """Where the phases and the worker are, in the order above; before anything is run."""
    _addresses[:] = addresses


@compiled
def run_items(job):
    """What a thread does for a job: run items until none is left."""
    phase, frame = peek(job + _PHASE), peek(job + _FRAME)
    item = atomic_add(job + _NEXT, 1)
    while item < peek(job + _ITEMS):
        if call_phase(phase, frame, item) == 0:
            atomic_add(job + _FAILED, 1)
        atomic_add(job + _FINISHED, 1)
        item = atomic_add(job + _NEXT, 1)
    _leave(job)
    return 0


@compiled
def _leave(job):
    """The last thread to leave a job frees it. Helpers that start too late find no item and touch nothing else."""
    if atomic_add(job + _HOLDERS, -1) == 1:
        release(job)


@compiled
def _threads(call):
    arguments = stack(40)
    poke(arguments, 32)
    poke(arguments + 8, 0)
    poke(arguments + 16, peek(call + _CONTEXT))
    poke(arguments + 24, arguments + 32)
    poke(arguments + 32, 1)
    if _succeeded(call, call_pointer(peek(peek(call + _API) + _NUM_THREADS), arguments)):
        return peek(arguments + 32)
    return 1


@compiled
def _ask_for_help(call, worker, job):
    arguments = stack(40)
    poke(arguments, 40)
    poke(arguments + 8, 0)
    poke(arguments + 16, peek(call + _CONTEXT))
    poke(arguments + 24, worker)
    poke(arguments + 32, job)
    return _succeeded(call, call_pointer(peek(peek(call + _API) + _SCHEDULE), arguments))


@compiled
def parallel(call, phase, frame, items):
    """Run items 0 … items − 1 of a phase, here and on XLA's threads; False when there was no memory for it."""
    if items <= 0:
        return True
    job = allocate(np.int64(_JOB_BYTES))
    if job == 0:
        return False
    worker = peek(_functions() + 8 * WORKER)
    helpers = max(min(_threads(call), items) - 1, 0)
    poke(job + _PHASE, peek(_functions() + 8 * phase))
    poke(job + _FRAME, frame)
    poke(job + _ITEMS, items)
    poke(job + _HOLDERS, helpers + 2)  # this thread as a worker and as the one that waits
    poke(job + _FAILED, 0)
    poke(job + _NEXT, 0)
    poke(job + _FINISHED, 0)
    for _ in range(helpers):
        if not _ask_for_help(call, worker, job):
            _leave(job)
    call_pointer(worker, job)
    glances = 0
    while atomic_load(job + _FINISHED) < items:
        glances += 1
        if glances > _SPINS:
            give_way()
    done = atomic_load(job + _FAILED) == 0
    _leave(job)
    return done
