"""Protocols without a trained head: its place is taken by one that shows the truth, changed in known ways."""

import numpy as np
import pytest
import soundfile
from app.judging.fakes import CONFIG, FRAMES, SIZE, FakeClip, FakeSpeaker

from jax_talker.app import talking
from jax_talker.app.judging import action_units, ceilings, comparison, protocols, tables
from jax_talker.app.judging.head import video_name
from jax_talker.app.judging.pictures import Pictures
from jax_talker.app.judging.score import Missing, Score
from jax_talker.app.judging.weights import Weights
from jax_talker.errors import UserError

TEST = np.arange(40, FRAMES)


class Head(protocols.Head):
    """Shows the truth of the camera that the script names (its label is the clip's seed), each pixel too bright; ten
    times as much where it stands still."""

    def shown(self, name, script):
        error = int(self.name.rpartition("_")[2]) * (10 if script.coefficients is not None else 1)
        seed = int(script.label[0, 0]) if script.truth is not None else 0
        make = lambda: ((FakeClip(seed).image(i) + error).astype(np.uint8) for i in TEST)  # noqa: E731
        return Pictures(f"{self.name}, {name}", make, len(TEST), lambda: script.sound, video_name(self.name, name))


@pytest.fixture
def head(tmp_path):
    def make(name, clip=None, **more):
        return Head(name, CONFIG, FakeSpeaker(), clip or FakeClip(), Weights(tmp_path), **more)

    return make


def run(protocol, heads, names, **more):
    bar = lambda items, label, total: items  # noqa: E731
    return {r.name: r.results for r in protocols.rows(protocol, heads, names, audio=more.get("audio", []), bar=bar)}


def test_self(head):
    found = run("self", [head("off_4"), head("off_2")], ["psnr", "ssim", "lpips_alex"])
    still = ["Still anchor of off_4", "Still anchor of off_2"]
    assert list(found) == [protocols.TRUTH, ceilings.ENCODED, "Mean frame", "Nearest pose", *still, "off_4", "off_2"]
    names = [result.name for result in found["off_2"][""]]
    assert names == ["psnr", "ssim", "lpips_alex", "psnr_face", "psnr_lower", "psnr_upper"]
    assert found["off_2"][""][-1].value == pytest.approx(20 * np.log10(255 / 2))
    values = {name: results[""][0].value for name, results in found.items()}
    assert values[protocols.TRUTH] == np.inf
    assert values["off_4"] == pytest.approx(20 * np.log10(255 / 4))
    assert values["off_2"] == pytest.approx(20 * np.log10(255 / 2))
    assert 5 < values[ceilings.ENCODED] < 40  # of noise the encoder leaves little
    assert len(found[ceilings.ENCODED][""][0].per_frame) == len(TEST)
    assert isinstance(found["off_2"][""][2], Missing)


def test_every_camera_is_compared_with_its_own_truth(head):
    found = run("mead", [head("off_4")], ["psnr"])
    assert list(found["off_4"]) == ["front", "left", "right", protocols.MEAN_VIEW]
    for camera, results in found["off_4"].items():
        assert results[0].value == pytest.approx(20 * np.log10(255 / 4)), camera
        assert found[protocols.TRUTH][camera][0].value == np.inf
    with pytest.raises(UserError, match="no further cameras"):
        run("mead", [head("off_4", FakeClip(views=()))], ["psnr"])


def test_angles_are_in_the_columns_and_the_mean_is_of_further_cameras(head):
    found = run("angles", [head("off_4", FakeClip(1))], ["psnr"])
    assert list(found["off_4"]) == ["front, 0°", "left, 0°", "right, 0°", protocols.MEAN_VIEW]
    still = "Still anchor of off_4"
    assert list(found) == [protocols.TRUTH, ceilings.ENCODED, "Mean frame", "Nearest pose", still, "off_4"]
    assert all(list(found[name]) == list(found["off_4"]) for name in ("Mean frame", "Nearest pose", still))
    assert found["off_4"][protocols.MEAN_VIEW][0].value == pytest.approx(20 * np.log10(255 / 4))


