"""Batch norms as affine maps, and convolutions that have swallowed theirs; in float64."""

from collections.abc import Mapping

import numpy as np

from converters.errors import CheckpointError
from converters.finite import finite

STATISTICS = ("running_mean", "running_var")
AFFINE = ("weight", "bias")


def tensors(name: str, *, affine: bool = True) -> list[str]:
    """Names of a batch norm's tensors."""
    return [f"{name}.{part}" for part in ((*AFFINE, *STATISTICS) if affine else STATISTICS)]


def gain_and_shift(numbers: Mapping[str, np.ndarray], name: str, width: int, eps: float) -> tuple[np.ndarray, ...]:
    """x · gain + shift is what the batch norm ``name`` of ``width`` channels does in evaluation.

    One without weight and bias (affine=False) scales by 1. CheckpointError for other shapes and negative variances.
    """
    affine = f"{name}.weight" in numbers
    parts = {part: numbers[f"{name}.{part}"] for part in ((*AFFINE, *STATISTICS) if affine else STATISTICS)}
    for part, array in parts.items():
        if array.shape != (width,):
            raise CheckpointError(f"{name}.{part} has shape {array.shape}, expected ({width},); is it another network?")
    variance = parts["running_var"].astype(np.float64)
    if (variance < 0).any():
        raise CheckpointError(f"{name}.running_var holds negative variances")
    gain = (parts["weight"].astype(np.float64) if affine else 1.0) / np.sqrt(variance + eps)
    shift = (parts["bias"].astype(np.float64) if affine else 0.0) - parts["running_mean"].astype(np.float64) * gain
    return gain, shift


def kernel_of(numbers: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A convolution's or linear layer's weight, spatial axes first, then inputs, then outputs: ``shape``."""
    weight = numbers[f"{name}.weight"]
    wanted = (shape[-1], shape[-2], *shape[:-2])
    if weight.shape != wanted:
        raise CheckpointError(f"{name}.weight has shape {weight.shape}, expected {wanted}; is it another network?")
    return np.moveaxis(weight.astype(np.float64), (0, 1), (-1, -2))


def checked(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """As float32; CheckpointError for numbers that are not finite, an AssertionError where a converter forgot one."""
    assert {name: array.shape for name, array in arrays.items()} == dict(shapes)
    for name, array in arrays.items():
        if not finite(array).all():
            raise CheckpointError(f"{name.replace('/', '.')} holds numbers that are not finite")
    return {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
