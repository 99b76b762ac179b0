"""From the house's types to the rasteriser's and back."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

import kernels
from jax_talker.rendering.rasteriser import FASTEST, Rasteriser
from jax_talker.types import Camera, Gaussians, RenderOutput


def render_views(
    gaussians: Gaussians,
    cameras: Camera,
    *,
    size: int,
    background: Sequence[float],
    rasteriser: Rasteriser = FASTEST,
) -> RenderOutput:
    """Render B scenes [B, N, ·] from V cameras each [B, V, ·, ·]; leaves of the result are [B, V, …].

    ``background`` is sRGB; pretrained heads were trained on theirs (``prior.background``). What did not fit the
    rasteriser's capacity is counted in ``overflow``.
    """
    rendered = kernels.rasterize(
        kernels.Gaussians(
            means=gaussians.mean,
            quats=gaussians.quat,
            scales=gaussians.scale,
            opacities=gaussians.opacity,
            colors=gaussians.rgb,
            sh=gaussians.sh,
        ),
        kernels.Camera(cam_from_world=cameras.cam_from_world, intrinsics=cameras.intrinsics),
        width=size,
        height=size,
        background=jnp.asarray(background, jnp.float32),
        implementation=rasteriser.implementation,
        capacity=rasteriser.capacity,
    )
    return RenderOutput(rendered.image, rendered.alpha, rendered.depth, rendered.overflow)


def render(
    gaussians: Gaussians,
    camera: Camera,
    *,
    size: int,
    background: Sequence[float],
    rasteriser: Rasteriser = FASTEST,
) -> RenderOutput:
    """Render B scenes [B, N, ·] from one camera each [B, ·, ·]; leaves of the result are [B, …]."""
    cameras = jax.tree.map(lambda x: x[:, None], camera)
    seen = render_views(gaussians, cameras, size=size, background=background, rasteriser=rasteriser)
    return jax.tree.map(lambda x: x[:, 0], seen)
