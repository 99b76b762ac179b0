"""Raw memory for Numba functions that run without Python: addresses are int64, nothing is bounds-checked."""

import ctypes
import inspect
import sys
from collections.abc import Callable
from typing import Any, no_type_check

import numba
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

ADDRESS = types.int64
_I64 = ir.IntType(64)


# Nothing here allocates arrays, has expressions of them, or is called from Python, so Numba need not prepare for it.
OPTIONS: dict[str, Any] = {"error_model": "numpy", "_nrt": False, "no_rewrites": True}


def compiled(function: Callable) -> Any:
    """``numba.njit`` on the bare function: while tests run, an import hook wraps each one to check annotations."""
    njit: Any = numba.njit
    return njit(inspect.unwrap(function), no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS)


def publish(name: str, address: int | None) -> None:
    """Let compiled code use the function or data at ``address`` by name: names may be cached on disk, addresses not."""
    binding.add_symbol(name, address)


def _publish_libc() -> None:
    if sys.platform == "win32":
        libc = ctypes.cdll.msvcrt
        give_way = ctypes.windll.kernel32.SwitchToThread
    else:
        libc = ctypes.CDLL(None)
        give_way = libc.sched_yield
    for name, function in (("malloc", libc.malloc), ("free", libc.free), ("give_way", give_way)):
        publish(f"kernels_cpu_{name}", ctypes.cast(function, ctypes.c_void_p).value)


_publish_libc()
_malloc = types.ExternalFunction("kernels_cpu_malloc", ADDRESS(types.int64))
_free = types.ExternalFunction("kernels_cpu_free", types.void(ADDRESS))
give_way = types.ExternalFunction("kernels_cpu_give_way", types.int32())  # let another thread run


def llvm_intrinsic(result: Any, arguments: tuple, emit: Callable) -> Any:
    """A function of fixed types whose body is LLVM code: ``emit(builder, *values)``."""

    @no_type_check
    def lower(context, builder, sig, args):
        out = emit(builder, *args)
        return context.get_dummy_value() if result is types.void else out

    signature = result(*arguments)
    bodies = [
        lambda context: (signature, lower),
        lambda context, a: (signature, lower),
        lambda context, a, b: (signature, lower),
        lambda context, a, b, c: (signature, lower),
    ]
    return intrinsic(bodies[len(arguments)])


def _at(builder, address, bits=64):
    return builder.inttoptr(address, ir.IntType(bits).as_pointer())


peek = llvm_intrinsic(types.int64, (ADDRESS,), lambda b, a: b.load(_at(b, a)))
peek32 = llvm_intrinsic(types.int32, (ADDRESS,), lambda b, a: b.load(_at(b, a, 32)))
poke = llvm_intrinsic(types.void, (ADDRESS, types.int64), lambda b, a, x: b.store(x, _at(b, a)))
poke32 = llvm_intrinsic(types.void, (ADDRESS, types.int32), lambda b, a, x: b.store(x, _at(b, a, 32)))
atomic_load = llvm_intrinsic(types.int64, (ADDRESS,), lambda b, a: b.load_atomic(_at(b, a), "seq_cst", 8))
atomic_add = llvm_intrinsic(  # returns the old value
    types.int64, (ADDRESS, types.int64), lambda b, a, x: b.atomic_rmw("add", _at(b, a), x, "seq_cst")
)
exchange = llvm_intrinsic(  # returns the old value
    types.int64, (ADDRESS, types.int64), lambda b, a, x: b.atomic_rmw("xchg", _at(b, a), x, "seq_cst")
)
lowest_bit = llvm_intrinsic(  # the number of the lowest bit that is set; not for 0
    types.int64, (types.int64,), lambda b, x: b.cttz(x, ir.IntType(1)(1))
)
call_pointer = llvm_intrinsic(  # a C function int64(int64) at an address
    types.int64,
    (ADDRESS, types.int64),
    lambda b, function, x: b.call(b.inttoptr(function, ir.FunctionType(_I64, [_I64]).as_pointer()), [x]),
)
call_phase = llvm_intrinsic(  # a C function int64(int64, int64) at an address
    types.int64,
    (ADDRESS, types.int64, types.int64),
    lambda b, function, x, y: b.call(b.inttoptr(function, ir.FunctionType(_I64, [_I64, _I64]).as_pointer()), [x, y]),
)


def _prefetch(builder, address):
    flag = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, flag, flag, flag])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [builder.inttoptr(address, cgutils.voidptr_t), flag(0), flag(3), flag(1)])


prefetch = llvm_intrinsic(types.void, (ADDRESS,), _prefetch)  # ask for the cache line at an address


