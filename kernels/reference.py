"""The truth: every pixel against every Gaussian, as the papers have it, differentiated by JAX. Any float type.

Slow and hungry on purpose; memory is bounded by doing one row of pixels after the other.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array, lax

from kernels.constants import ALPHA_MIN, TRANSMITTANCE_MIN
from kernels.projection import Splats, project
from kernels.types import Composited, Scene, Settings


def rasterize(scene: Scene, settings: Settings) -> Composited:
    splats = project(scene, settings)
    render = functools.partial(_render, settings=settings)
    image, alpha, depth = jax.vmap(jax.vmap(render))(splats, scene.background)
    return Composited(image, alpha, depth, splats.radii, jnp.zeros_like(splats.skipped), splats.skipped)


def _render(splats: Splats, background: Array, settings: Settings) -> tuple[Array, Array, Array]:
    """One image from its splats (leaves without the axes B and V)."""
    order = jnp.argsort(jnp.where(splats.drawn, splats.depth, jnp.inf), stable=True)
    splats = jax.tree.map(lambda leaf: leaf[order] if leaf.ndim else leaf, splats)
    dtype = splats.center.dtype
    columns = jnp.arange(settings.width)
    row = jax.checkpoint(functools.partial(_render_row, splats, background, columns, settings))
    return lax.map(lambda y: row(y.astype(dtype), y), jnp.arange(settings.height))


def _render_row(
    splats: Splats, background: Array, columns: Array, settings: Settings, y: Array, row: Array
) -> tuple[Array, Array, Array]:
    a, s, r = jnp.moveaxis(splats.falloff, -1, 0)  # [N] each
    dx = columns[:, None] + 0.5 - splats.center[None, :, 0]  # [W, N]
    dy = (y + 0.5 - splats.center[:, 1])[None]
    left, right, top, bottom = (splats.bounds[None, :, i] for i in range(4))
    inside = (columns[:, None] >= left) & (columns[:, None] < right) & (row >= top) & (row < bottom)
    exponent = -0.5 * (a[None] * (dx - s[None] * dy) ** 2 + r[None] * dy**2)
    alpha = jnp.minimum(splats.opacity[None] * jnp.exp(exponent), settings.constants.alpha_max)
    alpha = jnp.where(splats.drawn[None] & inside & (alpha >= ALPHA_MIN), alpha, 0)
    light = jnp.cumprod(1 - alpha, -1)  # behind each Gaussian
    alive = light >= TRANSMITTANCE_MIN  # never again once it is not: the light only falls
    alpha = jnp.where(alive, alpha, 0)
    light = jnp.cumprod(1 - alpha, -1)
    ahead = jnp.concatenate([jnp.ones_like(light[:, :1]), light[:, :-1]], -1) if light.shape[-1] else light
    weight = alpha * ahead
    left_over = jnp.prod(1 - alpha, -1)
    image = jnp.einsum("wn,nc->wc", weight, splats.color, precision="highest") + left_over[:, None] * background[None]
    return image, 1 - left_over, jnp.einsum("wn,n->w", weight, splats.depth, precision="highest")
