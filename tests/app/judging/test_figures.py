"""Figures: which frames they show, and where."""

import cv2
import numpy as np

from jax_talker.app.judging import figures, tables
from jax_talker.app.judging.meters import BATCH, Pair
from jax_talker.app.judging.score import Missing, Score


def sampled(frames):
    """Frame i is grey i in truth, 255 − i in the render; the last batch is filled with 7s that do not count."""
    sampler = figures.Sampler()
    for first in range(0, frames, BATCH):
        count = min(BATCH, frames - first)
        truth = np.full((BATCH, 4, 6, 3), 7, np.uint8)
        truth[:count] = np.arange(first, first + count)[:, None, None, None]
        sampler.add(Pair(255 - truth, truth, count))
    return sampler


def test_every_tenth_frame_truth_above_render(tmp_path):
    (path,) = figures.write_sheets({"run, a/b": sampled(125), "nothing": figures.Sampler()}, tmp_path / "self")
    assert path.name == "self_run__a_b.png"
    sheet = cv2.imread(str(path))[..., 0]
    assert sheet.shape == (4 * 4, 10 * 6)
    np.testing.assert_array_equal(sheet[0, ::6], np.arange(0, 100, 10))
    np.testing.assert_array_equal(sheet[4, ::6], 255 - np.arange(0, 100, 10))
    np.testing.assert_array_equal(sheet[8, ::6], [100, 110, 120] + [255] * 7)
    np.testing.assert_array_equal(sheet[12, ::6], [155, 145, 135] + [255] * 7)


def test_what_nobody_filmed_is_shown_once():
    sampler = figures.Sampler()
    for first in range(0, 112, BATCH):
        made = np.zeros((BATCH, 4, 6, 3), np.uint8)
        made += np.arange(first, first + BATCH, dtype=np.uint8)[:, None, None, None]
        sampler.add(Pair(made, made, BATCH))
    sheet = figures.alternating(sampler.kept)[..., 0]
    assert sheet.shape == (2 * 4, 10 * 6)
    np.testing.assert_array_equal(sheet[0, ::6], np.arange(0, 100, 10))
    np.testing.assert_array_equal(sheet[4, ::6], [100, 110] + [255] * 8)


def test_a_long_video_does_not_fill_the_memory():
    assert len(sampled(250).kept) == 25
    kept = figures.Sampler()
    for _ in range(100):
        kept.add(Pair(*[np.zeros((BATCH, 2, 2, 3), np.uint8)] * 2, BATCH))
    assert len(kept.kept) == figures.MOST


def test_curves(tmp_path):
    frames = np.array([np.inf, 30.0, np.nan, 31.0])
    rows = [
        tables.Row("Ground truth", {"": [Score("psnr", "PSNR", np.inf, per_frame=np.full(4, np.inf))]}),
        tables.Row("a", {"": [Score("psnr", "PSNR", 30.5, per_frame=frames), Missing("fid", "FID", "x", "y")]}),
    ]
    (path,) = figures.write_curves(tables.Table("", rows, {}), tmp_path / "self")
    assert cv2.imread(str(path)).std() > 1
    assert figures.write_curves(tables.Table("", rows[:1], {}), tmp_path / "self") == []


def test_a_row_has_one_colour_in_all_panels(tmp_path, monkeypatch):
    """Also where another row, as the truth's of infinite PSNR, is not in each of them."""
    drawn = []
    original = figures.matplotlib.figure.Figure.savefig
    keep = lambda self, *given, **more: (drawn.append(self), original(self, *given, **more))  # noqa: E731
    monkeypatch.setattr(figures.matplotlib.figure.Figure, "savefig", keep)
    score = lambda name, value: Score(name, name, 1.0, per_frame=np.full(4, value))  # noqa: E731
    rows = [
        tables.Row("Ground truth", {"": [score("psnr", np.inf), score("ssim", 1.0)]}),
        tables.Row("a", {"": [score("psnr", 30.0), score("ssim", 0.9)]}),
    ]
    figures.write_curves(tables.Table("", rows, {}), tmp_path / "self")
    psnr, ssim = drawn[0].axes
    key = psnr.get_legend()
    legend = {text.get_text(): line.get_color() for text, line in zip(key.get_texts(), key.get_lines(), strict=True)}
    colour = lambda axis, value: next(x.get_color() for x in axis.get_lines() if x.get_ydata()[0] == value)  # noqa: E731
    assert colour(psnr, 30.0) == colour(ssim, 0.9) == legend["a"]
    assert colour(ssim, 1.0) == legend["Ground truth"] != legend["a"]
