"""The loop over two sequences: each metric against its own definition, and what cannot be compared."""

import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jax_talker.app.judging import catalogue, videos
from jax_talker.app.judging import judge as judging
from jax_talker.app.judging.pictures import Pictures
from jax_talker.app.judging.score import Missing, Score
from jax_talker.app.judging.weights import Weights
from jax_talker.data.track.faces import Face
from jax_talker.errors import UserError

SIZE, FRAMES = 48, 60


def pictures(name, values):
    """Frames of one grey each, whose grey tells the landmarker below where the face is."""
    make = lambda: (np.full((SIZE, SIZE, 3), v, np.uint8) for v in values)  # noqa: E731
    return Pictures(name, make, len(values))


class GreyLandmarker:
    """468 points on a fixed mesh; grey − 100 is how many pixels the chin hangs; darker than 50 there is no face."""

    name, score_names, reach = "mediapipe", ("jawOpen", "browDownLeft", "eyeLookUpLeft"), 0.0

    def __call__(self, rgb, index):
        grey = float(rgb[0, 0, 0])
        if grey < 50:
            return []
        points = np.random.default_rng(0).uniform(10, 40, (468, 2))
        points[263], points[33], points[2], points[152] = (40, 20), (20, 20), (30, 30), (30, 40 + grey - 100)
        points[14] += (0, (grey - 100) / 2)  # inner lower lip
        return [Face(points, np.zeros(468), None, np.array([(grey - 100) / 10, 0.5, grey], np.float32))]

    def check_length(self, frames):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


@pytest.fixture
def setting(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue.Setting, "landmarker", lambda self: GreyLandmarker)
    speech = 100 + np.random.default_rng(3).integers(0, 9, FRAMES)
    late = np.roll(speech, 2)
    return catalogue.Setting(pictures("late", late), pictures("truth", speech), Weights(tmp_path))


def by_name(results):
    return {result.name: result for result in results}


def test_identical_pictures(setting):
    found = by_name(judging.judge(videos.of_truth(setting), ["psnr", "ssim", "ssim_skimage", *catalogue.OF_FACES]))
    assert found["psnr"].value == np.inf
    for name in ("ssim", "ssim_skimage", "jaw_correlation"):
        assert found[name].value == pytest.approx(1, abs=1e-5)
    for name in ("lmd", "jitter_error", "jaw_lag", "expression_lower", "expression_upper"):
        assert found[name].value == 0
    assert found["jitter"].value > 0  # what the recording itself has


