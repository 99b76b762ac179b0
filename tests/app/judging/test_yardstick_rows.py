"""Rows of yardsticks against what plain NumPy finds on the same pictures."""

import numpy as np
import pytest
from app.judging.fakes import CONFIG, FRAMES, SIZE, FakeClip, FakeSpeaker

from jax_talker import geometry
from jax_talker.app.judging import yardstick_rows
from jax_talker.app.judging.head import Camera, Head
from jax_talker.app.judging.pictures import Pictures
from jax_talker.app.judging.weights import Weights

TRAIN, TEST = np.arange(40), np.arange(40, FRAMES)
YAWS = np.random.default_rng(5).uniform(-30, 30, FRAMES)


class Turning(FakeClip):
    """The camera stands elsewhere in each frame."""

    def __init__(self, seed=0, views=()):
        super().__init__(seed, views)
        self.arrays["label"] = geometry.make_label(np.stack([geometry.orbit(yaw, 0) for yaw in YAWS]))


class Shown(Head):
    """Shows grey 90 where it is told what to do, and what it hears as 200; keeps the scripts."""

    scripts = ()

    def shown(self, name, script):
        Shown.scripts += (script,)
        grey = np.full((SIZE, SIZE, 3), 200 if script.coefficients is None else 90, np.uint8)
        return Pictures(name, lambda: (grey for _ in self.test), len(self.test), lambda: script.sound)


@pytest.fixture
def head(tmp_path, monkeypatch):
    monkeypatch.setattr(Shown, "scripts", ())
    return lambda name="may", **more: Shown(name, CONFIG, FakeSpeaker(), Turning(), Weights(tmp_path), **more)


def bar(items, label, total):
    return items


def psnr(pred, truth):
    return (-10 * np.log10(((pred / 255 - truth / 255) ** 2).mean((1, 2, 3)))).mean()


def filmed(clip, indices):
    return np.stack([clip.image(int(i)) for i in indices]).astype(float)


def test_each_shows_what_its_name_says(head):
    side = Turning(7)
    cameras = lambda of: {  # noqa: E731
        "": Camera(of.clip.arrays["label"][TEST], of.clip),
        "side": Camera(of.clip.arrays["label"][TEST[::-1]], side),
    }
    judged = head()
    rows = yardstick_rows.yardstick_rows([judged], cameras, ["psnr"], bar)
    found = {row.name: {group: results[0].value for group, results in row.results.items()} for row in rows}
    assert list(found) == ["Mean frame", "Nearest pose", "Still anchor of may"]
    yaws = YAWS[TEST]
    for group, clip, seen in (("", judged.clip, yaws), ("side", side, yaws[::-1])):
        truth = filmed(clip, TEST)
        mean = np.broadcast_to(np.round(filmed(clip, TRAIN).mean(0)), truth.shape)
        assert found["Mean frame"][group] == pytest.approx(psnr(mean, truth), abs=1e-6)
        nearest = [np.argmin(np.abs(YAWS[TRAIN] - yaw)) for yaw in seen]
        assert found["Nearest pose"][group] == pytest.approx(psnr(filmed(judged.clip, nearest), truth), abs=1e-6)
        assert found["Still anchor of may"][group] == pytest.approx(psnr(np.full_like(truth, 90.0), truth), abs=1e-6)
    for script, label in zip(Shown.scripts, (TEST, TEST[::-1]), strict=True):
        np.testing.assert_allclose(script.label, judged.clip.arrays["label"][label], rtol=1e-6)
        np.testing.assert_allclose(script.held, judged.clip.arrays["label"][TEST], rtol=1e-6)


def test_of_several_heads_only_the_anchor_is_its_own(head):
    cameras = lambda of: {"": Camera(of.clip.arrays["label"][TEST], of.clip)}  # noqa: E731
    rows = yardstick_rows.yardstick_rows([head("a"), head("b")], cameras, ["psnr"], bar)
    assert [row.name for row in rows] == ["Mean frame", "Nearest pose", "Still anchor of a", "Still anchor of b"]


def test_where_nobody_filmed_the_anchor_stands_alone(head):
    cameras = lambda of: {"spiral": Camera(of.clip.arrays["label"][TEST], of.clip, masks=False)}  # noqa: E731
    (row,) = yardstick_rows.yardstick_rows([head()], cameras, ["psnr"], bar)
    assert row.name == "Still anchor of may"
    assert [result.name for result in row.results["spiral"]] == ["psnr"]  # no parts of the face by others' masks


def test_what_was_learnt_elsewhere_is_shown_from_there(head):
    other = Turning(3)
    judged = head(learnt=other, tested=TEST)
    np.testing.assert_array_equal(judged.trained[1], TRAIN)
    cameras = {name: Camera(judged.clip.arrays["label"][TEST], judged.clip) for name in ("front", "left")}
    row = yardstick_rows.mean_row(judged, cameras, {"front": other}, ["psnr"], bar)
    truth = filmed(judged.clip, TEST)
    assert list(row.results) == ["front"]
    mean = np.broadcast_to(np.round(filmed(other, TRAIN).mean(0)), truth.shape)
    assert row.results["front"][0].value == pytest.approx(psnr(mean, truth), abs=1e-6)
    nearest = [np.argmin(np.abs(YAWS[TRAIN] - yaw)) for yaw in YAWS[TEST]]
    row = yardstick_rows.nearest_row(judged, cameras, ["psnr"], bar)
    assert row.results["left"][0].value == pytest.approx(psnr(filmed(other, nearest), truth), abs=1e-6)
