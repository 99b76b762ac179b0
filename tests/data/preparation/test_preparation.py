"""A video becomes a clip folder: everything in it agrees, on a drawn head with known truth and on real people; and
whatever can be wrong with the input is said in one line, with nothing left behind."""

import json
import subprocess
import sys
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest

from data.preparation.conftest import SIZE, prepare
from jax_talker.data.camera.pose import euler_angles
from jax_talker.data.clip.clip import open_clip
from jax_talker.data.clip.clip_writer import ClipWriter
from jax_talker.data.preparation.options import Options
from jax_talker.data.read.footage import VideoFootage
from jax_talker.data.read.video import write_video
from jax_talker.data.track.blink import count_blinks
from jax_talker.data.track.landmarks import MEDIAPIPE
from jax_talker.errors import UserError


def test_a_clip_folder_is_complete(prepared):
    done, clip = prepared
    assert (clip.frames, clip.size) == (40, SIZE)
    assert {p.name for p in clip.root.iterdir()} == {
        "clip.json", "frames", "masks", "arrays.npz", "audio.wav", "SHA256SUMS", "findings.json", "contact_sheet.png",
        "report.html", "valid",
    }  # fmt: skip
    assert len(clip.audio()) == 40 * 640
    shapes = {name: a.shape for name, a in clip.arrays.items() if not name.startswith("stat_")}
    assert shapes == {
        "label": (40, 25), "blink": (40,), "landmarks": (40, 68, 2), "pose": (40, 3), "crop": (40, 3),
        "confidence": (40,), "eye_openness": (40,), "fit_error": (40,), "outside": (40,),
    }  # fmt: skip
    assert all(a.dtype == np.float32 for a in clip.arrays.values())
    assert clip.source["video"] == "head.mp4"
    assert (clip.source["landmarks"], clip.source["landmarks_from"]) == ("file", "points.npz")
    assert "/" not in json.dumps({**clip.source, "summary": ""})  # names, not folders
    assert done.summary.startswith("40 frames (1.6 s) at 96², yaw -")
    sheet = cv2.imread(str(clip.root / "contact_sheet.png"))
    assert sheet.shape[1] > 1000
    assert sheet.std() > 30


def test_poses_and_landmarks_are_true(drawn, prepared):
    truth, clip = drawn[0], prepared[1]
    error = clip.arrays["pose"] - euler_angles(truth.cam_from_world[:, :3, :3])
    assert np.abs(error).max() < 1.5  # degrees; exact landmarks, but smoothed, and the drawn lids drag none of them
    for t in (0, 13, 39):
        want = truth.crops[t].to_crop(truth.landmarks[t], SIZE)
        np.testing.assert_allclose(clip.arrays["landmarks"][t], want, atol=1.0)


