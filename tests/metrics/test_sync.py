"""SyncNet's crop: where it lies, by hand."""

import numpy as np
import pytest

from jax_talker.metrics import sync


def test_the_crop_is_where_the_original_takes_it():
    picture = np.zeros((200, 300, 3), np.uint8)
    picture[..., 0], picture[..., 1] = np.arange(300)[None] % 256, np.arange(200)[:, None]
    face = sync.cropped(picture, sync.Crop(50, 120, 90), 230)
    # half size 50 about (120, 90): columns 120 ± 70, rows 40 … 180
    assert abs(int(face[115, 0, 0]) - 50) <= 1
    assert abs(int(face[115, -1, 0]) - 189) <= 1
    assert abs(int(face[0, 115, 1]) - 40) <= 1
    assert abs(int(face[-1, 115, 1]) - 179) <= 1


def test_beyond_the_picture_there_is_grey():
    face = sync.cropped(np.zeros((60, 60, 3), np.uint8), sync.Crop(40, 10, 10), 112)
    np.testing.assert_array_equal(face[0, 0], sync.GREY)
    np.testing.assert_array_equal(face[40, 56], 0)
    np.testing.assert_array_equal(sync.cropped(np.zeros((9, 9, 3), np.uint8), sync.Crop(0, 4, 4), 8), sync.GREY)


def test_boxes_are_smoothed_over_thirteen_frames():
    boxes = np.tile([[10.0, 20, 50, 80]], (30, 1))
    boxes[15] = (0, 0, 200, 200)
    assert sync.crops(boxes) == [sync.Crop(30, 30, 50)] * 30


@pytest.mark.parametrize("late", [-4, 0, 5])
def test_a_shift_is_found(late):
    """Sound that comes before the picture has a positive offset, as in the original."""
    sound = np.random.default_rng(0).normal(size=(80, 64))
    found = sync.search(np.roll(sound, late, 0)[20:60], sound[20:60])
    assert found.offset == late
    assert found.confidence > 1
