"""The tiny generator and frames of the training steps' tests, and a tiny Whisper."""

from training.conftest import make_frames, small_prior

from audio.conftest import tiny_whisper

__all__ = ["make_frames", "small_prior", "tiny_whisper"]
