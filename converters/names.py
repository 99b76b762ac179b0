"""What the names in a checkpoint do here: a few rebuild tensors and numbers, the rest is recorded or refused."""

from typing import Any

import numpy as np

from converters.budget import Budget
from converters.errors import CheckpointError
from converters.pickle_machine import Call, Data, Global, Record, describe
from converters.pickle_values import hashable
from converters.tensors import MAX_RANK, STORAGES, NumpyArray, Storage, Tensor, contiguous

STORAGE_GLOBALS = frozenset(Global("torch", name) for name in STORAGES)
NUMBERS = frozenset(["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"])
PATHS = frozenset(["Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath"])


def allowed(name: Global) -> bool:
    """Names that may be recorded (never executed): the two projects' own, PyTorch's module classes and helpers, and
    the plain containers that people keep options in."""
    module, short = name.module, name.name
    if "." in short or short.startswith("__"):
        return False
    if module == "torch":
        return name in STORAGE_GLOBALS or short in TORCH_VALUES
    if module.split(".")[0] == "pathlib":  # Python 3.13 wrote pathlib._local
        return short in PATHS
    return (
        module.startswith(("gghead.", "eg3d.", "gaussian_splatting.", "training.", "torch_utils.", "torch.nn.modules."))
        or module.startswith(("omegaconf.", "numpy.dtypes"))
        or module in ("dnnlib.util", "torch.nn.functional", "torch.nn.parameter", "torch.nn.init")
        or (module in ("builtins", "__builtin__") and short in PLAIN)
        or (module == "numpy" and short in NUMPY_VALUES)
        or name in RECORDED
    )


TORCH_DTYPES = ("float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool")
TORCH_VALUES = frozenset(("Size", "device", "strided", "contiguous_format", *TORCH_DTYPES))
# What a defaultdict makes, and what an option's type may be. Nothing here does anything when it is called.
PLAIN = frozenset(
    ["bool", "bytes", "bytearray", "complex", "dict", "float", "int", "list", "long", "object", "range", "slice", "str"]
) | frozenset(["tuple", "unicode"])
NUMPY_VALUES = frozenset(["dtype", "ndarray", "bool_", "float16", "float32", "float64", "uint8", "int32", "int64"])
RECORDED = {
    Global("torch._C", "_VariableFunctionsClass"),
    Global("torch._C", "_nn"),
    Global("torch.torch_version", "TorchVersion"),
    Global("argparse", "Namespace"),
    Global("types", "SimpleNamespace"),
    Global("easydict", "EasyDict"),
    Global("addict.addict", "Dict"),
    Global("munch", "Munch"),
    Global("yacs.config", "CfgNode"),
    Global("ml_collections.config_dict.config_dict", "ConfigDict"),
    Global("datetime", "datetime"),
    Global("datetime", "date"),
    Global("datetime", "timedelta"),
}


def _rebuild_tensor(args: tuple, budget: Budget) -> Tensor:
    storage, offset, shape, strides = _first(args, 4, "_rebuild_tensor")
    if not isinstance(storage, Storage) or not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise CheckpointError("_rebuild_tensor of something that is no storage with a shape and strides")
    (start,) = _naturals(offset)
    return Tensor(storage, start, _naturals(*shape), _naturals(*strides))


def _naturals(*values: Any) -> tuple[int, ...]:
    if len(values) > MAX_RANK or not all(type(n) is int and n >= 0 for n in values):
        raise CheckpointError("a tensor whose offset, shape or strides are not natural numbers, or too many")
    return values


def _rebuild_parameter(args: tuple, budget: Budget) -> Tensor:
    (tensor,) = _first(args, 1, "_rebuild_parameter")
    if not isinstance(tensor, Tensor):
        raise CheckpointError("_rebuild_parameter of something that is no tensor")
    return tensor


