"""A clip of landmarks alone: a mouth that opens and closes."""

from pathlib import Path

import numpy as np

from jax_talker.data.clip.checksums import Checksums
from jax_talker.data.clip.clip import Clip

FRAMES = 60
INNER_LIPS = range(60, 68)  # of 68 landmarks


def opening_mouth():
    points = np.zeros((FRAMES, 68, 2))
    around = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    height = 3 + 2 * np.sin(np.arange(FRAMES) / 3) + np.arange(FRAMES) / 40
    points[:, INNER_LIPS] = np.stack(np.broadcast_arrays(20 * np.cos(around), height[:, None] * np.sin(around)), -1)
    return Clip(Path("nowhere"), 24, FRAMES, {"landmarks": points}, Checksums(Path("nowhere"), {}))
