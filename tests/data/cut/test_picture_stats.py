"""One picture's numbers change with what they are about and with nothing else."""

import time

import cv2
import numpy as np
import pytest

from jax_talker.data.cut.picture_stats import PATCHES, STAT_NAMES, picture_stats
from jax_talker.data.track.landmarks import IBUG

SIZE = 256


@pytest.fixture(scope="module")
def face(drawn_head):
    """A drawn head's crop with skin texture, its landmarks, and the share of it that is head."""
    clip = drawn_head(2, side=170.0)
    picture = clip.crops[1].cut(clip.frames[1], SIZE)
    grain = np.random.default_rng(0).normal(0, 12, (SIZE, SIZE, 1))  # texture at every scale that the size can hold
    picture = np.clip(picture + cv2.GaussianBlur(grain, (0, 0), 0.6)[..., None], 0, 255).astype(np.uint8)
    alpha = clip.crops[1].cut(clip.alpha[1][..., None], SIZE)[..., 0]
    return picture, clip.crops[1].to_crop(clip.landmarks[1], SIZE), alpha


def stats(picture, landmarks):
    return picture_stats(picture, landmarks, IBUG)


def blurred(picture, sigma):
    return cv2.GaussianBlur(picture, (0, 0), sigma)


def test_the_names_are_the_documented_ones(face):
    found = stats(*face[:2])
    assert tuple(found) == STAT_NAMES
    assert all(isinstance(v, float) and np.isfinite(v) for v in found.values())


def test_sharpness_falls_with_blur_and_with_nothing_else(face):
    picture, landmarks, _ = face
    values = [stats(p, landmarks)["sharpness"] for p in (picture, *(blurred(picture, s) for s in (0.7, 1.0, 2.0)))]
    assert values == sorted(values, reverse=True)
    assert values[2] < 0.65 * values[0]  # a blur of 1 px takes the real clips to 0.55–0.65 of theirs
    dim = np.round(picture * 0.6 + 20).astype(np.uint8)
    assert stats(dim, landmarks)["sharpness"] == pytest.approx(values[0], rel=0.05)  # rounding to 8 bit
    enlarged = cv2.resize(cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), (SIZE, SIZE))
    assert stats(enlarged, landmarks)["sharpness"] < 0.7 * values[0]


def test_exposure_counts_the_face_alone(face):
    picture, landmarks, alpha = face
    found = stats(picture, landmarks)
    assert found["over_exposed"] == found["under_exposed"] == 0
    on_white = np.where(alpha[..., None] > 127, picture, 255).astype(np.uint8)
    white = stats(on_white, landmarks)
    assert white["brightness"] == pytest.approx(found["brightness"], abs=2)  # pixels on the face's edge
    assert white["over_exposed"] < 0.02
    burnt = np.clip(picture.astype(int) * 2, 0, 255).astype(np.uint8)
    assert stats(burnt, landmarks)["over_exposed"] > 0.5
    dark = (picture // 20).astype(np.uint8)
    assert stats(dark, landmarks)["under_exposed"] > 0.8


@pytest.mark.parametrize(("patch", "name", "turn"), [("left_cheek", "mouth_left", 0.45), ("nose", "bridge_lower", 1.0)])
def test_tones_change_where_something_covers_the_face(face, patch, name, turn):
    picture, landmarks, _ = face
    # the left cheek lies between the corner of the mouth and the temple
    place = turn * IBUG.named(landmarks, name) + (1 - turn) * landmarks[15]
    covered = cv2.circle(picture.copy(), tuple(np.round(place).astype(int).tolist()), 12, (30, 30, 200), -1)
    before, after = stats(picture, landmarks), stats(covered, landmarks)
    moved = {
        n: np.linalg.norm([after[f"tone_{n}_{axis}"] - before[f"tone_{n}_{axis}"] for axis in "lab"]) for n in PATCHES
    }
    assert max(moved, key=moved.__getitem__) == patch
    assert moved[patch] > 15
    assert moved["forehead"] < 1
    assert moved["right_cheek"] < 1


def test_tones_follow_the_face_not_the_picture(face):
    picture, landmarks, _ = face
    turn = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), 12, 0.9)
    rolled = cv2.warpAffine(picture, turn, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
    points = (landmarks - 0.5) @ turn[:, :2].T + turn[:, 2] + 0.5
    before, after = stats(picture, landmarks), stats(rolled, points)
    for name in STAT_NAMES[4:]:
        assert after[name] == pytest.approx(before[name], abs=4)  # CIELAB; patches' edges are cut a little differently


@pytest.mark.parametrize("case", ["outside", "flat", "one point"])
def test_hopeless_pictures_give_numbers(face, case):
    picture, landmarks, _ = face
    found = {
        "outside": lambda: stats(picture, landmarks + 10 * SIZE),
        "flat": lambda: stats(np.full_like(picture, 255), landmarks),
        "one point": lambda: stats(picture, np.full_like(landmarks, 40.0)),
    }[case]()
    assert all(np.isfinite(v) for v in found.values())
    if case == "flat":
        assert found["sharpness"] == 0
        assert found["over_exposed"] == 1


def test_it_costs_little_beside_storing_the_picture(face):
    """Medians in one process: a picture's numbers against its PNG, which is written for every frame anyway."""
    picture = cv2.resize(face[0], (512, 512), interpolation=cv2.INTER_CUBIC)
    landmarks = face[1] * 2

    def median(work):
        times = []
        for _ in range(7):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        return np.median(times)

    assert median(lambda: stats(picture, landmarks)) < median(lambda: cv2.imencode(".png", picture))
