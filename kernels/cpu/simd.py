"""Sixteen float32 lanes as one Numba value, so that the compositing loops are vector code on every CPU.

Numba's loop vectoriser gives up on loops with masks and exponentials (its exp is a library call), so the lanes are
spelled out. LLVM maps them to one AVX-512 register, two AVX2 or four NEON ones. ``+ - * /``, comparisons and the
functions below take vectors or scalars (which are broadcast). Addresses are int64; nothing is bounds-checked.
"""

import math
import operator
from collections.abc import Callable
from typing import Any, no_type_check

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

LANES = 16
BYTES = 4 * LANES  # of one vector

_F32, _I32, _I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_VF, _VI, _VM = (ir.VectorType(element, LANES) for element in (_F32, _I32, ir.IntType(1)))

# 2^f on |f| <= 1/2: minimax in relative error, 7.5e-8 (Remez exchange), lowest power first.
EXP2_COEFFICIENTS = (
    1.0000000716546822,
    0.6931469670647331,
    0.24022119723848484,
    0.05550713273542741,
    0.009675541334215127,
    0.0013276471979413052,
)
# Adding and subtracting 1.5 * 2^23 rounds a float32 to the nearest integer and leaves it in the low mantissa bits.
_ROUND = 12582912.0


class _Vector(types.Type):
    def __init__(self, name, llvm_type):
        super().__init__(name)
        self.llvm_type = llvm_type


F16 = _Vector("f32x16", _VF)
I16 = _Vector("i32x16", _VI)
M16 = _Vector("mask16", _VM)


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, numba_type):
        super().__init__(manager, numba_type, numba_type.llvm_type)


def _constant(value):
    return ir.Constant(_VI if isinstance(value, int) else _VF, [value] * LANES)


def _broadcast(builder, scalar):
    undefined = ir.Constant(ir.VectorType(scalar.type, LANES), ir.Undefined)
    return builder.shuffle_vector(builder.insert_element(undefined, scalar, _I32(0)), undefined, _constant(0))


def _as_float_vector(context, builder, value, numba_type):
    if numba_type is F16:
        return value
    return _broadcast(builder, context.cast(builder, value, numba_type, types.float32))


def _is_float_like(numba_type):
    return numba_type is F16 or isinstance(numba_type, (types.Float, types.Integer))


def _fmuladd(builder, x, y, z):
    """x·y + z, fused where the CPU can; never a library call, as llvm.fma is without an FMA unit."""
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_VF, [_VF] * 3), "llvm.fmuladd.v16f32")
    return builder.call(function, [x, y, z])


# ---------------------------------------------------------------------------------------------------------------------
# Operators


@no_type_check
def _float_operator(op, emit, result):
    @infer_global(op)  # pyright: ignore[reportOptionalCall]
    class _Typing(AbstractTemplate):
        def generic(self, args, kws):
            vectors = F16 in args and all(map(_is_float_like, args))
            return signature(result, *args) if vectors else None

    def lower(context, builder, sig, args):
        a, b = (_as_float_vector(context, builder, v, t) for v, t in zip(args, sig.args, strict=True))
        return emit(builder, a, b)

    for operands in ((F16, F16), (F16, types.Number), (types.Number, F16)):
        lower_builtin(op, *operands)(lower)


@no_type_check
def _same_type_operator(op, kind, emit, result=None):
    @infer_global(op)  # pyright: ignore[reportOptionalCall]
    class _Typing(AbstractTemplate):
        def generic(self, args, kws):
            return signature(result or kind, *args) if args == (kind, kind) else None

    def lower(context, builder, sig, args):
        return emit(builder, *args)

    lower_builtin(op, kind, kind)(lower)


# "contract" lets a·b + c become one fused instruction; NaN and infinity keep their meaning.
_float_operator(operator.add, lambda b, x, y: b.fadd(x, y, flags=("contract",)), F16)
_float_operator(operator.sub, lambda b, x, y: b.fsub(x, y, flags=("contract",)), F16)
_float_operator(operator.mul, lambda b, x, y: b.fmul(x, y, flags=("contract",)), F16)
_float_operator(operator.truediv, lambda b, x, y: b.fdiv(x, y), F16)
_float_operator(operator.lt, lambda b, x, y: b.fcmp_ordered("<", x, y), M16)
_float_operator(operator.le, lambda b, x, y: b.fcmp_ordered("<=", x, y), M16)
_float_operator(operator.gt, lambda b, x, y: b.fcmp_ordered(">", x, y), M16)
_float_operator(operator.ge, lambda b, x, y: b.fcmp_ordered(">=", x, y), M16)
_same_type_operator(operator.and_, M16, lambda b, x, y: b.and_(x, y))
_same_type_operator(operator.or_, M16, lambda b, x, y: b.or_(x, y))
_same_type_operator(operator.add, I16, lambda b, x, y: b.add(x, y))
_same_type_operator(operator.sub, I16, lambda b, x, y: b.sub(x, y))
_same_type_operator(operator.or_, I16, lambda b, x, y: b.or_(x, y))
_same_type_operator(operator.gt, I16, lambda b, x, y: b.icmp_signed(">", x, y), M16)


