"""What stands for a clip and a trained head where protocols are tested without either."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from jax_talker.app.speaking import Speaker
from jax_talker.data.clip.clip import Clip
from jax_talker.models.navigator import Coefficients

SIZE, FRAMES = 32, 100
CONFIG = SimpleNamespace(data=SimpleNamespace(test_fraction=0.6))  # 40 frames train


class FakeClip(Clip):
    """Noise for each frame and camera."""

    def __init__(self, seed=0, views=("left", "right")):
        arrays = {"label": np.full((FRAMES, 25), seed, np.float32), "blink": np.zeros(FRAMES, np.float32)}
        files = SimpleNamespace(sums={"clip": seed if seed < 10 else 0})
        known = {"root": Path("clip"), "size": SIZE, "frames": FRAMES, "arrays": arrays, "files": files, "seed": seed}
        for name, value in (known | {"source": {}, "view_names": views}).items():
            object.__setattr__(self, name, value)

    def image(self, index):
        return np.random.default_rng((self.seed, index)).integers(8, 248, (SIZE, SIZE, 3), np.uint8)

    def masks(self, index):
        return np.full((SIZE, SIZE, 3), 255, np.uint8)

    def valid(self, index):
        return np.full((SIZE, SIZE), 255, np.uint8)

    def view(self, name):
        return FakeClip(self.seed + 10 * (1 + self.view_names.index(name)), ())

    def audio(self):
        return np.sin(np.arange(FRAMES * 640) / 9).astype(np.float32)


class FakeSpeaker(Speaker):
    usual = np.zeros(25, np.float32)
    rest = Coefficients(np.zeros((8, 2)), np.zeros((8, 3)))

    def __init__(self):
        pass

    def with_corrected_cameras(self, clip):
        return clip
