"""Flax variables back under the original's tensor names and layouts."""

from collections.abc import Callable

import numpy as np
import torch

import converters.gghead_names as gghead_names
import converters.gsgan_names as gsgan_names
from jax_talker.priors.base import Prior, Variables, leaves
from jax_talker.priors.gghead import GGHead
from jax_talker.priors.gsgan import GSGAN

State = dict[str, torch.Tensor]


def _table(middle: np.ndarray) -> np.ndarray:
    """The two columns that are read, in the middle of a table of zeros."""
    full = np.zeros((*middle.shape[:2], 1, gsgan_names.TABLE), np.float32)
    full[:, :, 0, gsgan_names.TABLE // 2 - 1 : gsgan_names.TABLE // 2 + 1] = middle
    return full


INVERSE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "same": lambda a: a,
    "dense": lambda a: a.T,
    "conv": lambda a: a.transpose(3, 2, 0, 1),
    "conv1x1": lambda a: a.T[:, :, None, None],
    "image": lambda a: a.transpose(2, 0, 1),
    "table": _table,
}


def to_torch(prior: Prior, variables: Variables) -> State:
    """Every tensor of the original that has an effect, contiguous float32; axes of 1 that only broadcast are gone."""
    if isinstance(prior, GGHead):
        table = gghead_names.sources(prior)
    elif isinstance(prior, GSGAN):
        table = gsgan_names.sources(prior)
    else:
        raise TypeError(f"no tensor names are known for {type(prior).__name__}")
    arrays = leaves(variables)
    return {
        source.name: torch.from_numpy(np.array(INVERSE[source.layout](np.asarray(arrays[path])), np.float32, order="C"))
        for path, source in table.items()
    }