def test_the_truth_against_itself_is_one_array(setting):
    """By which networks' meters know that there is nothing to compute twice."""

    class Told:
        needs_faces, pairs = False, ()

        def add(self, pair):
            self.pairs += (pair,)

        def scores(self):
            return []

    for pair_of, same in ((videos.of_truth(setting), True), (setting, False)):
        told = Told()
        judging.judge(pair_of, ["psnr"], also=[told])
        assert len(told.pairs) == -(-FRAMES // judging.BATCH)
        assert all((pair.pred is pair.truth) == same for pair in told.pairs)


def test_a_late_render(setting):
    """More frames than one batch, and a last batch that is not full."""
    found = by_name(judging.judge(setting, ["psnr", *catalogue.OF_FACES]))
    truth, late = (np.array([f[0, 0, 0] for f in p.frames()], float) for p in (setting.truth, setting.pred))
    assert FRAMES % judging.BATCH
    assert len(found["psnr"].per_frame) == FRAMES
    same = truth == late
    np.testing.assert_array_equal(np.isinf(found["psnr"].per_frame), same)
    np.testing.assert_allclose(
        found["psnr"].per_frame[~same], 20 * np.log10(255 / np.abs(truth - late)[~same]), rtol=1e-12
    )
    assert found["jaw_lag"].value == 2
    step = (late - truth) / 2  # one of 40 lip points moves; the mean takes a fortieth along
    np.testing.assert_allclose(found["lmd"].per_frame, np.abs(step) * 2 * 39 / 40**2, atol=1e-9)
    np.testing.assert_allclose(found["expression_lower"].per_frame, ((late - truth) / 10) ** 2, atol=1e-6)
    assert found["expression_upper"].value == 0  # brows stay; the gaze does not count


def test_what_is_not_known_of_the_truth_counts_for_nothing(setting):
    """A band that nobody filmed, in which the render is wrong, changes no score; PSNR is that of the other pixels."""
    names, rng = ("psnr", "ssim", "ssim_skimage"), np.random.default_rng(5)
    seen = np.ones((SIZE, SIZE), bool)
    seen[-10:] = False
    frames = [rng.integers(0, 255, (SIZE, SIZE, 3), np.uint8) for _ in range(11)]
    near = [np.clip(frame + rng.integers(-9, 9, frame.shape), 0, 255).astype(np.uint8) for frame in frames]
    wrong = [np.where(seen[..., None], frame, 0).astype(np.uint8) for frame in near]
    truth = Pictures("truth", lambda: iter(frames), 11)
    known = lambda: (seen for _ in frames)  # noqa: E731

    def scored(made, **given):
        pair = replace(setting, pred=Pictures("made", lambda: iter(made), 11), truth=truth)
        return {r.name: r.value for r in judging.judge(pair, names, **given)}

    assert scored(near, known=known) == scored(wrong, known=known)
    assert scored(near) != scored(wrong)
    square = np.square(np.array(near, float) - frames)[:, seen].mean((1, 2))
    assert scored(wrong, known=known)["psnr"] == pytest.approx((-10 * np.log10(square / 255**2)).mean(), rel=1e-6)


def test_frames_without_a_face_do_not_count(setting):
    grey = [f[0, 0, 0] for f in setting.pred.frames()]
    grey[5] = 10
    found = by_name(judging.judge(replace(setting, pred=pictures("hidden", grey)), ["lmd", "jitter"]))
    assert np.isnan(found["lmd"].per_frame).sum() == 1
    assert np.isnan(found["jitter"].per_frame).sum() == 2 + 3
    assert found["lmd"].note == f"faces found in {FRAMES - 1} of {FRAMES} frames"
    none = judging.judge(replace(setting, pred=(dark := pictures("dark", [10] * 4)), truth=dark), ["lmd", "jaw"])
    assert all(np.isnan(r.value) and "no face" in r.note for r in none)


def test_a_missing_file_is_said_and_nothing_else(setting, tmp_path):
    found = judging.judge(setting, ["lpips_alex", "psnr", "aue"])
    assert [type(r) for r in found] == [Missing, Score, Missing, Missing]
    assert str(tmp_path) in found[0].text
    assert "get it from" in found[0].text
    assert "OpenFace" in found[2].text


def test_the_shorter_one_decides_and_it_is_said(setting, caplog):
    short = pictures("short", [100] * 9)
    for pred, truth in ((short, setting.truth), (setting.truth, short)):
        caplog.clear()
        found = judging.judge(replace(setting, pred=pred, truth=truth), ["psnr"])
        assert len(found[0].per_frame) == 9
        assert "9 frames" in caplog.text


def test_other_sizes_are_refused(setting):
    wide = Pictures("wide", lambda: iter([np.zeros((SIZE, SIZE + 2, 3), np.uint8)]))
    with pytest.raises(UserError, match="50 × 48 px"):
        judging.judge(replace(setting, pred=wide), ["psnr"])
    with pytest.raises(UserError, match="no pictures"):
        judging.judge(replace(setting, pred=pictures("empty", [])), ["psnr"])


def test_memory_holds_a_few_batches_of_pictures(setting):
    alive, most = [], 0

    def watched():
        nonlocal most
        for _ in range(400):
            frame = np.full((SIZE, SIZE, 3), 100, np.uint8)
            alive.append(weakref.ref(frame))
            most = max(most, sum(one() is not None for one in alive))
            yield frame

    many = Pictures("many", watched, 400)
    judging.judge(replace(setting, pred=many, truth=Pictures("true", watched, 400)), ["psnr", "ssim", "lmd"])
    assert len(alive) == 800
    assert most <= 6 * judging.BATCH


def test_names():
    assert catalogue.chosen(["lpips", "psnr", "lpips_alex"]) == ["lpips_alex", "psnr"]
    assert set(catalogue.chosen(["all"])) == set(catalogue.NAMES)
    assert set(catalogue.LIGHT) < set(catalogue.NAMES)
    with pytest.raises(UserError, match="there is no 'psnrr'"):
        catalogue.chosen(["psnrr"])


def test_openface_tables(setting, tmp_path):
    def table(name, value, rows=FRAMES):
        units = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
        lines = [",".join(["frame", "success", *(f"AU{u:02d}_r" for u in units)])]
        values = ",".join(str(value + 0.1 * (u > 9)) for u in units)
        lines += [f"{i},1,{values}" for i in range(rows)]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        return Path(tmp_path / name)

    files = table("a.csv", 1.0), table("b.csv", 1.5)
    found = by_name(judging.judge(replace(setting, openface=files), ["aue"]))
    assert found["aue_lower"].value == pytest.approx(9 * 0.25)
    assert found["aue_upper"].value == pytest.approx(8 * 0.25)
    absent = tmp_path / "pred.csv"
    lower, upper = judging.judge(replace(setting, openface=(absent, files[1])), ["aue"])
    assert (lower.name, upper.name) == ("aue_lower", "aue_upper")
    assert (
        f"missing: {absent}, get it from OpenFace 2.2: FeatureExtraction -aus -f {tmp_path / 'pred.mp4'}" in lower.text
    )
    with pytest.raises(UserError, match="has 60 rows and"):
        judging.judge(replace(setting, openface=(files[0], table("c.csv", 1.0, 7))), ["aue"])
    with pytest.raises(UserError, match="7 rows where 60 frames"):
        judging.judge(replace(setting, openface=(table("c.csv", 1.0, 7),) * 2), ["aue"])
