"""The shade of what no frame shows, or shows at the head's edge alone: that of what is seen nearest to it.

Neither may learn colours of its own (``models.detail.allowed``), but a prior's are those of another skin and another
light: a chest would end at the neck in a line, and a cheek where it turns away. The seen residual goes on there.
"""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from scipy.spatial import KDTree

from jax_talker.models.detail import UNITS, Layout, Residual
from jax_talker.types import Gaussians

SURE = 0.5  # share of its own colours that a Gaussian has at least to tell others of them
SOURCES = 4000  # of the sure ones at most, evenly spread: neighbours among them reach past a single crease
NEAREST = 48
ALIKE = 0.06  # sRGB: skin goes on as skin does, hair as hair
DOUBT = 0.02  # of the neighbours' weight: where none is alike, the prior keeps its colour


def carried_on(layout: Layout, rest: Gaussians, residual: Residual) -> Layout:
    """``layout`` with the tint of Gaussians that may not take on colours of their own.

    ``rest`` [1, M] are the prior's Gaussians of the face at rest, in this layout. It is a mean over the nearest sure
    ones; what is nearer counts more, and what the prior draws in another colour less.
    """
    own = np.asarray(layout.seen * layout.colours)
    if rest.rgb is None:
        raise ValueError("tints are of Gaussians with rgb; ask the prior for gaussians(), not gaussians_for_view()")
    place, color = np.asarray(rest.mean[0]), np.asarray(rest.rgb[0])
    told = UNITS["rgb"] * own[:, None] * np.asarray(residual["rgb"])
    sure = np.flatnonzero(own > SURE)
    if not len(sure):
        return layout
    sure = sure[:: -(-len(sure) // SOURCES)]
    away, near = KDTree(place[sure]).query(place, k=min(NEAREST, len(sure)))
    away, near = away.reshape(len(place), -1), near.reshape(len(place), -1)
    weight = np.exp(-2 * (away / np.maximum(away[:, -1:], 1e-9)) ** 2)
    doubt = DOUBT * weight.sum(1)
    unlike = color[:, None] - color[sure][near]
    weight = weight * np.exp(-((unlike / ALIKE) ** 2).sum(-1) / 2)
    mean = np.einsum("mk,mkc->mc", weight, told[sure][near]) / (weight.sum(1) + doubt)[:, None]
    return replace(layout, tint=jnp.asarray((1 - own)[:, None] * mean, jnp.float32))
