"""Bootstrap intervals: that they hold what they promise, on numbers whose truth is known."""

import numpy as np

from jax_talker.metrics.bootstrap import LEAST, paired_interval


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Differences that wander (each frame is like the last), of mean 0.5."""
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        noise = np.convolve(rng.normal(size=700), np.ones(8) / np.sqrt(8), "valid")[:600]
        base = rng.normal(size=600) * 10  # what both methods share does not matter
        found, low, high = paired_interval(base + 0.5 + noise, base, samples=400)
        assert low < found < high
        held += low < 0.5 < high
    assert held >= 50  # 95 % of 60 are 57; percentile intervals of 24 blocks are a little narrow


def test_equal_methods_are_not_told_apart_and_certain_ones_are():
    a = np.random.default_rng(0).normal(size=300)
    assert paired_interval(a, a) == (0, 0, 0)
    np.testing.assert_allclose(paired_interval(a + 2, a), 2)


def test_unknown_frames_are_left_out_in_pairs():
    a, b = np.arange(100.0), np.arange(100.0)
    a[3], b[90] = np.nan, np.nan
    np.testing.assert_allclose(paired_interval(a, b - 1), 1)
    assert np.isnan(paired_interval(a[:LEAST], b[:LEAST])).all()  # one known frame too few
    assert np.isnan(paired_interval(np.full(100, np.inf), b)).all()
