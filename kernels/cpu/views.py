"""Numbers of one type at an address, read and written by position as an array's are.

A view is the address and nothing else: no length, no bounds checks, no negative positions. NumPy arrays (``carray``)
made the machine code look for negative positions, and took Numba twice as long to compile.
"""

import operator
from typing import Any, no_type_check

from llvmlite import ir
from numba import types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

_I64 = ir.IntType(64)


class _View(types.Type):
    def __init__(self, dtype):
        super().__init__(f"view({dtype})")
        self.dtype = dtype


@register_model(_View)
class _ViewModel(models.PrimitiveModel):
    def __init__(self, manager, numba_type):
        super().__init__(manager, numba_type, _I64)


@infer_global(operator.getitem)  # pyright: ignore[reportOptionalCall]
class _Get(AbstractTemplate):
    def generic(self, args, kws):
        view, index = args
        if isinstance(view, _View) and isinstance(index, types.Integer):
            return signature(view.dtype, view, types.int64)
        return None


@infer_global(operator.setitem)  # pyright: ignore[reportOptionalCall]
class _Set(AbstractTemplate):
    def generic(self, args, kws):
        view, index, _ = args
        if isinstance(view, _View) and isinstance(index, types.Integer):
            return signature(types.none, view, types.int64, view.dtype)
        return None


def _place(context, builder, view, address, index):
    kind = context.get_value_type(view.dtype)
    return builder.gep(builder.inttoptr(address, kind.as_pointer()), [index])


@no_type_check
@lower_builtin(operator.getitem, _View, types.int64)
def _get(context, builder, sig, args):
    return builder.load(_place(context, builder, sig.args[0], *args))


@no_type_check
@lower_builtin(operator.setitem, _View, types.int64, types.Any)
def _set(context, builder, sig, args):
    builder.store(args[2], _place(context, builder, sig.args[0], *args[:2]))


def _view(dtype: Any) -> Any:
    kind = _View(dtype)

    @no_type_check
    def at(context, address):
        return kind(types.int64), lambda context, builder, sig, args: args[0]

    return intrinsic(at)


floats, ints, words, doubles, flags = (
    _view(dtype) for dtype in (types.float32, types.int32, types.int64, types.float64, types.uint8)
)
