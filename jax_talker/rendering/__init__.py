"""Gaussians + camera + background → picture. The only user of ``kernels``."""

from jax_talker.rendering.rasteriser import FASTEST, Rasteriser
from jax_talker.rendering.render import render, render_views

__all__ = ["FASTEST", "Rasteriser", "render", "render_views"]
