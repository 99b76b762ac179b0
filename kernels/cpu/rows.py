"""Operands and gradients, rows of one to four numbers, as columns: sixteen rows at a time.

Whole vectors are read and written and their lanes exchanged in registers. (Gathers and scatters of single numbers are
slow where there are any, and processors without AVX-512 have no scatter.) Where fewer than sixteen rows are left, a
copy on the stack stands in for memory that belongs to somebody else.
"""

from typing import Any, no_type_check

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.cpu.memory import compiled, stack
from kernels.cpu.simd import BYTES, F16, LANES
from kernels.cpu.views import floats

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_LANES_OF = ir.VectorType(_I32, LANES)


@no_type_check
def _pick(builder, vectors, wanted):
    """One vector of lanes of several: ``wanted[lane]`` is (which vector, which of its lanes)."""
    first = vectors[0]
    picked = builder.shuffle_vector(first, first, ir.Constant(_LANES_OF, [lane for _, lane in wanted]))
    for number, vector in enumerate(vectors[1:], 1):
        lanes = [LANES + lane if of == number else at for at, (of, lane) in enumerate(wanted)]
        picked = builder.shuffle_vector(picked, vector, ir.Constant(_LANES_OF, lanes))
    return picked


@no_type_check
def _at(builder, address, number):
    place = builder.add(address, _I64(BYTES * number))
    return builder.inttoptr(place, F16.llvm_type.as_pointer())


@no_type_check
def _columns(context, address, size):
    """The columns (a tuple) of sixteen rows of ``size`` (a literal) numbers at an address."""
    if not isinstance(size, types.IntegerLiteral):
        return None
    width = size.literal_value

    def lower(context, builder, sig, args):
        flat = [builder.load(_at(builder, args[0], number), align=4) for number in range(width)]
        spread = [[divmod(width * lane + column, LANES) for lane in range(LANES)] for column in range(width)]
        return context.make_tuple(builder, sig.return_type, [_pick(builder, flat, wanted) for wanted in spread])

    return types.UniTuple(F16, width)(types.int64, size), lower


@no_type_check
def _put_columns(context, address, columns):
    """The reverse: a tuple of columns to an address, row by row."""
    width = columns.count

    def lower(context, builder, sig, args):
        given = [builder.extract_value(args[1], number) for number in range(width)]
        for number in range(width):
            wanted = [((LANES * number + lane) % width, (LANES * number + lane) // width) for lane in range(LANES)]
            builder.store(_pick(builder, given, wanted), _at(builder, args[0], number), align=4)
        return context.get_dummy_value()

    return types.void(types.int64, columns), lower


_load: Any = intrinsic(_columns)
_store: Any = intrinsic(_put_columns)


def _rows_of(size: int) -> tuple[Any, Any]:
    """``load(base, first, count)`` and ``store(base, first, count, columns)`` for rows of ``size`` numbers."""
    whole, table = LANES * size, BYTES * size

    @compiled
    def load(base, first, count):
        at, spare = base + 4 * size * first, stack(table)
        if count < LANES:
            copy, there = floats(spare), floats(at)
            for i in range(size * count):
                copy[i] = there[i]
            for i in range(size * count, whole):
                copy[i] = 1.0
            at = spare
        return _load(at, size)

    @compiled
    def store(base, first, count, columns):
        at, spare = base + 4 * size * first, stack(table)
        if count == LANES:
            _store(at, columns)
        else:
            _store(spare, columns)
            copy, there = floats(spare), floats(at)
            for i in range(size * count):
                there[i] = copy[i]

    return load, store


# Rows from ``first`` on of [..., size] float32 at ``base``; lanes from ``count`` on are 1, and are not written.
load_ones, store_ones = _rows_of(1)
load_pairs, store_pairs = _rows_of(2)
load_threes, store_threes = _rows_of(3)
load_fours, store_fours = _rows_of(4)
