"""Vectors and memory: loads, stores, and what exchanges numbers between lanes."""

from typing import Any, no_type_check

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.cpu.simd import BYTES, F16, I16, LANES, vector_function

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_FLOATS, _INTS = F16.llvm_type, I16.llvm_type


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
