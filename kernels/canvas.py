"""Images as tiles of pixels: what ``xla`` and ``pallas_triton`` draw on."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kernels.binning import tiles_of
from kernels.constants import TILE
from kernels.types import Composited, Settings

PIXELS = TILE * TILE


class Canvas(NamedTuple):
    """Tiles of pixels: T = images · tiles, P = pixels of a tile, row by row."""

    color: Float[Array, "T P 3"]  # Σ weight · colour, without the background
    depth: Float[Array, "T P"]
    light: Float[Array, "T P"]  # what is left of each ray


def to_images(
    canvas: Canvas, background: Array, radii: Array, overflow: Array, skipped: Array, settings: Settings
) -> Composited:
    """Tiles → images over their background."""
    scenes, views = skipped.shape
    columns, rows = tiles_of(settings)

    def whole(leaf: Array) -> Array:
        """[T, P, …] → [B, V, H, W, …]"""
        inner = leaf.shape[2:]
        leaf = leaf.reshape(scenes, views, rows, columns, TILE, TILE, *inner)
        leaf = jnp.swapaxes(leaf, 3, 4).reshape(scenes, views, rows * TILE, columns * TILE, *inner)
        return leaf[:, :, : settings.height, : settings.width]

    color, depth, light = jax.tree.map(whole, canvas)
    image = color + light[..., None] * background[:, :, None, None]
    return Composited(image, 1 - light, depth, radii, overflow.reshape(scenes, views), skipped)
