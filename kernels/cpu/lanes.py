"""Vectors and memory: loads, stores, and what exchanges numbers between lanes."""

from typing import Any, no_type_check

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.cpu.simd import BYTES, F16, I16, LANES, vector_function

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_FLOATS, _INTS, _WORDS = F16.llvm_type, I16.llvm_type, ir.VectorType(_I64, LANES)


@vector_function((types.int64,), F16)
def load(builder, address):
    return builder.load(builder.inttoptr(address, _FLOATS.as_pointer()), align=4)


@vector_function((types.int64,), I16)
def load_int(builder, address):
    return builder.load(builder.inttoptr(address, _INTS.as_pointer()), align=4)


@vector_function((types.int64, F16), types.void)
def store(builder, address, value):
    builder.store(value, builder.inttoptr(address, _FLOATS.as_pointer()), align=4)


@vector_function((types.int64, I16), types.void)
def store_int(builder, address, value):
    builder.store(value, builder.inttoptr(address, _INTS.as_pointer()), align=4)


def _strided(builder, address, stride, count):
    """Pointers to lane · stride behind an address, and the mask of the first ``count`` lanes."""
    lane = ir.Constant(_WORDS, list(range(LANES)))

    def spread(scalar):
        undefined = ir.Constant(_WORDS, ir.Undefined)
        first = ir.Constant(_INTS, [0] * LANES)
        return builder.shuffle_vector(builder.insert_element(undefined, scalar, _I32(0)), undefined, first)

    places = builder.add(spread(address), builder.mul(lane, spread(stride)))
    pointers = builder.inttoptr(places, ir.VectorType(ir.FloatType().as_pointer(), LANES))
    return pointers, builder.icmp_signed("<", lane, spread(count))


@vector_function((types.int64, types.int64, types.int64), F16)
def load_strided(builder, address, stride, count):
    """The numbers at address, address + stride, …; lanes from ``count`` on are 1."""
    pointers, mask = _strided(builder, address, stride, count)
    kind = ir.FunctionType(_FLOATS, [pointers.type, _I32, mask.type, _FLOATS])
    gather = cgutils.get_or_insert_function(builder.module, kind, "llvm.masked.gather.v16f32.v16p0")
    return builder.call(gather, [pointers, _I32(4), mask, ir.Constant(_FLOATS, [1.0] * LANES)])


@vector_function((types.int64, types.int64, types.int64, F16), types.void)
def store_strided(builder, address, stride, count, value):
    """The first ``count`` lanes go to address, address + stride, …"""
    pointers, mask = _strided(builder, address, stride, count)
    kind = ir.FunctionType(ir.VoidType(), [_FLOATS, pointers.type, _I32, mask.type])
    scatter = cgutils.get_or_insert_function(builder.module, kind, "llvm.masked.scatter.v16f32.v16p0")
    builder.call(scatter, [value, pointers, _I32(4), mask])


@no_type_check
def _load_records(context, base, indices):
    """Sixteen vectors (a tuple): record ``index`` is the vector at base + 64·index."""

    def lower(context, builder, sig, args):
        rows = []
        for lane in range(LANES):
            index = builder.sext(builder.extract_element(args[1], _I32(lane)), _I64)
            at = builder.add(args[0], builder.mul(index, _I64(BYTES)))
            rows.append(builder.load(builder.inttoptr(at, _FLOATS.as_pointer()), align=4))
        return context.make_tuple(builder, sig.return_type, rows)

    return types.UniTuple(F16, LANES)(types.int64, I16), lower


@no_type_check
def _lane_sums(context, vectors):
    """The sums over the lanes of sixteen vectors (a tuple), as one vector: a tree of fifteen shuffled additions."""

    def lower(context, builder, sig, args):
        rows = [builder.extract_value(args[0], i) for i in range(LANES)]
        step = 1
        while len(rows) > 1:
            # Lane groups of 2·step: the lower half of the sum comes from the first vector, the upper from the second.
            low = [lane // (2 * step) * 2 * step + lane % step + (LANES if lane & step else 0) for lane in range(LANES)]
            high = [lane + step for lane in low]
            rows = [
                builder.fadd(
                    builder.shuffle_vector(a, b, ir.Constant(_INTS, low)),
                    builder.shuffle_vector(a, b, ir.Constant(_INTS, high)),
                )
                for a, b in zip(rows[0::2], rows[1::2], strict=True)
            ]
            step *= 2
        return rows[0]

    return F16(vectors), lower


@no_type_check
def _transpose(context, vectors):
    """Sixteen vectors (a tuple) → sixteen vectors, the first of which holds the first lane of each."""

    def lower(context, builder, sig, args):
        rows = [builder.extract_value(args[0], i) for i in range(LANES)]
        step = 1
        while step < LANES:  # exchange the off-diagonal blocks of 1, 2, 4, 8 lanes
            swapped = list(rows)
            for i in range(LANES):
                if not i & step:
                    low = [lane - step + LANES if lane & step else lane for lane in range(LANES)]
                    high = [lane + LANES if lane & step else lane + step for lane in range(LANES)]
                    for to, lanes in ((i, low), (i + step, high)):
                        swapped[to] = builder.shuffle_vector(rows[i], rows[i + step], ir.Constant(_INTS, lanes))
            rows, step = swapped, 2 * step
        return context.make_tuple(builder, sig.return_type, rows)

    return types.UniTuple(F16, LANES)(vectors), lower


load_records: Any = intrinsic(_load_records)
lane_sums: Any = intrinsic(_lane_sums)
transpose: Any = intrinsic(_transpose)
