"""What verify needs of a golden file's inputs, and how it compiles."""

from collections.abc import Mapping

import numpy as np

from jax_talker.errors import UserError

# Programs of verify run once or a dozen times: the seconds are in compiling them.
COMPILER = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def check_inputs(arrays: Mapping[str, np.ndarray], wanted: Mapping[str, tuple[int | str, ...]]) -> None:
    """UserError when an input is of another shape or kind than the prior's; "B" is one length for all of them."""
    batch: dict[str, int] = {}
    for name, shape in wanted.items():
        if name not in arrays:
            continue
        array = arrays[name]
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise UserError(f"golden array {name}: finite numbers expected, it is of type {array.dtype}")
        fits = len(shape) == array.ndim
        for n, length in zip(shape, array.shape, strict=False):
            fits = fits and length == (batch.setdefault(n, length) if isinstance(n, str) else n)
        if not fits:
            known = tuple(batch.get(n, n) if isinstance(n, str) else n for n in shape)
            raise UserError(f"golden array {name} has shape {array.shape}, {known} expected for this prior")
