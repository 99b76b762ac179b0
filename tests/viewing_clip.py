"""A clip of landmarks alone: a mouth that opens and closes."""

from pathlib import Path

import numpy as np

from jax_talker.data.check.doctor.signals import mouth_and_jaw
from jax_talker.data.clip.checksums import Checksums
from jax_talker.data.clip.clip import Clip
from jax_talker.data.track.landmarks import scheme_of

FRAMES = 60
INNER_LIPS, EYES, NOSE_BASE = range(60, 68), range(36, 48), 33  # of 68 landmarks


def opening_mouth():
    points = np.zeros((FRAMES, 68, 2))
    around = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    height = 3 + 2 * np.sin(np.arange(FRAMES) / 3) + np.arange(FRAMES) / 40
    points[:, INNER_LIPS] = np.stack(np.broadcast_arrays(20 * np.cos(around), height[:, None] * np.sin(around)), -1)
    points[:, EYES, 1], points[:, NOSE_BASE, 1] = -60, -20  # what openings are measured along, and in
    return Clip(Path("nowhere"), 24, FRAMES, {"landmarks": points}, Checksums(Path("nowhere"), {}))


def apart(clip: Clip) -> np.ndarray:
    """How far the lips are apart [T], as the viewer's jaw counts it."""
    points = np.asarray(clip.arrays["landmarks"], np.float64)
    return mouth_and_jaw(points, scheme_of(points.shape[1]))[0]
