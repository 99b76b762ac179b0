"""Blinks of procedural heads that turn, against their true lids."""

import numpy as np
import pytest

from jax_talker.data.camera.pose import track_head
from jax_talker.data.track.blink import blink_from_openness, count_blinks, eye_openness
from jax_talker.data.track.landmarks import IBUG


def blink_of(points, *, by_pose=True):
    head = track_head(points, IBUG)
    openness = eye_openness(points, IBUG, head.side, head.euler[:, 1], up=head.cam_from_world[:, :2, 1])
    return blink_from_openness(openness, head.euler if by_pose else None)


@pytest.mark.parametrize(("seed", "turn"), [(0, 1.0), (4, 2.0)])
def test_blinks_follow_the_lids_with_a_pixel_of_noise(procedural_landmarks, seed, turn):
    """10 s at 512², ±14° or ±28° of yaw, ±7° or ±14° of pitch; brows move, which opens the eyes by 15 %."""
    shot = procedural_landmarks(seed, turn=turn, noise=1.0)
    blink = blink_of(shot.points)
    assert np.corrcoef(blink, shot.blink)[0, 1] > 0.94  # measured 0.96 to 0.99 on twelve clips; the issue asks for 0.9
    assert count_blinks(blink) == count_blinks(shot.blink)


def test_a_turned_head_does_not_blink(procedural_landmarks):
    """What pose does to the gap of open eyes is learnt from the clip."""
    shot = procedural_landmarks(4, turn=2.0, noise=1.0)
    opened = shot.blink == 0
    plain, by_pose = (blink_of(shot.points, by_pose=b)[opened] for b in (False, True))
    assert by_pose.std() < 0.8 * plain.std()


def test_a_closed_eye_is_closed_however_noisy():
    rng = np.random.default_rng(0)
    points = np.zeros((2000, 68, 2)) + 100 + rng.normal(size=(2000, 68, 2))
    one, pitch = np.full(2000, 100.0), np.zeros(2000)
    up = np.tile([0.0, -1.0], (2000, 1))
    assert abs(eye_openness(points, IBUG, one, pitch, up=up).mean()) < 0.001
    assert eye_openness(points, IBUG, one, pitch).mean() > 0.015  # lengths cannot cancel


def test_calibration_needs_neither_movement_nor_blinks():
    still = np.full(60, 0.03)
    pose = np.zeros((60, 3))
    np.testing.assert_array_equal(blink_from_openness(still, pose), 0)
    np.testing.assert_array_equal(blink_from_openness(still[:1], pose[:1]), 0)