def _rebuild_typed(args: tuple, budget: Budget) -> Any:
    """Tensors with attributes: the function that makes the tensor, its type, its arguments, the attributes."""
    function, _, inner = _first(args, 3, "_rebuild_from_type_v2")
    if not isinstance(function, Global) or not isinstance(inner, tuple) or function not in REBUILDERS:
        raise CheckpointError(f"a tensor made by {describe(function)}; refused")
    return REBUILDERS[function](inner, budget)


def _size(args: tuple, budget: Budget) -> tuple:
    (shape,) = _first(args, 1, "torch.Size")
    if not isinstance(shape, tuple | list):
        raise CheckpointError("torch.Size of something that is no shape")
    budget.spend("values", len(shape))
    return tuple(shape)


def _dictionary(args: tuple, budget: Budget) -> dict:
    """An OrderedDict. Python 2 wrote it with its members, [[key, value], …]; later ones fill it afterwards."""
    if len(args) > 1 or (args and not isinstance(args[0], list)):
        raise CheckpointError("an OrderedDict of something that is no list of pairs")
    pairs = args[0] if args else []
    budget.spend("values", len(pairs))
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise CheckpointError("an OrderedDict of something that is no list of pairs")
    return {hashable(key): value for key, value in pairs}


def _default_dictionary(args: tuple, budget: Budget) -> dict:
    """A defaultdict: what it makes for absent keys means nothing to us."""
    return {}


def _counter(args: tuple, budget: Budget) -> dict:
    """A Counter is written with its counts (a scheduler's milestones)."""
    if not args:
        return {}
    if not isinstance(args[0], dict):
        raise CheckpointError("a Counter of something that is no dictionary")
    budget.spend("values", len(args[0]))
    return dict(args[0])


def _deque(args: tuple, budget: Budget) -> list:
    if args and not isinstance(args[0], list | tuple):
        raise CheckpointError("a deque of something that is no list")
    budget.spend("values", len(args[0]) if args else 0)
    return list(args[0]) if args else []


def _set(args: tuple, budget: Budget) -> set:
    """Protocol 2 writes sets as calls with a list."""
    (values,) = _first(args, 1, "set")
    if not isinstance(values, list):
        raise CheckpointError("a set of something that is no list")
    budget.spend("values", len(values))
    return {hashable(value) for value in values}


def _encoded(args: tuple, budget: Budget) -> memoryview:
    """How Python 3 writes bytes in protocol 2 and below: as text with code points up to 255."""
    text, encoding = _first(args, 2, "_codecs.encode")
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise CheckpointError("_codecs.encode of something that is no bytes in latin-1")
    budget.spend("bytes read again", len(text))
    return memoryview(text.encode("latin-1"))


def _attribute(args: tuple, budget: Budget) -> Record:
    """``getattr`` is only ever written for helpers that we do not need: keep the names, look nothing up."""
    target, name = _first(args, 2, "getattr")
    if not isinstance(target, Global | Record) or not isinstance(name, str) or name.startswith("__"):
        raise CheckpointError(f"getattr of {describe(name)}, which no checkpoint needs; refused")
    return Record("getattr", (target, name))


def _reconstructed(args: tuple, budget: Budget) -> Record:
    """copyreg's way of making an object in protocols 0 and 1: class, base class, base value."""
    (cls,) = _first(args, 1, "_reconstructor")
    if not isinstance(cls, Global):
        raise CheckpointError("an object of a class that is no name")
    return Record(cls)


def _scalar(args: tuple, budget: Budget) -> Any:
    kind, data = _first(args, 2, "numpy scalar")
    number = number_type(kind)
    if number is None:
        return Record("numpy scalar")
    raw = _raw(data, budget)
    if len(raw) != number.itemsize:
        raise CheckpointError("a numpy scalar of the wrong length")
    return np.frombuffer(raw, number)[0].item()


