"""Converted weights of a fixed network: one safetensors file, whose arrays lie under their path in the network."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict

from jax_talker.errors import UserError

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class WeightsFile:
    """A file that is there and readable; its numbers are read when they are asked for."""

    path: Path
    sha256: str
    shapes: Shapes = field(repr=False)

    def load(self) -> dict[str, Any]:
        """All arrays as a tree of float32, on the default device."""
        return _tree(_arrays(self.path))


def open_weights(given: str | Path, file: str, *, what: str, convert: str, origin: str) -> WeightsFile:
    """The weights in the folder that a converter wrote, or such a file itself.

    ``file`` is the name that the converter gives, ``what`` the network's, ``convert`` the converter's command, and
    ``origin`` says where its input is to be had. UserError where there is none, or where it is damaged.
    """
    path = Path(given)
    path = path if path.suffix == ".safetensors" and not path.is_dir() else path / file
    if Path(given).is_file() and path != Path(given):
        raise UserError(f"{given}: not converted yet; python -m converters {convert} {given} OUT does it")
    if not path.is_file():
        raise UserError(f"{path}: no {what} weights; get {origin}, then python -m converters {convert} FILE {given}")
    try:
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        with safetensors.safe_open(path, "numpy") as stored:
            shapes = {name: tuple(stored.get_slice(name).get_shape()) for name in stored.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged ({error}); convert the weights again") from None
    return WeightsFile(path, digest, shapes)


def check_shapes(file: WeightsFile, wanted: Shapes, *, what: str, convert: str) -> None:
    """UserError where a file's arrays are not those of the network."""
    if dict(file.shapes) == dict(wanted):
        return
    wrong = min(n for n in file.shapes.keys() | wanted.keys() if file.shapes.get(n) != wanted.get(n))
    raise UserError(
        f"{file.path}: its arrays do not fit {what} ({wrong} is {file.shapes.get(wrong)}, wanted {wanted.get(wrong)}); "
        f"python -m converters {convert} FILE OUT makes what is read here"
    )


def load(path: Path, wanted: Shapes, what: str) -> dict[str, Any]:
    """The parameters in ``path`` as ``WeightsFile.load`` gives them. UserError when it is damaged or does not fit."""
    arrays = _arrays(path)
    if {name: array.shape for name, array in arrays.items()} != dict(wanted):
        raise UserError(f"{path}: its arrays do not fit {what}; convert the weights again")
    return _tree(arrays)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        return safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged ({error}); convert the weights again") from None


def _tree(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return unflatten_dict({name: jnp.asarray(array, jnp.float32) for name, array in arrays.items()}, sep="/")


def shapes_of(net: nn.Module, *inputs: tuple[int, ...] | jax.ShapeDtypeStruct) -> dict[str, tuple[int, ...]]:
    """Every array of a network's parameters by its path, nothing computed; a shape alone is one of float32."""
    given = (jax.ShapeDtypeStruct(x, jnp.float32) if isinstance(x, tuple) else x for x in inputs)
    variables = jax.eval_shape(net.init, jax.random.key(0), *given)
    flat: dict[str, Any] = flatten_dict(variables["params"], sep="/")
    return {name: array.shape for name, array in flat.items()}
