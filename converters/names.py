"""What the names in a checkpoint do here: a few rebuild tensors and numbers, the rest is recorded or refused."""

from typing import Any

import numpy as np

from converters.errors import CheckpointError
from converters.pickle_machine import Call, Global, Record, describe, hashable
from converters.tensors import STORAGES, Storage, Tensor

STORAGE_GLOBALS = frozenset(Global("torch", name) for name in STORAGES)
NUMBERS = frozenset(["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"])


def allowed(name: Global) -> bool:
    """Names that may be recorded (never executed): the two projects' own, and PyTorch's module classes and helpers."""
    module, short = name.module, name.name
    if "." in short or short.startswith("__"):
        return False
    if module == "torch":
        return name in STORAGE_GLOBALS or short in TORCH_VALUES
    return (
        module.startswith(("gghead.", "eg3d.", "gaussian_splatting.", "training.", "torch_utils.", "torch.nn.modules."))
        or module in ("dnnlib.util", "torch.nn.functional", "torch.nn.parameter", "torch.nn.init")
        or name in RECORDED
    )


TORCH_DTYPES = ("float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool")
TORCH_VALUES = frozenset(("Size", "device", "strided", "contiguous_format", *TORCH_DTYPES))
RECORDED = {
    Global("torch._C", "_VariableFunctionsClass"),
    Global("torch._C", "_nn"),
    Global("argparse", "Namespace"),
    Global("numpy", "dtype"),
    Global("numpy", "ndarray"),
    Global("pathlib", "PosixPath"),
}


def _rebuild_tensor(args: tuple) -> Tensor:
    storage, offset, shape, strides = _first(args, 4, "_rebuild_tensor")
    if not isinstance(storage, Storage) or not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise CheckpointError("_rebuild_tensor of something that is no storage with a shape and strides")
    if not all(type(n) is int and n >= 0 for n in (offset, *shape, *strides)):
        raise CheckpointError("a tensor whose offset, shape or strides are not natural numbers")
    return Tensor(storage, offset, shape, strides)


def _rebuild_parameter(args: tuple) -> Tensor:
    (tensor,) = _first(args, 1, "_rebuild_parameter")
    if not isinstance(tensor, Tensor):
        raise CheckpointError("_rebuild_parameter of something that is no tensor")
    return tensor


def _dictionary(args: tuple) -> dict:
    if args and args != ([],):
        raise CheckpointError("an OrderedDict that is not empty at first")
    return {}


def _set(args: tuple) -> set:
    """Protocol 2 writes sets as calls with a list."""
    (values,) = _first(args, 1, "set")
    if not isinstance(values, list):
        raise CheckpointError("a set of something that is no list")
    return {hashable(value) for value in values}


def _attribute(args: tuple) -> Record:
    """``getattr`` is only ever written for helpers that we do not need: keep the names, look nothing up."""
    target, name = _first(args, 2, "getattr")
    if not isinstance(target, Global | Record) or not isinstance(name, str) or name.startswith("__"):
        raise CheckpointError(f"getattr of {describe(name)}, which no checkpoint needs; refused")
    return Record("getattr", (target, name))


def _scalar(args: tuple) -> int | float | bool:
    kind, data = _first(args, 2, "numpy scalar")
    if not isinstance(data, memoryview) or len(data) != number_type(kind).itemsize:
        raise CheckpointError("a numpy scalar of the wrong length")
    return np.frombuffer(data, number_type(kind))[0].item()


def number_type(record: Any) -> np.dtype:
    """The NumPy type that a recorded ``numpy.dtype`` names: plain numbers only, never objects."""
    if not isinstance(record, Record) or record.of != Global("numpy", "dtype") or not record.args:
        raise CheckpointError("a numpy value without its dtype")
    code, order = record.args[0], "<"
    if isinstance(record.state, tuple) and len(record.state) > 1:
        order = record.state[1]
    if not isinstance(code, str) or code not in NUMBERS or order not in ("<", ">", "|", "="):
        raise CheckpointError(f"numpy dtype {describe(code)} is not a plain number")
    return np.dtype(code).newbyteorder(order)


def _persistent_object(args: tuple) -> Record:
    """EG3D's persistence: an object with the source text of its class. The text is ignored."""
    (meta,) = _first(args, 1, "_reconstruct_persistent_obj")
    if not isinstance(meta, dict) or meta.get("type") != "class" or not isinstance(meta.get("class_name"), str):
        raise CheckpointError("a persistent object without its class name")
    if meta.get("version") != 6:
        raise CheckpointError(f"persistence version {describe(meta.get('version'))}, 6 expected")
    return Record(meta["class_name"], state=meta.get("state"))


def _first(args: tuple, count: int, what: str) -> tuple:
    if len(args) < count:
        raise CheckpointError(f"{what} with {len(args)} arguments")
    return args[:count]


TENSOR_CALLS: dict[Global, Call] = {
    Global("collections", "OrderedDict"): _dictionary,
    Global("builtins", "set"): _set,
    Global("__builtin__", "set"): _set,
    Global("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    Global("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    Global("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    Global("numpy.core.multiarray", "scalar"): _scalar,
    Global("numpy._core.multiarray", "scalar"): _scalar,
}
MODULE_CALLS: dict[Global, Call] = TENSOR_CALLS | {
    Global("builtins", "getattr"): _attribute,
    Global("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent_object,
    Global("eg3d.torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent_object,
}