def _clear(builder, address, size):
    cgutils.memset(builder, builder.inttoptr(address, cgutils.voidptr_t), size, 0)


clear = llvm_intrinsic(types.void, (ADDRESS, types.int64), _clear)  # fill bytes with zeros


def address_of(name: str) -> Any:
    """A function of no arguments that returns the address of a published name."""
    kind = ir.FunctionType(ir.VoidType(), [])

    def emit(builder):
        return builder.ptrtoint(cgutils.get_or_insert_function(builder.module, kind, name), _I64)

    return llvm_intrinsic(ADDRESS, (), emit)


def _stack(context, size):
    """Address of ``size`` bytes (a literal) on the calling function's stack, aligned to 64."""

    @no_type_check
    def lower(context, builder, sig, args):
        with builder.goto_entry_block():
            block = builder.alloca(ir.ArrayType(ir.IntType(8), size.literal_value))
            block.align = 64
        return builder.ptrtoint(block, _I64)

    return (ADDRESS(size), lower) if isinstance(size, types.IntegerLiteral) else None


stack: Any = intrinsic(_stack)


# Scratch that was released and is kept for the next call: the system hands out fresh pages zeroed and one at a time,
# which takes longer than some phases do. Words: bytes kept, turns taken, and as many addresses
# as there are places (0: a free one).
_PLACES, _TURNS, _PLACE = 32, 8, 16
KEPT_AT_MOST = 1 << 29  # bytes; a block more for each thread that is just looking for one
_WORTH_KEEPING = 1 << 16
_kept = (ctypes.c_int64 * (2 + _PLACES))()
publish("kernels_cpu_kept", ctypes.addressof(_kept))
_kept_at = address_of("kernels_cpu_kept")


@compiled
def allocate(size):
    """Address of ``size`` bytes, aligned to 64, or 0 when there is no memory. Hand it to ``release``."""
    room = _rounded(size)
    if room >= _WORTH_KEEPING:
        for place in range(_PLACES):
            at = _kept_at() + _PLACE + 8 * place
            address = exchange(at, 0)
            if address != 0:
                atomic_add(_kept_at(), -_room_of(address))
                if _room_of(address) == room:
                    return address
                _keep(at, address)
    block = _malloc(room + 128)
    if block == 0:  # what is kept may be what is missing
        give_back()
        block = _malloc(room + 128)
    if block == 0:
        return block
    aligned = (block + 16 + 63) // 64 * 64
    poke(aligned - 8, block)
    poke(aligned - 16, room)
    return aligned


@compiled
def release(address):
    if address == 0:
        return
    room = _room_of(address)
    if room < _WORTH_KEEPING or room > KEPT_AT_MOST:
        _free(peek(address - 8))
        return
    for place in range(_PLACES):
        at = _kept_at() + _PLACE + 8 * place
        if atomic_load(at) == 0 and atomic_load(_kept_at()) + room <= KEPT_AT_MOST:
            _keep(at, address)
            return
    # Full: others go by turn until there is room, so that sizes which nobody asks for any more do not stay for ever.
    at = _next_place()
    for _ in range(_PLACES):
        _drop(exchange(at, 0))
        if atomic_load(_kept_at()) + room <= KEPT_AT_MOST:
            break
        at = _next_place()
    _keep(at, address)


@compiled
def _next_place():
    return _kept_at() + _PLACE + 8 * (atomic_add(_kept_at() + _TURNS, 1) % _PLACES)


@compiled
def _keep(at, address):
    """Put a block into a place; what another thread has put there meanwhile goes back to the system."""
    atomic_add(_kept_at(), _room_of(address))
    _drop(exchange(at, address))


@compiled
def _drop(address):
    """Hand a block that was kept to the system."""
    if address != 0:
        atomic_add(_kept_at(), -_room_of(address))
        _free(peek(address - 8))


@compiled
def give_back():
    """Hand all that is kept to the system."""
    for place in range(_PLACES):
        _drop(exchange(_kept_at() + _PLACE + 8 * place, 0))


@compiled
def _rounded(size):
    """Up to an eighth more, so that lists of about the same length find each other's blocks."""
    step = 64
    while 16 * step < size:
        step *= 2
    return (max(size, 1) + step - 1) // step * step


@compiled
def _room_of(address):
    return peek(address - 16)


def kept() -> dict[int, int]:
    """Addresses and sizes of the blocks that wait for the next call. While none is running, that is."""
    return {at: ctypes.c_int64.from_address(at - 16).value for at in _kept[2:] if at}


def kept_bytes() -> int:
    """What is kept, as the running calls count it."""
    return _kept[0]
