"""Metrics: pure functions on arrays, one number per image or per sequence."""

from jax_talker.metrics.image import psnr, ssim, ssim_skimage

__all__ = ["psnr", "ssim", "ssim_skimage"]
