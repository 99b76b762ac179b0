"""Sound in: 16 kHz mono float32 in [−1, 1]. Time zero is the first picture where the file has one, else the first
sample. What models hear of it is jax_talker/audio's."""

from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from jax_talker.data.clip.clip import FPS, SAMPLE_RATE
from jax_talker.data.read.sound import Sound, open_sound
from jax_talker.errors import UserError


def load_sound(path: str | Path) -> Float32[np.ndarray, " samples"]:
    """The sound of any audio or video file: 16 kHz mono in [−1, 1], its time zero at the file's first picture.

    Its channels are mixed so that what they share is heard as in the loudest (channels.py), and pauses in the time
    stamps become silence. It is resampled while it is read, so that nothing but the result (3.8 MB a minute) is ever
    held. UserError when the file is missing or damaged, has no sound track, or holds less sound than one video frame
    lasts (0.04 s).
    """
    return speech_of(open_sound(path))


def speech_of(sound: Sound) -> Float32[np.ndarray, " samples"]:
    """The same of a file that is open."""
    samples = sound.for_speech()
    if num_video_frames(len(samples)) == 0:
        raise UserError(
            f"{sound.path}: lasts {len(samples) / SAMPLE_RATE:.3f} s, less than one video frame (1/{FPS} s)"
        )
    return samples


def num_video_frames(samples: int) -> int:
    """round(seconds · 25): how many video frames belong to ``samples`` of 16 kHz sound. Python's round, exact."""
    return round(Fraction(samples * FPS, SAMPLE_RATE))
