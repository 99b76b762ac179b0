"""From the house's types to the rasteriser's and back."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

import kernels
from jax_talker.rendering.rasteriser import FASTEST, Rasteriser
from jax_talker.types import Camera, Gaussians, RenderOutput
from kernels.constants import EPS2D

Background = Sequence[float] | Float[Array, "..."]


def render_views(
    gaussians: Gaussians,
    cameras: Camera,
    *,
    size: int,
    background: Background,
    rasteriser: Rasteriser = FASTEST,
    view_rgb: Float[Array, "B V N 3"] | None = None,
    extra: Float[Array, "B N E"] | None = None,
    means2d_offset: Float[Array, "B V N 2"] | None = None,
    absgrad: bool = False,
) -> RenderOutput:
    """Render B scenes [B, N, ·] from V cameras each [B, V, ·, ·]; leaves of the result are [B, V, …].

    ``background`` is sRGB: one colour, [B, V, 3], or pictures [B, V, H, W, 3]; pretrained heads were trained on theirs
    (``prior.background``). What did not fit the rasteriser's capacity is counted in ``overflow``, Gaussians that were
    left out in ``skipped``. ``view_rgb`` replaces the Gaussians' colour by one for each view. ``extra``,
    ``means2d_offset`` and ``absgrad`` are those of ``kernels.rasterize``.
    """
    rendered = kernels.rasterize(
        kernels.Gaussians(
            means=gaussians.mean,
            quats=gaussians.quat,
            scales=gaussians.scale,
            opacities=gaussians.opacity,
            colors=gaussians.rgb if view_rgb is None else view_rgb,
            sh=gaussians.sh if view_rgb is None else None,
        ),
        kernels.Camera(cam_from_world=cameras.cam_from_world, intrinsics=cameras.intrinsics),
        width=size,
        height=size,
        background=jnp.asarray(background, jnp.float32),
        extra=extra,
        means2d_offset=means2d_offset,
        absgrad=absgrad,
        implementation=rasteriser.implementation,
        capacity=rasteriser.capacity,
        eps2d=EPS2D * rasteriser.pixel**2,
    )
    counts = rendered.overflow, rendered.skipped, rendered.radii
    return RenderOutput(rendered.image, rendered.alpha, rendered.depth, *counts, rendered.extra)


def render(
    gaussians: Gaussians,
    camera: Camera,
    *,
    size: int,
    background: Background,
    rasteriser: Rasteriser = FASTEST,
    extra: Float[Array, "B N E"] | None = None,
    means2d_offset: Float[Array, "B N 2"] | None = None,
    absgrad: bool = False,
) -> RenderOutput:
    """Render B scenes [B, N, ·] from one camera each [B, ·, ·]; leaves of the result are [B, …].

    ``background`` is one colour, [B, 3], or pictures [B, H, W, 3].
    """
    cameras = jax.tree.map(lambda x: x[:, None], camera)
    back = jnp.asarray(background, jnp.float32)
    seen = render_views(
        gaussians,
        cameras,
        size=size,
        background=back if back.ndim == 1 else back[:, None],
        rasteriser=rasteriser,
        extra=extra,
        means2d_offset=None if means2d_offset is None else means2d_offset[:, None],
        absgrad=absgrad,
    )
    return jax.tree.map(lambda x: x[:, 0], seen)
