"""Cuts are found where a new shot begins, and nowhere else: not at flashes, shaken heads, zooms or in real speech."""

import time

import cv2
import numpy as np
import pytest

from jax_talker.data.read.video import read_frames
from jax_talker.data.track.shots import BLOCK, find_cuts, signature

SIZE = (160, 120)


def room(seed):
    """A shot's background: large patches of colour, as of a wall with things on it."""
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(20, 235, (4, 5, 3), np.uint8), SIZE, interpolation=cv2.INTER_CUBIC)


def with_head(background, x=0.0, y=0.0, size=1.0, colour=(200, 150, 120)):
    picture = background.copy()
    centre = (round(SIZE[0] / 2 + x), round(SIZE[1] / 2 + y))
    cv2.ellipse(picture, centre, (round(30 * size), round(42 * size)), 0, 0, 360, colour, -1)
    cv2.circle(picture, (centre[0] - 10, centre[1] - 8), 5, (30, 30, 30), -1)
    cv2.circle(picture, (centre[0] + 10, centre[1] - 8), 5, (30, 30, 30), -1)
    return picture


def talking(seed, frames, **kwargs):
    """A still background with a head that moves a little, and a camera's noise."""
    rng, background = np.random.default_rng(seed + 100), room(seed)
    for t in range(frames):
        picture = with_head(background, 3 * np.sin(t / 5), 2 * np.cos(t / 7), **kwargs)
        yield np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)


def cuts(pictures):
    return find_cuts(np.array([signature(p) for p in pictures]))


@pytest.mark.parametrize("seed", range(5))
def test_a_cut_is_found_at_its_picture(seed):
    shots = [*talking(seed, 30), *talking(seed + 10, 7), *talking(seed + 20, 40)]
    assert cuts(shots) == [30, 37]


def test_a_cut_to_the_same_person_elsewhere_is_found():
    wide, close = talking(0, 25), talking(7, 25, size=1.4)
    assert cuts([*wide, *close]) == [25]


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_flash_is_no_cut(length):
    pictures = list(talking(1, 40))
    for t in range(20, 20 + length):
        pictures[t] = np.clip(pictures[t].astype(int) * 2 + 120, 0, 255).astype(np.uint8)
    assert cuts(pictures) == []


def test_a_change_of_light_is_no_cut():
    pictures = [np.clip(p * (1.0 if t < 20 else 0.6), 0, 255).astype(np.uint8) for t, p in enumerate(talking(2, 40))]
    assert cuts(pictures) == []


def test_a_shaken_head_is_no_cut():
    background = room(3)
    shaken = [with_head(background, 45 * np.sin(t * 1.1), 10 * np.sin(t * 0.7), size=1.2) for t in range(40)]
    assert cuts([*talking(3, 20), *shaken]) == []  # it begins to shake from rest


def test_a_head_turning_before_a_wall_is_no_cross_fade(drawn_head):
    assert cuts(drawn_head(120, seed=1).frames) == []


def test_zooms_and_pans_are_no_cuts():
    large = cv2.resize(np.random.default_rng(4).integers(0, 255, (20, 26, 3), np.uint8), (1280, 960))
    zoom, pan = [], []
    for t in range(40):
        w, h = round(1280 - 20 * t), round(960 - 15 * t)
        zoom.append(large[(960 - h) // 2 : (960 + h) // 2, (1280 - w) // 2 : (1280 + w) // 2])
        pan.append(large[300:600, 20 * t : 20 * t + 400])
    assert cuts(zoom) == []
    assert cuts(pan) == []


@pytest.mark.parametrize("length", [8, 12, 20])
def test_a_cross_fade_is_a_shot_of_its_own(length):
    before, after = list(talking(5, 40 + length)), list(talking(16, 40 + length))
    share = np.clip((np.arange(80 + length) - 39) / (length + 1), 0, 1)
    mixed = [
        ((1 - s) * before[min(t, 39 + length)] + s * after[max(t - 40, 0)]).astype(np.uint8)
        for t, s in enumerate(share)
    ]
    begin, end = cuts(mixed)
    assert abs(begin - 40) <= 2
    assert abs(end - (40 + length)) <= 2


def test_long_footage_is_cut_where_blocks_meet():
    one, two = (np.array([signature(p) for p in talking(seed, 1)]) for seed in (6, 7))
    signatures = np.repeat(np.concatenate([one, two] * 3), (BLOCK - 1, 2 * 10, BLOCK - 10, 5, 9, 100), axis=0)
    assert find_cuts(signatures) == np.cumsum([BLOCK - 1, 20, BLOCK - 10, 5, 9]).tolist()


def test_nothing_to_cut():
    assert find_cuts(np.zeros((0, 768), np.uint8)) == []
    assert cuts([np.zeros((9, 7, 3), np.uint8)] * 30) == []
    assert cuts(talking(0, 1)) == []


@pytest.mark.parametrize("shape", [(1080, 1920, 3), (64, 48, 3)])
def test_a_signature_is_small_and_quick(shape):
    picture = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    assert signature(picture).shape == (768,)
    spent = []
    for _ in range(30):
        begin = time.perf_counter()
        signature(picture)
        spent.append(time.perf_counter() - begin)
    assert min(spent) < 1e-3  # s; 0.05 ms when quiet, and the best of many is quiet


@pytest.mark.parametrize("name", ["May_5s", "WDA_KatieHill_000", "expressive_30fps", "long_30fps"])
def test_real_people_are_one_shot(shared, name):
    assert cuts(read_frames(shared / "clips" / f"{name}.mp4")) == []
