"""Gaussians + camera + background → picture. The only user of ``kernels``."""

from jax_talker.rendering.render import render, render_views

__all__ = ["render", "render_views"]
