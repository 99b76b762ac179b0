"""Gaze from irises: known eyes are read again, whatever the head does."""

import numpy as np
import pytest

from jax_talker import geometry
from jax_talker.data.camera.crop import Crop
from jax_talker.data.camera.pose import ANCHORS
from jax_talker.data.track.gaze import CORNERS_BEFORE, IRIS_RADIUS, IRISES, gaze
from jax_talker.data.track.landmarks import AVERAGE_FACE, IBUG, MEDIAPIPE

FRAMES = 200


def looking(camera_of, rng, *, noise=0.0, own_axis=(0.0, 0.0)):
    """478 points of a turning head whose eyes look about: (points, rotation, side, gaze [T, 2] degrees)."""
    time = np.arange(FRAMES) / 25
    look = np.stack([18 * np.sin(3 * time + 1), 8 * np.sin(5 * time)], 1)
    face = np.zeros((478, 3))
    for name, place in AVERAGE_FACE.items():
        face[MEDIAPIPE.points[name]] = place
    anchors = MEDIAPIPE.anchors(face)
    face = face - anchors.mean(0) + ANCHORS.mean(0)
    side = np.full(FRAMES, 420.0)
    points, rotations = [], []
    for t in range(FRAMES):
        yaw, pitch = np.radians(look[t] + own_axis)
        forward = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
        moved = face.copy()
        for name, iris in IRISES.items():
            corners = [MEDIAPIPE.named(face, f"{name}_eye_{end}") for end in ("inner", "outer")]
            ball = np.mean(corners, axis=0) - [0, 0, CORNERS_BEFORE]
            moved[list(iris)] = ball + IRIS_RADIUS * forward
        pose = camera_of(20 * np.sin(2 * time[t]), 10 * np.cos(1.3 * time[t]), 5 * np.sin(time[t]))
        x = moved @ pose[:3, :3].T + pose[:3, 3]
        crop = Crop(np.array([256.0, 256.0]), side[t])
        points.append(crop.centre + crop.side * geometry.FOCAL * x[:, :2] / x[:, 2:])
        rotations.append(pose[:3, :3])
    points = np.array(points)
    return points + noise * rng.normal(size=points.shape), np.array(rotations), side, look


def test_eyes_are_read_however_the_head_turns(camera_of):
    points, rotation, side, look = looking(camera_of, np.random.default_rng(0))
    found = gaze(points, MEDIAPIPE, rotation=rotation, side=side)
    # weak perspective for eyes 7 % nearer than the pivot; the median of a sine need not be its middle
    np.testing.assert_allclose(found, look - np.median(look, axis=0), atol=2.0)


def test_noise_of_a_pixel_is_two_degrees_and_an_eyes_own_axis_does_not_matter(camera_of):
    points, rotation, side, look = looking(camera_of, np.random.default_rng(1), noise=1.0, own_axis=(4.0, -3.0))
    found = gaze(points, MEDIAPIPE, rotation=rotation, side=side)
    error = found - (look - np.median(look, axis=0))
    # an iris turns on 16 px here; five points an iris, two corners an eye, two eyes: 0.59 px, 2.1°
    assert (error.std(0) < 3.0).all()
    for axis in (0, 1):
        assert np.corrcoef(found[:, axis], look[:, axis])[0, 1] > 0.9


def test_closed_eyes_are_interpolated(camera_of):
    points, rotation, side, _ = looking(camera_of, np.random.default_rng(2))
    blink = np.zeros(FRAMES)
    blink[50:54] = 1
    wild = points.copy()
    wild[50:54, 468:] += 30
    found = gaze(wild, MEDIAPIPE, rotation=rotation, side=side, blink=blink)
    steady = gaze(points, MEDIAPIPE, rotation=rotation, side=side)
    np.testing.assert_allclose(found, steady, atol=2.5)  # 5 frames of a 3 rad/s gaze, bridged by a line
    assert np.abs(gaze(wild, MEDIAPIPE, rotation=rotation, side=side) - steady).max() > 20


@pytest.mark.parametrize(("count", "scheme"), [(68, IBUG), (468, MEDIAPIPE)])
def test_landmarks_without_irises_have_no_gaze(count, scheme):
    points = np.random.default_rng(0).uniform(0, 500, (3, count, 2))
    assert gaze(points, scheme, rotation=np.tile(np.eye(3), (3, 1, 1)), side=np.full(3, 400.0)) is None
