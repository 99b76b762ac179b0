"""Parameters of fixed networks from the files that the converters write."""

from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict

from jax_talker.errors import UserError


def shapes_of(network: nn.Module, *inputs: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Every array of a network that takes inputs of these shapes, by its path a/b/kernel; nothing is computed."""
    given = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in inputs)
    variables = jax.eval_shape(network.init, jax.random.key(0), *given)
    flat: dict[str, Any] = flatten_dict(variables["params"], sep="/")
    return {name: array.shape for name, array in flat.items()}


def load(path: Path, shapes: dict[str, tuple[int, ...]], name: str) -> dict[str, Any]:
    """The parameters in ``path``. UserError when it is damaged or of another network than ``name``."""
    try:
        arrays = safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged ({error}); convert the weights again") from None
    if {key: array.shape for key, array in arrays.items()} != shapes:
        raise UserError(f"{path}: its arrays do not fit {name}; convert the weights again")
    return unflatten_dict({key: jnp.asarray(array, jnp.float32) for key, array in arrays.items()}, sep="/")
