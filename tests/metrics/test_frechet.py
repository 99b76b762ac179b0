"""The Fréchet distance against scipy's root of the product, as pytorch-fid takes it, and its properties."""

import numpy as np
import pytest
import scipy.linalg

from jax_talker.metrics.frechet import Moments, frechet_distance


def samples(count, features, seed, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, features)) @ rng.normal(size=(features, features)) / np.sqrt(features) + shift


def moments(values):
    return values.mean(0), np.cov(values, rowvar=False)


@pytest.mark.parametrize("count", [300, 40])
def test_equals_scipy(count):
    """With more samples than features, and with fewer, where the product is singular and pytorch-fid's loses digits."""
    a, b = moments(samples(count, 64, 0)), moments(samples(count, 64, 1, 0.3))
    root = scipy.linalg.sqrtm(a[1] @ b[1])
    want = ((a[0] - b[0]) ** 2).sum() + np.trace(a[1] + b[1] - 2 * np.real(root))
    assert frechet_distance(*a, *b) == pytest.approx(want, rel=1e-3 if count < 64 else 1e-9)


def test_singular_sets_are_exact():
    """Of two lines in space: Σ of rank 1, whose root is known."""
    u, v = np.array([1.0, 0, 0]), np.array([0.6, 0.8, 0])
    a, b = (np.zeros(3), 4 * np.outer(u, u)), (np.ones(3), 9 * np.outer(v, v))
    assert frechet_distance(*a, *b) == pytest.approx(3 + 4 + 9 - 2 * 2 * 3 * 0.6, rel=1e-9)


@pytest.mark.parametrize("count", [300, 20])
def test_a_set_with_itself_is_zero_and_order_does_not_matter(count):
    a, b = moments(samples(count, 64, 0)), moments(samples(count, 64, 1))
    assert frechet_distance(*a, *a) < 1e-6 * np.trace(a[1])
    assert frechet_distance(*a, *b) == pytest.approx(frechet_distance(*b, *a), rel=1e-6)
    assert frechet_distance(*a, *b) > 0.1 * np.trace(a[1])


def test_moments_come_a_few_at_a_time():
    values = samples(101, 16, 3, 1e4)  # far from zero: sums of squares would cancel
    found = Moments(16)
    for part in np.array_split(values, 13):
        found.add(part)
    found.add(values[:0])
    mean, covariance = moments(values)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(found.covariance, covariance, atol=1e-9 * np.abs(covariance).max())
    one = Moments(2)
    one.add(np.zeros((1, 2)))
    with pytest.raises(ValueError, match="1 samples"):
        _ = one.covariance
