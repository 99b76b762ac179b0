"""Crops are exact and do not alias; masks follow the face; a random walk solves its system."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import spsolve

from jax_talker.data.camera.crop import Crop
from jax_talker.data.cut.masks import filled, region_masks
from jax_talker.data.cut.random_walk import edge_weights, random_walk
from jax_talker.data.track.landmarks import IBUG, scheme_of
from jax_talker.errors import UserError


@pytest.mark.parametrize(("side", "size"), [(20.0, 20), (13.0, 64), (33.5, 21), (40.0, 9), (46.3, 31)])
def test_a_crop_samples_where_it_says(side, size):
    """On a ramp of 5 levels a pixel, every pixel's value is 5 times its own source coordinate, whatever the scale."""
    columns, rows = np.meshgrid(np.arange(50) + 0.5, np.arange(50) + 0.5)
    image = (5 * np.dstack([columns, rows, columns])).astype(np.uint8)  # 2.5, 7.5, … are cut to 2, 7, …
    got = Crop(np.array([25.3, 24.8]), side).cut(image, size) + 0.5
    place = (np.arange(size) + 0.5) * side / size - side / 2
    # 8-bit rounding, once or (shrinking) twice; half a pixel would be 2.5 levels
    np.testing.assert_allclose(got[size // 2, :, 0], 5 * (25.3 + place), atol=1.1)
    np.testing.assert_allclose(got[:, size // 2, 1], 5 * (24.8 + place), atol=1.1)


def test_shrinking_does_not_alias():
    """Lines one pixel wide become grey at a third of the size; sampling single pixels would keep or lose them."""
    image = np.zeros((300, 300, 3), np.uint8)
    image[:, ::2] = 255
    small = Crop(np.array([150.0, 150.0]), 300.0).cut(image, 97)[2:-2, 2:-2]
    assert np.abs(small.astype(int) - 127).max() < 45
    assert small.mean() == pytest.approx(127.5, abs=2)
    checker = np.indices((300, 300)).sum(0) % 2 * 255
    small = Crop(np.array([150.0, 150.0]), 300.0).cut(np.dstack([checker] * 3).astype(np.uint8), 75)
    np.testing.assert_allclose(small, 127.5, atol=1)


def test_points_follow_the_picture():
    image = np.zeros((200, 240, 3), np.uint8)
    cv2.circle(image, (150, 80), 3, (255, 255, 255), -1)
    spot = np.array([150.5, 80.5])  # the centre of pixel (150, 80)
    crop = Crop(np.array([140.2, 90.7]), 77.7)
    grey = crop.cut(image, 256)[..., 0].astype(float)
    rows, columns = np.indices(grey.shape) + 0.5
    found = np.array([(columns * grey).sum(), (rows * grey).sum()]) / grey.sum()
    np.testing.assert_allclose(found, crop.to_crop(spot, 256), atol=0.1)


def test_inside_knows_the_source():
    crop = Crop(np.array([10.0, 50.0]), 40.0)  # a quarter of it lies left of the picture
    inside = crop.inside((100, 100), 80)
    assert inside.mean() == pytest.approx(0.75, abs=0.01)
    assert inside[:, :19].max() == 0
    assert inside[:, 21:].min() == 1


@given(st.floats(-30, 130), st.floats(10, 150), st.integers(7, 64))
def test_a_pixel_is_filmed_when_all_of_it_lies_in_the_picture(x, side, size):
    filmed = Crop(np.array([x, 45.0]), side).filmed((90, 100, 3), size)
    assert filmed.shape == (size, size)
    edges = np.arange(size + 1) * side / size - side / 2
    for (start, length), axis in (((x, 100), 0), ((45.0, 90), 1)):
        within = np.minimum((start + edges)[:-1], length - (start + edges)[1:])  # px; negative: reaches beyond
        any_filmed = (filmed == 255).any(axis)
        assert set(np.unique(filmed)) <= {0, 255}
        assert not any_filmed[within < -1e-3].any()
        if (filmed == 255).any():
            assert any_filmed[within > 1e-3].all()


def portrait(size=200.0):
    """A plain iBUG face, upright, in a square of ``size``."""
    face = np.zeros((68, 2))
    angle = np.linspace(np.pi, 0, 17)
    face[:17] = np.stack([np.cos(angle) * 0.28, np.sin(angle) * 0.42], 1)
    face[17:22] = [(-0.22 + 0.04 * i, -0.2) for i in range(5)]
    face[22:27] = [(0.06 + 0.04 * i, -0.2) for i in range(5)]
    face[27:31] = [(0, -0.12 + 0.06 * i) for i in range(4)]
    face[31:36] = [(-0.06 + 0.03 * i, 0.1) for i in range(5)]
    for first, x in ((36, -0.13), (42, 0.13)):
        turn = np.linspace(np.pi, -np.pi, 6, endpoint=False)
        face[first : first + 6] = np.stack([x + 0.05 * np.cos(turn), -0.12 - 0.02 * np.sin(turn)], 1)
    for first, count, r in ((48, 12, 1.0), (60, 8, 0.6)):
        turn = np.linspace(np.pi, -np.pi, count, endpoint=False)
        face[first : first + count] = np.stack([0.1 * r * np.cos(turn), 0.22 - 0.05 * r * np.sin(turn)], 1)
    return face * size + size / 2


def test_masks_cover_what_they_are_for():
    face, size = portrait(), 200
    upper, lower = region_masks(face, IBUG, size)
    for group, mask, other in (
        (range(36, 48), upper, lower),
        (range(17, 27), upper, lower),
        (range(48, 68), lower, upper),
    ):
        for x, y in face[list(group)]:
            assert mask[int(y), int(x)] == 255
            assert other[int(y), int(x)] == 0
    chin_x, chin_y = face[8]
    assert lower[int(chin_y) - 2, int(chin_x)] > 200
    assert lower[int(chin_y) + 10, int(chin_x)] == 0
    assert upper.astype(int).max() == 255
    assert (upper.astype(int) + lower).max() <= 256  # they never count a pixel twice (rounding apart)
    across = face[33].astype(int)
    together = upper.astype(int) + lower
    assert together[across[1] - 20 : across[1] + 20, across[0]].min() > 250  # no gap under the nose


@given(st.floats(-60, 60))
def test_masks_turn_with_the_head(degrees):
    face, size = portrait(), 200
    turn = cv2.getRotationMatrix2D((size / 2, size / 2), degrees, 1.0)
    turned = face @ turn[:, :2].T + turn[:, 2]
    for straight, got in zip(region_masks(face, IBUG, size), region_masks(turned, IBUG, size), strict=True):
        # pixel centres lie at +0.5
        shift = turn.copy()
        shift[:, 2] += turn[:, :2] @ [0.5, 0.5] - 0.5
        want = cv2.warpAffine(straight, shift, (size, size))
        assert np.abs(want.astype(int) - got).mean() < 2  # of 255: half a pixel along the edge


def test_filled_uses_pixel_centres():
    square = np.array([(10.2, 10.2), (20.2, 10.2), (20.2, 30.2), (10.2, 30.2)])
    region = filled(square, 40)
    assert 10 * 20 <= region.sum() <= 11 * 21  # OpenCV counts the pixels that the outline touches
    rows, columns = np.nonzero(region)
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((15.2, 20.2), abs=0.35)


def test_unknown_landmark_counts_are_refused():
    with pytest.raises(UserError, match="98 landmarks are not known"):
        scheme_of(98)


def test_random_walk_solves_its_linear_system():
    rng = np.random.default_rng(0)
    height, width = 14, 11
    colour = rng.normal(size=(height, width, 3)).astype(np.float32)
    to_one, to_zero = (rng.uniform(0, 0.3, (height, width)).astype(np.float32) for _ in range(2))
    across, down = edge_weights(colour, 2.0)
    index = np.arange(height * width).reshape(height, width)
    i = np.concatenate([index[:, :-1].ravel(), index[:-1].ravel()])
    j = np.concatenate([index[:, 1:].ravel(), index[1:].ravel()])
    w = np.concatenate([across.ravel(), down.ravel()])
    links = coo_matrix((np.r_[w, w], (np.r_[i, j], np.r_[j, i])), shape=(index.size, index.size)).tocsr()
    system = diags(np.asarray(links.sum(1)).ravel() + (to_one + to_zero).ravel()) - links
    want = spsolve(system.tocsc().astype(float), to_one.ravel().astype(float)).reshape(height, width)
    got = random_walk(across, down, to_one, to_zero)
    np.testing.assert_allclose(got, want, atol=2e-3)  # the solver's tolerance, 1e-4 in its norm
    assert got.min() >= 0
    assert got.max() <= 1


def test_a_random_walk_stops_at_an_edge():
    colour = np.zeros((20, 40, 3), np.float32)
    colour[:, 20:] = 100
    seeds = np.zeros((20, 40), np.float32)
    seeds[10, 5] = 3
    walked = random_walk(*edge_weights(colour, 50.0), seeds, np.fliplr(seeds).copy())
    assert walked[:, :20].min() > 0.8
    assert walked[:, 20:].max() < 0.2