def number_type(record: Any) -> np.dtype | None:
    """The NumPy type that a recorded ``numpy.dtype`` names when it is one of plain numbers; None for other types."""
    if not isinstance(record, Record) or record.of != Global("numpy", "dtype") or not record.args:
        raise CheckpointError("a numpy value without its dtype")
    code, order = record.args[0], "<"
    if isinstance(record.state, tuple) and len(record.state) > 1:
        order = record.state[1]
    if not isinstance(code, str) or code not in NUMBERS or order not in ("<", ">", "|", "="):
        return None
    return np.dtype(code).newbyteorder("<" if order == "=" else order)


def _raw(data: Any, budget: Budget) -> Data:
    """An array's numbers: bytes, or what Python 2 wrote as a string that happens to be text."""
    if isinstance(data, str):
        budget.spend("bytes read again", len(data))
        return data.encode("utf-8", "surrogatepass")
    if not isinstance(data, memoryview):
        raise CheckpointError(f"numbers of an array that are {describe(data)}")
    return data


class _Array(NumpyArray):
    """An ndarray between its making and its state (version, shape, dtype, column-major, numbers)."""

    def __init__(self, budget: Budget):
        super().__init__()
        self._budget = budget

    def set_state(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 4 or not isinstance(state[-4], tuple):
            raise CheckpointError("a numpy array without its shape, type and numbers")
        shape, kind, fortran, data = state[-4:]
        self.tensor = _array_tensor(data, kind, shape, fortran is True or fortran == 1, self._budget)


def _array_tensor(data: Any, kind: Any, shape: tuple, fortran: bool, budget: Budget) -> Tensor | None:
    number = number_type(kind)
    if number is None:  # texts, objects, dates: known to be there, never looked into
        return None
    raw = _raw(data, budget)
    storage = Storage(number.str, len(raw) // number.itemsize)
    storage.fill(raw)
    tensor = contiguous(storage, _naturals(*shape), fortran=fortran)
    if tensor.size != storage.count:
        raise CheckpointError(f"a numpy array of shape {tensor.shape} with {storage.count} numbers")
    return tensor


def _empty_array(args: tuple, budget: Budget) -> NumpyArray:
    return _Array(budget)


def _array_from_buffer(args: tuple, budget: Budget) -> NumpyArray:
    """Protocol 5: numbers, type, shape, order."""
    data, kind, shape, order = _first(args, 4, "_frombuffer")
    if not isinstance(shape, tuple):
        raise CheckpointError("a numpy array without its shape")
    return NumpyArray(_array_tensor(data, kind, shape, order == "F", budget))


def _persistent_object(args: tuple, budget: Budget) -> Record:
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


def _everywhere(modules: tuple[str, ...], name: str, call: Call) -> dict[Global, Call]:
    return {Global(module, name): call for module in modules}


BUILTINS = ("builtins", "__builtin__")
MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
REBUILDERS: dict[Global, Call] = {
    Global("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    Global("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    Global("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    Global("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
}
TENSOR_CALLS: dict[Global, Call] = {
    **REBUILDERS,
    Global("torch._tensor", "_rebuild_from_type_v2"): _rebuild_typed,
    Global("torch", "Size"): _size,
    Global("collections", "OrderedDict"): _dictionary,
    Global("collections", "defaultdict"): _default_dictionary,
    Global("collections", "Counter"): _counter,
    Global("collections", "deque"): _deque,
    **_everywhere(BUILTINS, "set", _set),
    **_everywhere(BUILTINS, "frozenset", _set),
    Global("_codecs", "encode"): _encoded,
    **_everywhere(("copyreg", "copy_reg"), "_reconstructor", _reconstructed),
    **_everywhere(MULTIARRAY, "scalar", _scalar),
    **_everywhere(MULTIARRAY, "_reconstruct", _empty_array),
    **_everywhere(("numpy.core.numeric", "numpy._core.numeric"), "_frombuffer", _array_from_buffer),
}
MODULE_CALLS: dict[Global, Call] = TENSOR_CALLS | {
    Global("builtins", "getattr"): _attribute,
    Global("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent_object,
    Global("eg3d.torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent_object,
}
