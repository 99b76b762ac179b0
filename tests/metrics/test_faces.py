"""Landmark metrics: by hand on small numbers, and properties."""

import numpy as np
import pytest

from jax_talker.metrics import faces


def test_lmd_forgets_place_and_counts_pixels():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(3, 20, 2)) * 10
    np.testing.assert_allclose(faces.lmd(truth + np.array([5, -7]), truth), 0, atol=1e-12)
    moved = truth.copy()
    moved[1, 0] += (3, 4)  # 5 px, of which the mean takes a twentieth along
    shift = np.linalg.norm(np.array([3, 4]) * 19 / 20) + 19 * np.linalg.norm(np.array([3, 4]) / 20)
    np.testing.assert_allclose(faces.lmd(moved, truth), [0, shift / 20, 0])
    assert faces.lmd(2 * truth, 2 * moved)[1] == pytest.approx(2 * faces.lmd(truth, moved)[1])


def test_jitter_is_zero_for_steady_motion_and_known_for_a_zigzag():
    t = np.arange(6)[:, None, None]
    np.testing.assert_allclose(faces.jitter(t * np.array([[1.0, 2.0]]))[1:-1], 0)
    zigzag = (-1.0) ** t * np.array([[3.0, 4.0]]) / 2
    found = faces.jitter(zigzag)
    np.testing.assert_allclose(found[1:-1], 10)  # ±2.5 px: second differences of 4 · 2.5
    assert np.isnan(found[[0, -1]]).all()
    assert np.isnan(faces.jitter(np.zeros((2, 1, 2)))).all()


@pytest.mark.parametrize("late", [0, 3, -4])
def test_a_shifted_signal_is_found(late):
    signal = np.random.default_rng(1).normal(size=120)
    found = faces.lagged_correlation(np.roll(signal, late)[20:-20], signal[20:-20])
    assert found.lag == late
    assert found.best == pytest.approx(1)
    assert found.correlation == pytest.approx(1) if late == 0 else abs(found.correlation) < 0.4


def test_what_cannot_be_correlated_has_no_number():
    moving, still = np.sin(np.arange(80.0)), np.full(80, 0.1)  # whose mean is another number
    for pred in (still, np.full(80, np.nan), np.where(np.arange(80) < 24, moving, np.nan)):
        found = faces.lagged_correlation(pred, moving)
        assert found.lag is None
        assert np.isnan(found.correlation)


def test_unknown_frames_do_not_count():
    truth = np.zeros((2, 3))
    np.testing.assert_array_equal(faces.score_error(np.array([[1, 2, 0], [np.nan, 0, 0]]), truth), [5, np.nan])


def test_opening_has_no_unit():
    upper, lower, eyes = np.zeros((1, 3)), np.array([[0, 30.0, 40]]), np.array([[[0.0, 0, 0], [25, 0, 0]]])
    np.testing.assert_allclose(faces.opening(upper, lower, eyes), 2)
    np.testing.assert_allclose(faces.opening(7 * upper, 7 * lower, 7 * eyes), 2)