# ---------------------------------------------------------------------------------------------------------------------
# Functions


def vector_function(arguments: tuple, result: Any) -> Callable[[Callable], Any]:
    """A compiled function of fixed types whose body is LLVM code: ``emit(builder, *values)``.

    Where a vector of float32 is wanted a number will do; it goes to all lanes.
    """

    @no_type_check
    def decorate(emit):
        def lower(context, builder, sig, args):
            values = [
                _as_float_vector(context, builder, v, t) if want is F16 else context.cast(builder, v, t, want)
                for v, t, want in zip(args, sig.args, arguments, strict=True)
            ]
            out = emit(builder, *values)
            return context.get_dummy_value() if result is types.void else out

        def typing(*given):
            if all(_is_float_like(g) if w is F16 else True for g, w in zip(given, arguments, strict=True)):
                return result(*(g if w is F16 else w for g, w in zip(given, arguments, strict=True))), lower
            return None

        bodies = [
            lambda context: typing(),
            lambda context, a: typing(a),
            lambda context, a, b: typing(a, b),
            lambda context, a, b, c: typing(a, b, c),
            lambda context, a, b, c, d: typing(a, b, c, d),
        ]
        return intrinsic(bodies[len(arguments)])

    return decorate


@vector_function((), F16)
def lane_numbers(builder):
    """0, 1, … 15."""
    return ir.Constant(_VF, [float(lane) for lane in range(LANES)])


@vector_function((), F16)
def lane_columns(builder):
    """Columns of the pixels of a block of 4 × 4: 0 1 2 3 0 1 2 3 …"""
    return ir.Constant(_VF, [float(lane % 4) for lane in range(LANES)])


