"""Gaussians + camera + background → picture. The only user of ``kernels``.

In: ``types.Gaussians`` and ``types.Camera``. Out: ``types.RenderOutput``. ``density`` adds and removes Gaussians.
"""

from jax_talker.rendering.browser_splats import Splats, as_splats, eye_and_field, with_pixel
from jax_talker.rendering.density import Changes, Cloud, DensityControl, Observed
from jax_talker.rendering.rasteriser import FASTEST, Rasteriser
from jax_talker.rendering.render import render, render_views
from jax_talker.rendering.splat_files import save_splats

__all__ = [
    "FASTEST", "Changes", "Cloud", "DensityControl", "Observed", "Rasteriser", "Splats", "as_splats", "eye_and_field",
    "render", "render_views", "save_splats", "with_pixel",
]  # fmt: skip
