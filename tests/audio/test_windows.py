"""Windows of feature steps stand at their frame's time and hear no other recording."""

import numpy as np
import pytest

from jax_talker.audio.logmel import LogMel
from jax_talker.audio.windows import frame_windows


def test_windows_are_adnerfs():
    steps = np.arange(1, 41, dtype=np.float32)[:, None] * np.ones((1, 3), np.float32)
    windows = frame_windows(steps, 20)
    assert windows.shape == (20, 16, 3)
    for frame in range(20):
        want = np.arange(2 * frame - 8, 2 * frame + 8)
        np.testing.assert_array_equal(windows[frame, :, 0], np.where((want >= 0) & (want < 40), want + 1, 0))
    assert frame_windows(steps, 25)[24].max() == 0  # beyond the sound
    assert frame_windows(steps, 3).shape == (3, 16, 3)


def test_windows_do_not_hear_another_recording():
    steps = np.arange(1, 41, dtype=np.float32)[:, None]
    windows = frame_windows(steps, 20, boundaries=(1, 9))
    for frame in range(20):
        want = np.arange(2 * frame - 8, 2 * frame + 8)
        begin, end = (0, 2) if frame < 1 else (2, 18) if frame < 9 else (18, 40)
        np.testing.assert_array_equal(windows[frame, :, 0], np.where((want >= begin) & (want < end), want + 1, 0))
    np.testing.assert_array_equal(frame_windows(steps, 20, boundaries=()), frame_windows(steps, 20))


def test_row_8_of_a_window_is_the_frames_own_time():
    for frame in (10, 33):
        sound = np.zeros(32_000, np.float32)
        sound[frame * 640] = 1  # a click when the frame appears
        windows = frame_windows(LogMel().extract(sound), 50)
        loudest = windows.mean(2).argmax(1)
        assert loudest[frame] == 8
        assert loudest[frame + 1] == 6  # a frame later the click is two steps further in the past


@pytest.mark.parametrize("boundaries", [(), (7,)])
def test_slower_steps_hear_the_same_time(boundaries):
    steps = np.arange(1, 21, dtype=np.float32)[:, None]
    windows = frame_windows(steps, 20, boundaries, rate=25)
    whole = frame_windows(np.repeat(steps, 2, 0), 20, boundaries)
    assert windows.shape == (20, 8, 1)
    np.testing.assert_array_equal(windows, whole[:, ::2])
    with pytest.raises(ValueError, match="do not fall on frames"):
        frame_windows(steps, 10, rate=30)


def test_windows_of_one_recording_are_a_view():
    """Copies would be eight times the features: 3 GB for an hour of Whisper's."""
    windows = frame_windows(np.ones((1000, 512), np.float32), 500)
    reached = sum((n - 1) * abs(step) for n, step in zip(windows.shape, windows.strides, strict=True))
    assert reached < 1.1 * 1000 * 512 * 4