@vector_function((), F16)
def lane_rows(builder):
    """Rows of the pixels of a block of 4 × 4: 0 0 0 0 1 1 1 1 …"""
    return ir.Constant(_VF, [float(lane // 4) for lane in range(LANES)])


@vector_function((F16,), F16)
def splat(builder, x):
    """A vector of sixteen times the same number."""
    return x


@vector_function((types.int32,), I16)
def splat_int(builder, x):
    return _broadcast(builder, x)


@vector_function((F16, F16, F16), F16)
def fma(builder, x, y, z):
    """x·y + z."""
    return _fmuladd(builder, x, y, z)


def _unary_llvm(name, x, builder):
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_VF, [_VF]), f"llvm.{name}.v16f32")
    return builder.call(function, [x])


@vector_function((F16,), F16)
def sqrt(builder, x):
    return _unary_llvm("sqrt", x, builder)


@vector_function((F16,), F16)
def floor(builder, x):
    return _unary_llvm("floor", x, builder)


@vector_function((F16,), F16)
def ceil(builder, x):
    return _unary_llvm("ceil", x, builder)


@vector_function((F16, F16), F16)
def minimum(builder, x, y):
    return builder.select(builder.fcmp_ordered("<", x, y), x, y)


@vector_function((F16, F16), F16)
def maximum(builder, x, y):
    return builder.select(builder.fcmp_ordered(">", x, y), x, y)


@vector_function((M16, F16, F16), F16)
def select(builder, mask, x, y):
    """x where the mask is set, y elsewhere."""
    return builder.select(mask, x, y)


@vector_function((M16, I16, I16), I16)
def select_int(builder, mask, x, y):
    return builder.select(mask, x, y)


@vector_function((I16, I16), M16)
def less_int(builder, x, y):
    return builder.icmp_signed("<", x, y)


@vector_function((M16,), types.boolean)
def any_lane(builder, mask):
    bits = ir.IntType(LANES)
    return builder.icmp_unsigned("!=", builder.bitcast(mask, bits), bits(0))


@vector_function((F16,), F16)
def minus_abs(builder, x):
    """−|x|."""
    return builder.bitcast(builder.or_(builder.bitcast(x, _VI), _constant(-(2**31))), _VF)


@vector_function((F16,), F16)
def absolute(builder, x):
    return builder.bitcast(builder.and_(builder.bitcast(x, _VI), _constant(2**31 - 1)), _VF)


@vector_function((F16,), F16)
def exp2(builder, x):
    """2^x within 2e-7 for x in [−126, 127]; 2^−126 below."""
    lowest = _constant(-126.0)
    x = builder.select(builder.fcmp_ordered(">", x, lowest), x, lowest)
    shifted = builder.fadd(x, _constant(_ROUND))
    fraction = builder.fsub(x, builder.fsub(shifted, _constant(_ROUND)))
    power = _constant(EXP2_COEFFICIENTS[-1])
    for coefficient in EXP2_COEFFICIENTS[-2::-1]:
        power = _fmuladd(builder, power, fraction, _constant(coefficient))
    exponent = builder.shl(builder.bitcast(shifted, _VI), _constant(23))
    return builder.bitcast(builder.add(builder.bitcast(power, _VI), exponent), _VF)


@vector_function((F16,), F16)
def log2(builder, x):
    """log2(x) within 1e-7 + 1e-7·|log2(x)| for normal x > 0."""
    bits = builder.bitcast(x, _VI)
    # x = m · 2^e with m in [√½, √2): subtracting the bits of √½ makes the exponent field count from there.
    offset = builder.sub(bits, _constant(0x3F3504F3))
    exponent = builder.ashr(offset, _constant(23))
    m = builder.bitcast(builder.sub(bits, builder.shl(exponent, _constant(23))), _VF)
    s = builder.fdiv(builder.fsub(m, _constant(1.0)), builder.fadd(m, _constant(1.0)))
    squared = builder.fmul(s, s)  # at most 0.0295: the series of artanh needs five terms
    series = _constant(1 / 9)
    for denominator in (7, 5, 3, 1):
        series = _fmuladd(builder, series, squared, _constant(1 / denominator))
    scaled = builder.fmul(builder.fmul(s, _constant(2 / math.log(2))), series)
    return builder.fadd(builder.sitofp(exponent, _VF), scaled)


@vector_function((F16,), M16)
def is_finite(builder, x):
    exponent = _constant(0x7F800000)
    return builder.icmp_unsigned("!=", builder.and_(builder.bitcast(x, _VI), exponent), exponent)


@vector_function((M16,), M16)
def invert(builder, mask):
    return builder.not_(mask)


@vector_function((M16,), types.int64)
def count_lanes(builder, mask):
    bits = builder.bitcast(mask, ir.IntType(LANES))
    return builder.zext(builder.ctpop(bits), _I64)


@vector_function((F16,), I16)
def to_int(builder, x):
    """Truncation towards zero."""
    return builder.fptosi(x, _VI)


@vector_function((I16,), F16)
def to_float(builder, x):
    return builder.sitofp(x, _VF)


@vector_function((I16,), F16)
def bits_as_float(builder, x):
    return builder.bitcast(x, _VF)


@vector_function((F16,), I16)
def bits_as_int(builder, x):
    return builder.bitcast(x, _VI)


@vector_function((I16, types.int32), I16)
def bits_and(builder, x, mask):
    return builder.and_(x, _broadcast(builder, mask))


@vector_function((I16, types.int32), I16)
def shift_right(builder, x, count):
    return builder.ashr(x, _broadcast(builder, count))


@vector_function((I16, I16), I16)
def minimum_int(builder, x, y):
    return builder.select(builder.icmp_signed("<", x, y), x, y)


@vector_function((I16, I16), I16)
def maximum_int(builder, x, y):
    return builder.select(builder.icmp_signed(">", x, y), x, y)


@vector_function((I16,), types.int32)
def largest_int(builder, x):
    return _reduce(builder, x, lambda low, high: builder.select(builder.icmp_signed(">", low, high), low, high))


@vector_function((I16, types.int32), I16)
def shift_left(builder, x, count):
    return builder.shl(x, _broadcast(builder, count))


@vector_function((I16, I16), I16)
def shift_left_each(builder, x, counts):
    return builder.shl(x, counts)


def _reduce(builder, x, combine):
    width = LANES
    while width > 1:
        width //= 2
        low, high = (
            builder.shuffle_vector(x, x, ir.Constant(ir.VectorType(_I32, width), list(range(start, start + width))))
            for start in (0, width)
        )
        x = combine(low, high)
    return builder.extract_element(x, _I32(0))


@vector_function((F16,), types.float32)
def largest(builder, x):
    """The greatest lane."""
    return _reduce(builder, x, lambda low, high: builder.select(builder.fcmp_ordered(">", low, high), low, high))


@vector_function((F16,), types.float32)
def sum_lanes(builder, x):
    return _reduce(builder, x, lambda low, high: builder.fadd(low, high))
