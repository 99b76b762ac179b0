"""A drawn head with known truth, and the clip that preparation makes of it."""

import numpy as np
import pytest

from jax_talker.data.clip.clip import open_clip
from jax_talker.data.preparation.options import Options
from jax_talker.data.preparation.preparation import prepare_clip
from jax_talker.data.read.footage import VideoFootage
from jax_talker.data.read.video import write_video

SIZE = 96


def prepare(video, out, options, *, parser=None, **part):
    """As the program does it; ``part`` are start, duration and sound_path of the footage."""
    return prepare_clip(VideoFootage(video, **part), out, options, parser=parser, bars=False)


@pytest.fixture(scope="session")
def drawn(drawn_head, beeps, tmp_path_factory):
    """A drawn clip of 1.6 s, its video with sound, its landmark file, and options that use it."""
    folder = tmp_path_factory.mktemp("drawn")
    clip = drawn_head(40, blinks=(20, 21, 22))
    video = write_video(folder / "head.mp4", clip.frames, sound=beeps(1.6, [0.8]), crf=10)
    np.savez(folder / "points.npz", landmarks=clip.landmarks)
    return clip, video, Options(landmarks=str(folder / "points.npz"), size=SIZE)


@pytest.fixture(scope="session")
def prepared(drawn, tmp_path_factory):
    root = tmp_path_factory.mktemp("out") / "head"
    return prepare(drawn[1], root, drawn[2]), open_clip(root)
