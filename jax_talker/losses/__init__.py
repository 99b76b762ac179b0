"""Losses: pure functions on arrays. Weights, and networks where one is needed, come in as arguments."""

from jax_talker.losses.image import l1, masked_mean, ssim_map

__all__ = ["l1", "masked_mean", "ssim_map"]