def test_films_and_sheets_are_kept(head):
    judged = head("off_4")
    run("self", [judged], ["psnr"])
    run("novel_view", [judged], ["jaw"])
    assert set(judged.sheets) == {"off_4", "off_4_spiral"}
    assert set(judged.films) == {"off_4_beside", *(f"off_4_{view}" for view in protocols.VIEWS)}
    film = judged.films["off_4_beside"]
    shown = list(film.frames())
    assert film.count == len(TEST) == len(shown)
    np.testing.assert_array_equal(shown[0][:, :SIZE], judged.clip.image(TEST[0]))
    np.testing.assert_array_equal(shown[0][:, SIZE:], judged.clip.image(TEST[0]) + 4)
    assert next(judged.films["off_4_spiral"].frames()).shape == (SIZE, 2 * SIZE, 3)
    assert next(judged.films["off_4_(+30°, +30°)"].frames()).shape == (SIZE, SIZE, 3)
    assert len(film.sound) == len(TEST) * 640


def openface(path, intensity):
    units = [unit for part in action_units.AUE_UNITS.values() for unit in part]
    lines = [",".join(["frame", *(f"AU{unit:02d}_r" for unit in units)])]
    lines += [",".join(map(str, [i, *[intensity] * len(units)])) for i in range(len(TEST))]
    path.write_text("\n".join(lines) + "\n")


def test_aue_takes_two_calls(head, tmp_path):
    """The first tells which videos OpenFace has to see, and names each CSV that is missing; the second has numbers."""
    judged = head("off_4", openface=tmp_path)
    found = run("self", [judged], ["aue"])
    csvs = {
        protocols.TRUTH: "truth",
        "Mean frame": "Mean_frame",
        "Nearest pose": "Nearest_pose",
        "Still anchor of off_4": "Still_anchor_of_off_4",
        "off_4": "off_4",
    }
    assert set(judged.videos) == set(csvs.values())
    np.testing.assert_array_equal(next(judged.videos["off_4"].frames()), judged.clip.image(TEST[0]) + 4)
    np.testing.assert_array_equal(next(judged.videos["truth"].frames()), judged.clip.image(TEST[0]))
    for row, name in csvs.items():
        assert f"missing: {tmp_path / name}.csv, get it from OpenFace" in found[row][""][0].text
    assert found[ceilings.ENCODED][""] == []
    for name, intensity in {"truth": 1.0, "off_4": 1.5, "Mean_frame": 3.0}.items():
        openface(tmp_path / f"{name}.csv", intensity)
    found = run("self", [judged], ["aue"])
    values = {row: [r.value for r in results[""] if isinstance(r, Score)] for row, results in found.items()}
    assert values[protocols.TRUTH] == [0, 0]
    assert values["off_4"] == pytest.approx([9 * 0.25, 8 * 0.25])
    assert values["Mean frame"] == pytest.approx([9 * 4, 8 * 4])
    assert values["Nearest pose"] == []


def test_each_camera_has_videos_of_its_own(head, tmp_path):
    judged = head("off_4", openface=tmp_path)
    run("mead", [judged], ["aue"])
    assert {"truth_front", "truth_left", "off_4_right", "Mean_frame_left"} < set(judged.videos)
    np.testing.assert_array_equal(next(judged.videos["truth_left"].frames()), judged.clip.view("left").image(TEST[0]))
    views = head("off_2", openface=tmp_path)
    run("novel_view", [views], ["aue"])
    assert {name for name in views.videos if name.startswith("truth")} == {"truth"}


def test_the_mean_is_over_further_cameras():
    score = lambda value: [Score("psnr", "PSNR", value, better="higher")]  # noqa: E731
    lost = [Missing("psnr", "PSNR", "a", "b")]
    found = protocols.with_mean({"front": score(1.0), "a": score(10.0), "b": score(20.0)})
    assert found[protocols.MEAN_VIEW][0].value == 15
    assert protocols.with_mean({"front": lost, "a": lost, "b": lost})[protocols.MEAN_VIEW] == lost


