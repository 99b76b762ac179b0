"""The tiny generator and frames of the training steps' tests."""

from training.conftest import make_frames, small_prior

__all__ = ["make_frames", "small_prior"]
