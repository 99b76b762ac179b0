"""Images as tiles of pixels: what ``xla`` and ``pallas_triton`` draw on."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kernels.binning import tiles_of
from kernels.constants import TILE
from kernels.sharding import vary_over, varying_axes
from kernels.types import Composited, Scene, Settings

PIXELS = TILE * TILE


class Canvas(NamedTuple):
    """Tiles of pixels: T = images · tiles, P = pixels of a tile, row by row. Of each scene by itself: [B, T, P, …]."""

    color: Float[Array, "T P 3"]  # Σ weight · colour, without the background
    depth: Float[Array, "T P"]
    light: Float[Array, "T P"]  # what is left of each ray
    extra: Float[Array, "T P E"]


def nothing_drawn(scene: Scene, settings: Settings) -> Canvas:
    """The canvas [B, T, P, …] of scenes without Gaussians."""
    scenes, views = scene.intrinsics.shape[:2]
    columns, rows = tiles_of(settings)
    dark = jnp.zeros((scenes, views * columns * rows, PIXELS), scene.means.dtype)
    dark = vary_over(dark, varying_axes(jax.tree.leaves(scene)))
    whole = jnp.broadcast_to(dark[..., None], (*dark.shape, 3 + scene.extra.shape[-1]))
    return Canvas(whole[..., :3], dark, dark + 1, whole[..., 3:])


def to_images(
    canvas: Canvas, background: Array, radii: Array, overflow: Array, skipped: Array, settings: Settings
) -> Composited:
    """Tiles → images over their background."""
    scenes, views = skipped.shape
    columns, rows = tiles_of(settings)

    def whole(leaf: Array) -> Array:
        """[B, T, P, …] → [B, V, H, W, …]"""
        inner = leaf.shape[3:]
        leaf = leaf.reshape(scenes, views, rows, columns, TILE, TILE, *inner)
        leaf = jnp.swapaxes(leaf, 3, 4).reshape(scenes, views, rows * TILE, columns * TILE, *inner)
        return leaf[:, :, : settings.height, : settings.width]

    color, depth, light, extra = jax.tree.map(whole, canvas)
    image = color + light[..., None] * background[:, :, None, None]
    return Composited(image, 1 - light, depth, radii, overflow.reshape(scenes, views), skipped, extra)