def test_a_person_who_was_cut_out_before_keeps_that_matte(drawn, tmp_path):
    """ProRes 4444 with a pattern behind its alpha: nothing of it is seen, and the head ends where the alpha does."""
    clip, _, options = drawn
    pattern = np.kron(np.indices((12, 16)).sum(0) % 2, np.ones((20, 20), int))[..., None] * [255, -255, 255] + [
        0,
        255,
        0,
    ]
    video = tmp_path / "cut.mov"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("prores_ks", rate=25, options={"profile": "4444"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuva444p10le"
        for index, (picture, alpha) in enumerate(zip(clip.frames, clip.alpha, strict=True)):
            rgba = np.dstack([np.where(alpha[..., None] > 0, picture, pattern), alpha]).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(rgba, "rgba").reformat(format="yuva444p10le")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    found = prepare(video, tmp_path / "own", options, sound_path=drawn[1])
    given = prepare(video, tmp_path / "given", replace(options, matte=str(video)), sound_path=drawn[1])
    for done in (found, given):
        made = open_clip(done.root)
        for t in range(0, 40, 5):
            red, green, blue = np.moveaxis(made.image(t).astype(int), -1, 0)
            assert ((green - np.maximum(red, blue) > 60) | (np.minimum(red, blue) - green > 60)).mean() == 0
            head, true = made.masks(t)[..., 2], clip.crops[t].cut(clip.alpha[t][..., None], SIZE)[..., 0]
            above = round(made.arrays["landmarks"][t, 8, 1])  # the neck fades out below the chin
            off = np.abs(head.astype(int) - true)[:above]
            assert off.mean() < 6  # of 255: an edge of a few pixels, where the crop is smoothed


def test_blinks_are_where_they_were_drawn(prepared):
    blink = prepared[1].arrays["blink"]
    assert count_blinks(blink) == 1
    assert blink[20:23].min() > 0.9
    assert np.delete(blink, range(20, 23)).max() < 0.3


def test_sound_stays_with_the_picture(prepared):
    loud = np.flatnonzero(np.abs(prepared[1].audio()) > 0.2)
    assert loud[0] / 16_000 == pytest.approx(0.8, abs=0.01)


def test_a_part_is_cut_out(drawn, tmp_path):
    clip, video, options = drawn
    np.savez(tmp_path / "part.npz", clip.landmarks[15:30])
    part = replace(options, landmarks=str(tmp_path / "part.npz"), matte="none")
    prepare(video, tmp_path / "out", part, start=0.6, duration=0.6)
    out = open_clip(tmp_path / "out")
    assert out.frames == 15
    assert np.flatnonzero(np.abs(out.audio()) > 0.2)[0] / 16_000 == pytest.approx(0.2, abs=0.01)
    assert out.masks(0)[..., 2].min() == 255  # --matte=none keeps the background
    want = clip.crops[15].cut(clip.frames[15], SIZE).astype(int)
    assert np.abs(out.image(0) - want).mean() < 6


def test_a_lost_face_is_interpolated_or_named(drawn, tmp_path):
    clip, video, options = drawn
    points = clip.landmarks.copy()
    points[[7, 8, 30]] = np.nan
    np.savez(tmp_path / "gaps.npz", points)
    done = prepare(video, tmp_path / "out", replace(options, landmarks=str(tmp_path / "gaps.npz")))
    assert [f.end - f.begin for f in done.findings if f.kind == "face_gap"] == pytest.approx([0.08, 0.04])
    arrays = open_clip(tmp_path / "out").arrays
    assert np.flatnonzero(arrays["confidence"] == 0).tolist() == [7, 8, 30]
    assert np.isfinite(arrays["landmarks"]).all()
    points[20:28] = np.nan
    np.savez(tmp_path / "gaps.npz", points)
    with pytest.raises(UserError, match=r"head\.mp4: the longest part .* no face for 0\.32 s \(0:00\.80\)"):
        prepare(video, tmp_path / "lost", replace(options, landmarks=str(tmp_path / "gaps.npz")))
    assert not (tmp_path / "lost").exists()


def test_missing_sound_shortens_the_clip_and_says_so(drawn, beeps, tmp_path):
    clip, _, options = drawn
    video = write_video(tmp_path / "short.mp4", clip.frames, sound=beeps(1.0, [0.5]))
    done = prepare(video, tmp_path / "out", replace(options, matte="none"))
    assert any("sound ends" in finding.message for finding in done.findings)
    assert open_clip(tmp_path / "out").frames == pytest.approx(25, abs=2)  # AAC's padding counts as sound
    mute = write_video(tmp_path / "mute.mp4", clip.frames)
    prepare(mute, tmp_path / "given", replace(options, matte="none"), sound_path=drawn[1])
    assert np.abs(open_clip(tmp_path / "given").audio()).max() > 0.2


def test_bad_input_leaves_nothing(drawn, tmp_path, beeps):
    clip, video, options = drawn
    mute = write_video(tmp_path / "mute.mp4", clip.frames)
    (tmp_path / "empty.mp4").touch()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    tiny = write_video(tmp_path / "tiny.mp4", [np.zeros((2, 3, 3), np.uint8)] * 40, sound=beeps(1.6, [0]))
    np.savez(tmp_path / "none.npz", np.full((40, 68, 2), np.nan))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("mine")
    before = sorted(p.name for p in tmp_path.iterdir())
    for change, reason in (
        (dict(video=tmp_path / "absent.mp4"), "absent.mp4: no such file"),
        (dict(video=tmp_path / "empty.mp4"), r"empty \(0 bytes\)"),
        (dict(video=cut), r"damaged or cut off after|cut off before its index"),
        (dict(video=mute), "mute.mp4: has no sound track"),
        (dict(video=tiny, landmarks=str(tmp_path / "none.npz")), "no face found in 40 frames"),
        (dict(landmarks="mediapipe"), "--landmark-model"),
        (dict(start=5.0), "nothing from 5 s on"),
        (dict(matte="modnet"), "--matte=modnet"),
        (dict(blink=tmp_path / "absent.csv"), "no such OpenFace CSV"),
        (dict(out=tmp_path / "taken"), "taken: exists already; pass --overwrite"),
        (dict(out=tmp_path / "taken", overwrite=True), "is not a clip folder, so it is not overwritten"),
    ):
        given = {"video": video, "out": tmp_path / "new" / "clip", "start": 0.0, **change}
        video_, out, start = (given.pop(name) for name in ("video", "out", "start"))
        with pytest.raises(UserError, match=reason) as error:
            prepare(video_, out, replace(options, **given), start=start)
        assert "\n" not in str(error.value)
        assert sorted(p.name for p in tmp_path.iterdir()) == before
    assert (tmp_path / "taken" / "thesis.txt").read_text() == "mine"
    with pytest.raises(UserError, match="size must be at least 32"):
        replace(options, size=8)


def test_overwriting_replaces_a_whole_clip(drawn, tmp_path):
    _, video, options = drawn
    for matte, white in (("none", 0), ("auto", 0.05)):
        chosen = replace(options, matte=matte, overwrite=True)
        prepare(video, tmp_path / "out", chosen)
        clip = open_clip(tmp_path / "out")
        assert (clip.image(0) == 255).mean() >= white
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def contents(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_the_second_run_does_nothing(drawn, prepared, monkeypatch):
    _, video, options = drawn
    done, clip = prepared
    before = {p: p.stat().st_mtime_ns for p in clip.root.rglob("*")}
    monkeypatch.setattr("jax_talker.data.preparation.preparation.detect", None)  # it is not even looked at
    again = prepare(video, clip.root, options)
    assert (done.new, again.new) == (True, False)
    assert (again.frames, again.summary, again.findings) == (done.frames, done.summary, done.findings)
    assert {p: p.stat().st_mtime_ns for p in clip.root.rglob("*")} == before
    with pytest.raises(UserError, match="made of other files or with other options"):
        prepare(video, clip.root, replace(options, size=64))


@pytest.mark.parametrize(("stage", "workers"), [("detection", 3), ("cutting", 1)])
def test_interrupted_work_ends_as_it_would_have(drawn, prepared, tmp_path, monkeypatch, stage, workers):
    """Stopped after some chunks of either stage, started again: every file is the same, and chunks that were done are
    not done again. The number of threads changes nothing."""
    _, video, options = drawn
    options = replace(options, workers=workers)
    module = {"detection": "track.detection", "cutting": "cut.cutting"}[stage]
    monkeypatch.setattr(f"jax_talker.data.{module}.CHUNK", 16)
    reference, out = tmp_path / "a" / "clip", tmp_path / "b" / "clip"
    prepare(video, reference, options)
    original, count = VideoFootage.pictures, 0

    def stopping(self, first=0):
        nonlocal count
        count += 1
        for index, picture in enumerate(original(self, first)):
            if count == {"detection": 1, "cutting": 3}[stage] and index == 34:
                raise KeyboardInterrupt
            yield picture

    monkeypatch.setattr(VideoFootage, "pictures", stopping)
    with pytest.raises(KeyboardInterrupt):
        prepare(video, out, options)
    assert not out.exists()
    (unfinished,) = out.parent.glob(".clip.*.partial")
    firsts = []
    monkeypatch.setattr(VideoFootage, "pictures", lambda self, first=0: firsts.append(first) or original(self, first))
    prepare(video, out, options)
    assert not unfinished.exists()
    got, want = contents(out), contents(reference)
    assert got.keys() == want.keys()
    assert not {name for name in got if got[name] != want[name]}
    assert firsts[0] == {"detection": 16, "cutting": 0}[stage]  # cutting: colours are learnt from the beginning
    assert firsts[-1] == {"detection": 0, "cutting": 28}[stage]  # 4 frames warm the matte up


def test_an_unfinished_clip_never_appears(tmp_path):
    def interrupted():
        with ClipWriter(tmp_path / "a" / "b" / "c", size=64, source={}) as writer:
            writer.add(np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 3), np.uint8))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def run(*flags):
    command = [sys.executable, "-m", "jax_talker.prepare", *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_program(drawn, tmp_path):
    _, video, options = drawn
    done = run("--video", video, "--out", tmp_path / "clip", f"--landmarks={options.landmarks}", "--size=64")
    assert done.returncode == 0, done.stderr
    assert "40 frames (1.6 s) at 64²" in done.stdout
    assert "contact_sheet.png" in done.stdout
    assert open_clip(tmp_path / "clip").size == 64
    bad = run("--video", tmp_path / "absent.mp4", "--out", tmp_path / "clip2", "--landmark-model", "x")
    assert bad.returncode == 2
    assert bad.stderr == f"error: {tmp_path / 'absent.mp4'}: no such file\n"
    assert bad.stdout == ""


@pytest.mark.parametrize(
    ("name", "start", "yaw"),
    [("May_5s", 0.0, (-4, 8)), ("WDA_KatieHill_000", 1.0, (-5, 24)), ("expressive_30fps", 7.0, (-8, 5))],
)
def test_real_people(shared, tmp_path, name, start, yaw):
    model = shared / "models" / "face_landmarker.task"
    options = Options(landmark_model=model, size=128)
    done = prepare(shared / "clips" / f"{name}.mp4", tmp_path / "out", options, start=start, duration=1.0)
    clip = open_clip(tmp_path / "out")
    assert clip.frames == 25
    assert clip.arrays["landmarks"].shape == (25, 478, 2)
    assert clip.arrays["landmarks_3d"].shape == (25, 478, 3)
    assert clip.arrays["expression"].shape == (25, 52)
    pose = clip.arrays["pose"]
    assert yaw[0] < pose[:, 0].min() < pose[:, 0].max() < yaw[1]
    assert clip.arrays["fit_error"].mean() < 1.0  # px of 128: 4 at 512
    anchors = MEDIAPIPE.anchors(clip.arrays["landmarks"]).mean(0) / 128
    np.testing.assert_allclose(anchors[:2, 1], 0.375, atol=0.04)  # where EG3D's crops have the eyes
    np.testing.assert_allclose(anchors[0, 0] - anchors[1, 0], 0.266, atol=0.04)  # and how far apart
    head = np.stack([clip.masks(t)[..., 2] for t in (0, 24)]) / 255
    assert 0.35 < head.mean() < 0.95
    assert head[:, :8, :4].mean() < 0.9 or head[:, :8, -4:].mean() < 0.9  # not the whole picture
    for t in (0, 24):
        assert head[t // 24][clip.masks(t)[..., 1] == 255].mean() > 0.95
    assert done.frames == 25


def test_poses_are_refined_on_pixels_unless_asked_not_to(shared, tmp_path):
    """How well is measured with known cameras (tests/data/camera/test_photometric.py); here, that it is done."""
    clips = {}
    for refine in (True, False):
        options = Options(landmark_model=shared / "models" / "face_landmarker.task", size=64, refine=refine)
        video = shared / "clips" / "WDA_KatieHill_000.mp4"
        prepare(video, tmp_path / str(refine), options, start=1.0, duration=1.0)
        clips[refine] = open_clip(tmp_path / str(refine))
        assert clips[refine].source["refined"] is refine
    pose, crop = (np.abs(clips[True].arrays[n] - clips[False].arrays[n]).max(0) for n in ("pose", "crop"))
    assert (pose > 0.05).all(), pose  # degrees
    assert (pose < 4).all(), pose
    assert (crop > 0.2).all(), crop  # px of 512
    assert (crop < 20).all(), crop