def test_novel_views_have_the_papers_columns(head, monkeypatch):
    cameras = []
    original = talking.script_of_clip

    def script_of_clip(clip, indices, camera):
        cameras.append(camera)
        return original(clip, indices, camera)

    monkeypatch.setattr(talking, "script_of_clip", script_of_clip)
    found = run("novel_view", [head("off_4")], ["jaw", "fid"])
    assert list(found["off_4"]) == ["(+30°, +30°)", "(+20°, +20°)", "(-20°, -20°)", "(-30°, -30°)", "spiral"]
    wanted = {"yaw=30,pitch=30", "yaw=20,pitch=20", "yaw=-20,pitch=-20", "yaw=-30,pitch=-30", "spiral"}
    assert wanted == set(cameras) - {"clip"}
    columns = ["jaw_correlation", "jaw_lag", "fid"]
    assert all([r.name for r in results] == columns for results in found["off_4"].values())
    assert all(isinstance(result, Missing) for results in found["off_4"].values() for result in results)
    assert list(found) == [protocols.TRUTH, ceilings.ENCODED, "Still anchor of off_4", "off_4"]
    assert list(found["Still anchor of off_4"]) == list(found["off_4"])


def test_from_novel_views_nothing_is_compared_by_its_place_in_the_picture(head):
    """The truth was seen from another camera."""
    found = run("novel_view", [head("off_4")], ["jitter"])
    assert {r.name for results in found["off_4"].values() for r in results} == {"jitter"}
    assert {r.name for r in run("self", [head("off_4")], ["jitter"])["off_4"][""]} == {"jitter", "jitter_error"}
    for name in ("psnr", "lpips_vgg", "lmd"):
        with pytest.raises(UserError, match=f"{name} needs what the same camera filmed"):
            run("novel_view", [head("off_4")], ["jitter", name])


def test_generalization(head, tmp_path):
    soundfile.write(tmp_path / "other.wav", np.sin(np.arange(32000) / 5), 16000)
    found = run("generalization", [head("off_4")], ["sync"], audio=[tmp_path / "other.wav"])
    assert list(found["off_4"]) == ["other.wav"]
    for row in ("off_4", "Still anchor of off_4"):
        assert [r.name for r in found[row]["other.wav"]] == ["sync_c", "sync_d", "sync_offset"]
    with pytest.raises(UserError, match="needs --audio"):
        run("generalization", [head("off_4")], ["sync"])
    with pytest.raises(UserError, match="psnr needs a truth"):
        run("generalization", [head("off_4")], ["psnr"], audio=[tmp_path / "other.wav"])


def test_other_clips_are_not_compared(head):
    with pytest.raises(UserError, match="not comparable"):
        run("self", [head("off_4"), head("off_2", FakeClip(1))], ["psnr"])
    with pytest.raises(UserError, match="there is no 'selfie'"):
        run("selfie", [head("off_4")], ["psnr"])


def test_differences_name_the_best():
    rng = np.random.default_rng(0)
    base = rng.normal(30, 3, 200)
    frames = {"a": base, "b": base - 1 + rng.normal(0, 0.1, 200), "c": base - 0.001 + rng.normal(0, 1, 200)}
    rows = [
        tables.Row(n, {"": [Score("psnr", "PSNR", f.mean(), "dB", "higher", f), Score("x", "X", 1.0)]})
        for n, f in {**frames, "Ground truth": base + 9}.items()
    ]
    lines = comparison.differences(tables.Table("", rows, {}), ["a", "b", "c"])
    best = max(frames, key=lambda n: frames[n].mean())
    other = {"a": "c", "c": "a"}[best]
    assert "95 % intervals" in lines[0]
    assert len(lines) == 3
    assert any(line.startswith(f"PSNR: b − {best} = -") and "told apart" not in line for line in lines)
    assert any(line.startswith(f"PSNR: {other} − {best}") and line.endswith("not told apart") for line in lines)
    assert comparison.differences(tables.Table("", rows, {}), ["a"]) == []


def test_too_few_frames_for_an_interval_are_said():
    score = lambda frames: [Score("psnr", "PSNR", np.nanmean(frames), "dB", "higher", frames)]  # noqa: E731
    base = np.arange(60.0)
    base[:20] = np.nan
    rows = [tables.Row(name, {"front": score(base + k), "left": score(np.arange(60.0))}) for k, name in enumerate("ab")]
    lines = comparison.differences(tables.Table("", rows, {}), ["a", "b"])
    assert lines[1].startswith("left: PSNR: ")
    assert lines[-1] == "Without intervals, which need 50 frames that both know: front: PSNR (40)"
