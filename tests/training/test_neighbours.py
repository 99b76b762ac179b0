"""Neighbours of Gaussians, over several faces together."""

import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker.models.detail import NEIGHBOURS, as_they_are
from jax_talker.training.neighbours import neighboured, unlike_each_other

ROW = 30


def lips(gap):
    """Two rows of centres, one above the other, so far apart."""
    x = np.linspace(-0.05, 0.05, ROW, dtype=np.float32)
    rows = [np.stack([x, np.full_like(x, side * gap / 2), np.zeros_like(x)], 1) for side in (1, -1)]
    return jnp.asarray(np.concatenate(rows))


def test_lips_that_touch_are_not_neighbours_where_they_part():
    layout = as_they_are(2 * ROW)
    of = np.arange(2 * ROW)[:, None] // ROW
    closed = np.asarray(neighboured(layout, [lips(0.001)]).near)
    assert (closed // ROW != of).any()
    both = np.asarray(neighboured(layout, [lips(0.001), lips(0.04)]).near)
    assert (both // ROW == of).all()
    assert (both != np.arange(2 * ROW)[:, None]).all()
    np.testing.assert_array_equal(np.sort(both[10]), [6, 7, 8, 9, 11, 12, 13, 14])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_gaussians_have_few_neighbours(count):
    places = jnp.zeros((count, 3))  # all in one place
    near = np.asarray(neighboured(as_they_are(count), [places]).near)
    assert near.shape == (count, NEIGHBOURS)
    if count > 1:
        assert (near != np.arange(count)[:, None]).all()
        assert all(len(set(row)) == count - 1 for row in near)


def test_faces_are_as_unlike_as_can_be():
    """The middle first, then the ends of the wider axis in units of each axis' deviation, then those of the other."""
    features = np.array([[0.1, 0.0], [9.0, 0.0], [-9.0, 0.1], [0.0, 0.02], [0.0, -1.0], [0.2, 0.0]])
    assert unlike_each_other(features, 1)[0] in (0, 3, 5)
    assert set(unlike_each_other(features, 4)[1:]) == {1, 2, 4}
    assert len(set(unlike_each_other(features, 6))) == 6
