"""Metrics: pure functions on arrays, one number per image."""

from jax_talker.metrics.image import psnr, ssim

__all__ = ["psnr", "ssim"]
