"""A person, a generator, and a run that programs made of both: all tests of programs share them."""

from programs.people import clip, made, prior, run, small

from audio.conftest import tiny_whisper

__all__ = ["clip", "made", "prior", "run", "small", "tiny_whisper"]
