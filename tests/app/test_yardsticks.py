"""What yardsticks show."""

from types import SimpleNamespace

import numpy as np
from app.judging.fakes import FakeSpeaker

from jax_talker import geometry
from jax_talker.app import yardsticks
from jax_talker.data.batches.dataset import FrameStore

SIZE = 24


class Store(FrameStore):
    """Three rows that nobody filmed, nine that one of two frames filmed, 100 in the rest."""

    def __init__(self):
        self.clip = SimpleNamespace(size=SIZE)

    def images(self, indices):
        pictures = np.full((2, SIZE, SIZE, 3), 100, np.uint8)
        pictures[0, :12] = 255
        pictures[:, :3] = 7
        return pictures[indices % 2]

    def valid(self, indices):
        valid = np.full((2, SIZE, SIZE), 255, np.uint8)
        valid[0, :12] = 0
        valid[:, :3] = 0
        return valid[indices % 2]


def test_the_mean_frame_is_of_what_was_filmed():
    """A pixel that half of the frames did not film is the mean of the others, and white where none did. Of more frames
    than are taken at once, too."""
    for count in (2, 2 * yardsticks.AT_ONCE + 2):
        found = yardsticks.mean_frame(Store(), np.arange(count))
        np.testing.assert_allclose(found[3:], 100 / 255, atol=1e-6)
        np.testing.assert_array_equal(found[:3], 1)


def test_the_nearest_pose_is_turned_least():
    labels_of = lambda *yaws: geometry.make_label(np.stack([geometry.orbit(y, 0) for y in yaws]))  # noqa: E731
    found = yardsticks.nearest_pose(labels_of(9, -19, 0), labels_of(-20, 0, 10))
    np.testing.assert_array_equal(found, [2, 0, 1])


def test_the_still_anchor_does_not_move():
    expression, lips = yardsticks.at_rest(FakeSpeaker(), 5)
    assert (expression.shape, lips.shape) == ((5, 2), (5, 3))
    assert not expression.any()
    assert not lips.any()
