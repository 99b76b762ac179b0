"""The truth: every pixel against every Gaussian, near to far, as the papers have it. Any float type, any device.

Slow on purpose. JAX differentiates it; the loop over Gaussians is checkpointed in chunks, so that memory grows with
pixels times the square root of Gaussians.
"""

import functools
import math
from typing import cast

import jax
import jax.numpy as jnp
from jax import Array, lax

from kernels.constants import ALPHA_MIN, TRANSMITTANCE_MIN
from kernels.projection import Splats, project
from kernels.sharding import vary_over, varying_axes
from kernels.types import Composited, Scene, Settings


def rasterize(scene: Scene, settings: Settings) -> Composited:
    splats = project(scene, settings)
    render = functools.partial(_render, settings=settings)
    image, alpha, depth, extra = jax.vmap(jax.vmap(render))(splats, scene.background)
    return Composited(image, alpha, depth, splats.radii, jnp.zeros_like(splats.skipped), splats.skipped, extra)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _everywhere(zero: Array, shape: tuple[int, int]) -> Array:
    """A number [] at every pixel [H, W]; its gradient is the sum of the pixels' magnitudes."""
    return jnp.broadcast_to(zero, shape)


_everywhere.defvjp(
    lambda zero, shape: (_everywhere(zero, shape), None),
    lambda shape, _, cotangent: (jnp.sum(jnp.abs(cotangent)),),
)


def _render(splats: Splats, background: Array, settings: Settings) -> tuple[Array, ...]:
    """One image: (image [H, W, 3], alpha [H, W], depth [H, W], extra [H, W, E]). ``splats`` without B and V."""
    splats = splats._replace(skipped=splats.radii)  # its axis must be that of the others, for the loop
    order = jnp.argsort(jnp.where(splats.drawn, splats.depth, jnp.inf), stable=True)
    count = order.shape[0]
    chunk = max(math.isqrt(count), 1)
    padding = -count % chunk
    in_order = jax.tree.map(lambda leaf: _pad(leaf[order], padding), splats)
    chunks = jax.tree.map(lambda leaf: leaf.reshape(-(-count // chunk), chunk, *leaf.shape[1:]), in_order)
    shape, dtype = (settings.height, settings.width), splats.center.dtype
    channels = splats.extra.shape[-1]
    start = (jnp.ones(shape, dtype), jnp.ones(shape, bool), jnp.zeros((*shape, 3), dtype), jnp.zeros(shape, dtype))
    start = (*start, jnp.zeros((*shape, channels), dtype))
    start = vary_over(start, varying_axes(jax.tree.leaves((splats, background))))

    @jax.checkpoint
    def blend_chunk(rays, splats):
        return lax.scan(functools.partial(_blend, settings), rays, splats)[0], None

    (light, _, color, depth, extra), _ = lax.scan(blend_chunk, start, chunks) if count else (start, None)
    return color + light[..., None] * background[None, None], 1 - light, depth, extra


def _blend(settings: Settings, rays: tuple[Array, ...], splat: Splats) -> tuple[tuple[Array, ...], None]:
    """One more Gaussian for every pixel. A ray that has ended stays ended."""
    light, alive, color, depth, extra = rays
    column, row = jnp.arange(settings.width)[None], jnp.arange(settings.height)[:, None]
    dx, dy = column + 0.5 - splat.center[0], row + 0.5 - splat.center[1]
    if splat.pull.shape[-1]:
        shape = settings.height, settings.width
        dx, dy = (d - cast(Array, _everywhere(splat.pull[i], shape)) for i, d in enumerate((dx, dy)))
    a, s, r = splat.falloff
    exponent = -0.5 * (a * (dx - s * dy) ** 2 + r * dy**2)
    alpha = jnp.minimum(splat.opacity * jnp.exp(exponent), settings.constants.alpha_max)
    left, right, top, bottom = splat.bounds
    inside = (column >= left) & (column < right) & (row >= top) & (row < bottom)
    alpha = jnp.where(splat.drawn & inside & (alpha >= ALPHA_MIN), alpha, 0)
    alive &= light * (1 - alpha) >= TRANSMITTANCE_MIN
    weight = jnp.where(alive, alpha * light, 0)
    color, extra = (
        total + weight[..., None] * own[None, None] for total, own in ((color, splat.color), (extra, splat.extra))
    )
    return (light - weight, alive, color, depth + weight * splat.depth, extra), None


def _pad(leaf: Array, count: int) -> Array:
    """``count`` more rows of zeros (False): Gaussians that are not drawn."""
    return jnp.concatenate([leaf, jnp.zeros((count, *leaf.shape[1:]), leaf.dtype)])
