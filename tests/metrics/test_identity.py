"""The five-point warp against scikit-image's estimate, and by what it does to a picture."""

import cv2
import numpy as np
import pytest

from jax_talker.metrics.identity import cosine, similarity, warped
from jax_talker.networks.iresnet import SIZE, TEMPLATE


def turned(degrees, scale, shift):
    a = np.radians(degrees)
    return scale * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]), np.array(shift)


def test_equals_skimage():
    """On points that no similarity brings together exactly."""
    transform = pytest.importorskip("skimage.transform", reason="scikit-image is not installed").SimilarityTransform
    for seed in range(20):
        rng = np.random.default_rng(seed)
        turn, shift = turned(rng.uniform(-40, 40), rng.uniform(0.3, 4), rng.uniform(-99, 99, 2))
        points = TEMPLATE @ turn.T + shift + rng.normal(size=(5, 2)) * 3
        want = transform.from_estimate(points, TEMPLATE) if hasattr(transform, "from_estimate") else transform()
        if not hasattr(transform, "from_estimate"):
            assert want.estimate(points, TEMPLATE)
        np.testing.assert_allclose(similarity(points, TEMPLATE), want.params[:2], atol=1e-9)


def test_points_come_to_lie_on_the_template():
    turn, shift = turned(12, 2.0, (60, 30))
    points = TEMPLATE @ turn.T + shift  # OpenCV's pixels
    picture = np.zeros((320, 320, 3), np.uint8)
    for x, y in points:
        cv2.circle(picture, (round(x * 16), round(y * 16)), 6 * 16, (255, 255, 255), -1, shift=4)
    face = warped(picture, points + 0.5, TEMPLATE, SIZE)  # this project's pixels
    assert face.shape == (SIZE, SIZE, 3)
    weight = face[..., 0].astype(float)
    y, x = np.mgrid[:SIZE, :SIZE]
    for px, py in TEMPLATE:
        near = np.hypot(x - px, y - py) < 8
        centre = [(v[near] * weight[near]).sum() / weight[near].sum() for v in (x, y)]
        np.testing.assert_allclose(centre, (px, py), atol=0.1)


def test_without_a_face_there_is_no_turn():
    assert np.isnan(similarity(np.ones((5, 2)), TEMPLATE)).all()


def test_cosine():
    a = np.array([[1.0, 0], [1, 1], [-2, 0]])
    np.testing.assert_allclose(cosine(a, np.array([[5.0, 0], [0, 3], [1, 0]])), [1, np.sqrt(0.5), -1])
