"""The mark survives what platforms do to videos, is not seen, and is not found where it is not."""

import cv2
import numpy as np
import pytest

from jax_talker.data.read.video import read_frames, write_video
from jax_talker.provenance import watermark

BITS = 0xB2C5


SIZE = 192


def talking(count=125, size=SIZE, seed=0):
    """A textured head that nods and whose mouth moves, on white with the noise of a camera."""
    rng = np.random.default_rng(seed)
    texture = cv2.GaussianBlur(rng.normal(0, 60, (size, size, 3)), (0, 0), 1.5)
    texture += np.array([190, 150, 130])
    y, x = np.mgrid[:size, :size].astype(np.float32)
    for t in range(count):
        dy, dx = 3 * np.sin(t / 3.7), 2 * np.cos(t / 11)
        head = cv2.warpAffine(
            texture, np.float32([[1, 0, dx], [0, 1, dy]]), (size, size), borderMode=cv2.BORDER_REFLECT
        )
        inside = np.hypot((x - size / 2 - dx) / 0.75, y - size / 2 - dy) < 0.42 * size
        mouth = np.hypot((x - size / 2 - dx) / 2.5, y - 0.68 * size - dy) < 2 + 3 * abs(np.sin(t / 2.3))
        picture = np.where(inside[..., None], np.where(mouth[..., None], (90, 30, 40), head), 255)
        yield np.clip(picture + rng.normal(0, 0.5, picture.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def plain():
    return list(talking())


@pytest.fixture(scope="module")
def marked(plain):
    tile = watermark.pattern(BITS)
    return [watermark.marked(picture, tile, index) for index, picture in enumerate(plain)]


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((np.stack(a).astype(float) - np.stack(b)) ** 2))


def test_the_mark_is_not_seen(plain, marked):
    assert psnr(plain, marked) > 42
    difference = np.stack(marked).astype(int) - np.stack(plain)
    assert np.abs(difference).max() <= 14
    assert (np.ptp(difference, axis=-1) > 1).mean() < 0.05  # brightness alone, but where a colour is full


def test_there_is_less_of_it_where_it_would_be_seen(plain, marked):
    white = np.stack(plain)[..., 1].min(0) > 250
    difference = np.abs(np.stack(marked).astype(float) - np.stack(plain))[..., 1].mean(0)
    assert 0.2 < difference[white].mean() / difference[~white].mean() < 0.7


@pytest.mark.parametrize(("crf", "scale", "crop"), [(28, 1, 0), (18, 0.75, 0), (18, 1, 0.1), (28, 0.75, 0.1)])
def test_the_mark_survives(tmp_path, marked, crf, scale, crop):
    if scale < 1 and crop:  # all at once leave so little of 192² noise that five seconds' bits are read by luck
        tile = watermark.pattern(BITS)
        marked = [watermark.marked(picture, tile, index) for index, picture in enumerate(talking(250))]
    cut = round(SIZE * crop / 2)
    pictures = [picture[cut : SIZE - cut, cut : SIZE - cut] for picture in marked]
    pictures = [cv2.resize(p, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for p in pictures]
    path = write_video(tmp_path / "attacked.mp4", pictures, crf=crf)
    found = watermark.detect(read_frames(path))
    assert found.found
    assert found.bits == BITS
    assert found.scale == pytest.approx(scale, rel=0.03)


def test_a_part_of_a_video_is_enough(marked):
    found = watermark.detect(marked[23:88])  # begins in another phase
    assert (found.found, found.bits) == (True, BITS)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_found_where_nothing_is(seed):
    found = watermark.detect(talking(60, seed=seed))
    assert not found.found
    assert found.score < 7


def test_an_alpha_channel_is_left_alone(plain):
    alpha = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 1), np.uint8)
    picture = np.dstack([plain[0], alpha])
    out = watermark.marked(picture, watermark.pattern(1), 10)
    np.testing.assert_array_equal(out[..., 3:], alpha)
    np.testing.assert_array_equal(out[..., :3], watermark.marked(plain[0], watermark.pattern(1), 10))


def test_bits_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="16 bits"):
        watermark.pattern(1 << 16)
