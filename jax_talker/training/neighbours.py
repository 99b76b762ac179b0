"""Whose neighbour each Gaussian is, whatever the face does: lips that touch at rest are none."""

from collections.abc import Sequence
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.spatial import KDTree

from jax_talker.models.detail import NEIGHBOURS, Layout


def neighboured(layout: Layout, places: Sequence[Float[Array, "M 3"]]) -> Layout:
    """``layout`` with the neighbours of each Gaussian: the nearest by the distances of several faces together, of which
    ``places`` are the centres."""
    place = np.concatenate([np.asarray(one) for one in places], 1)
    count = min(NEIGHBOURS + 1, len(place))
    near = KDTree(place).query(place, k=count)[1].reshape(len(place), count)
    # The nearest is itself, unless another one lies in the same place.
    others = np.argsort(near == np.arange(len(place))[:, None], axis=1, kind="stable")[:, :-1]
    near = np.take_along_axis(near, others, 1) if count > 1 else near
    return replace(layout, near=jnp.asarray(near[:, np.arange(NEIGHBOURS) % near.shape[1]], jnp.int32))


def unlike_each_other(features: Float[np.ndarray, "T C"], count: int) -> list[int]:
    """``count`` rows as unlike as can be, the first of them the one nearest to zero: each of the others is the farthest
    from all before it, columns in units of their deviation."""
    rows = features / (features.std(0) + 1e-9)
    chosen = [int((rows**2).sum(1).argmin())]
    away = np.full(len(rows), np.inf)
    while len(chosen) < count:
        away = np.minimum(away, ((rows - rows[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(away.argmax()))
    return chosen
