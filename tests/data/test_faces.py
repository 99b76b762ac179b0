"""Landmarkers, the followed face, gaps between detections; eyes that blink."""

import csv
import subprocess
import sys

import cv2
import numpy as np
import pytest

from jax_talker.data.blink import blink_from_openness, count_blinks, eye_openness, read_openface_blink
from jax_talker.data.faces import MAX_GAP, Face, _follow, fill_gaps, make_landmarker
from jax_talker.data.landmarks import AVERAGE_FACE, IBUG, MEDIAPIPE
from jax_talker.data.video import read_frames
from jax_talker.errors import UserError

BLACK = np.zeros((40, 40, 3), np.uint8)


def face_at(x, **kwargs):
    return Face(points=np.full((68, 2), float(x)), **kwargs)


def test_short_gaps_are_interpolated_and_counted():
    faces = [face_at(x) if x not in (3, 4, 5, 6, 7) else None for x in range(12)]
    track = fill_gaps(faces, fps=25)
    np.testing.assert_allclose(track.points[:, 0, 0], np.arange(12))
    assert track.detected.tolist() == [x not in (3, 4, 5, 6, 7) for x in range(12)]


def test_ends_are_repeated_and_everything_is_filled():
    faces = [None, None] + [
        face_at(x, depth=np.full(68, x / 2), rotation=np.eye(3) * x, scores=np.full(4, x, np.float32)) for x in (5, 6)
    ]
    track = fill_gaps(faces, fps=25)
    assert track.points[:, 3, 1].tolist() == [5, 5, 5, 6]
    assert track.depth[:, 0].tolist() == [2.5, 2.5, 2.5, 3]
    assert track.rotation[:, 0, 0].tolist() == [5, 5, 5, 6]
    assert track.scores[:, 0].tolist() == [5, 5, 5, 6]


def test_long_gaps_say_which_seconds():
    faces = [face_at(0)] * 25 + [None] * (MAX_GAP + 1) + [face_at(0)] * 25 + [None] * 10
    with pytest.raises(UserError, match=r"clip\.mp4: no face at 3\.00–3\.24 s, 4\.24–4\.64 s; .*--start") as error:
        fill_gaps(faces, fps=25, start=2.0, where="clip.mp4")
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="no face found in 7 frames"):
        fill_gaps([None] * 7, fps=25)


def test_the_largest_face_is_followed():
    box = lambda x, y, s: np.array([x, y, x + s, y + s], float)  # noqa: E731
    assert _follow(None, [box(0, 0, 10), box(50, 0, 30), box(0, 50, 20)]) == 1
    assert _follow(box(50, 0, 30), [box(0, 0, 60), box(52, 3, 28)]) == 1  # a larger one comes in
    assert _follow(box(50, 0, 30), [box(200, 0, 30)]) is None  # a cut to somebody else is a loss
    assert _follow(None, []) is None


def test_landmark_files(tmp_path):
    points = np.random.default_rng(0).uniform(0, 40, (3, 68, 2))
    points[1] = np.nan
    np.savez(tmp_path / "a.npz", landmarks=points, other=np.zeros(3))
    with make_landmarker(str(tmp_path / "a.npz")) as landmarker:
        found = [landmarker(BLACK) for _ in range(3)]
    np.testing.assert_array_equal(found[2].points, points[2])
    assert found[1] is None
    np.save(tmp_path / "deep.npy", np.zeros((3, 478, 3)))
    with make_landmarker(str(tmp_path / "deep.npy")) as landmarker:
        assert [landmarker(BLACK).depth.shape for _ in range(3)] == [(478,)] * 3


def test_bad_landmarkers_say_what_to_do(tmp_path, shared):
    np.savez(tmp_path / "short.npz", landmarks=np.zeros((2, 68, 2)))
    np.savez(tmp_path / "count.npz", landmarks=np.zeros((2, 98, 2)))
    np.savez(tmp_path / "flat.npz", landmarks=np.zeros((2, 136)))
    np.savez(tmp_path / "names.npz", a=np.zeros(3), b=np.zeros(3))
    (tmp_path / "text.npz").write_text("no array")
    (tmp_path / "text.task").write_text("no model")
    for kind, reason in {
        "count.npz": "98 landmarks are not known",
        "flat.npz": "must be .frames, points, 2 or 3.",
        "names.npz": "needs an array called 'landmarks', found .'a', 'b'.",
        "text.npz": "not a NumPy file",
        "absent.npz": "no such landmark file",
    }.items():
        with pytest.raises(UserError, match=reason):
            make_landmarker(str(tmp_path / kind))
    for ask, reason in (
        (dict(kind="mediapipe"), "--landmark-model"),
        (dict(kind="mediapipe", model=tmp_path / "absent.task"), "no such landmark model; .*--landmark-model.*https"),
        (dict(kind="mediapipe", model=tmp_path / "text.task"), "is not a face landmarker model"),
        (dict(kind="face-alignment"), "save its .T, 68, 2. points"),
        (dict(kind="dlib"), "unknown; use one of mediapipe"),
    ):
        with pytest.raises(UserError, match=reason) as error:
            make_landmarker(**ask)
        assert "\n" not in str(error.value)
    with make_landmarker(str(tmp_path / "short.npz")) as landmarker:
        for _ in range(2):
            landmarker(BLACK)
        with pytest.raises(UserError, match="2 frames, but the video has more"):
            landmarker(BLACK)
    landmarker = make_landmarker(str(tmp_path / "short.npz"))
    with pytest.raises(UserError, match="2 frames, but the video has 0"), landmarker:
        pass


def test_a_missing_system_library_is_named(monkeypatch, tmp_path):
    mediapipe = pytest.importorskip("mediapipe")

    def fails(options):
        raise OSError("libEGL.so.1: cannot open shared object file")

    monkeypatch.setattr(mediapipe.tasks.vision.FaceLandmarker, "create_from_options", fails)
    (tmp_path / "any.task").write_text("any")
    with pytest.raises(UserError, match=r"libEGL\.so\.1.*apt install libegl1.*--landmarks=FILE"):
        make_landmarker("mediapipe", model=tmp_path / "any.task")


def test_mediapipe_finds_the_face_and_stays_quiet(shared):
    """In a process of its own: what it must not do happens on file descriptor 2 and at the interpreter's exit."""
    program = f"""
import numpy as np
from jax_talker.data.faces import make_landmarker
from jax_talker.data.video import read_frames
frames = list(read_frames({str(shared / "clips" / "May_5s.mp4")!r}, duration=0.2))
with make_landmarker("mediapipe", model={str(shared / "models" / "face_landmarker.task")!r}) as landmarker:
    faces = [landmarker(f) for f in frames] + [landmarker(np.zeros_like(frames[0]))]
assert [f is not None for f in faces] == [True] * 5 + [False], faces
face = faces[0]
assert face.points.shape == (478, 2) and 100 < face.points.mean() < 400
assert face.depth.shape == (478,) and face.scores.shape == (52,) and len(landmarker.score_names) == 52
np.testing.assert_allclose(face.rotation @ face.rotation.T, np.eye(3), atol=1e-4)
assert face.rotation[1, 1] < -0.9 and face.rotation[2, 2] < -0.9  # y-up head in a y-down camera, looking at it
kept = landmarker  # alive at exit
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_of_two_faces_the_larger_is_followed(shared):
    frame = next(read_frames(shared / "clips" / "May_5s.mp4"))
    small = cv2.resize(frame, (300, 300), interpolation=cv2.INTER_AREA)
    both = np.full((512, 900, 3), 90, np.uint8)
    both[:, 350:862] = frame
    both[100:400, 20:320] = small
    with make_landmarker("mediapipe", model=shared / "models" / "face_landmarker.task") as landmarker:
        first = landmarker(both)
        assert first is not None
        assert first.points[:, 0].min() > 350
        shrunk = both.copy()
        shrunk[:, 350:] = 90
        shrunk[150:450, 450:750] = small  # the followed face is now no larger than the other
        again = landmarker(shrunk)
        assert again is not None
        assert again.points[:, 0].min() > 350


@pytest.mark.parametrize("scheme", [IBUG, MEDIAPIPE], ids=lambda s: s.name)
def test_schemes_are_consistent(scheme):
    count = {"ibug": 68, "mediapipe": 478}[scheme.name]
    assert set(scheme.points) == {*AVERAGE_FACE, "chin"}
    groups = (scheme.rigid, scheme.jaw, scheme.forehead, scheme.nose_line, *scheme.temples, *scheme.eyes_and_lips)
    for group in (*groups, *scheme.brows, *scheme.left_lids, *scheme.right_lids):
        assert all(0 <= i < count for i in group)
        assert len(set(group)) == len(group)
    assert not set(scheme.rigid) & {scheme.points["mouth_left"], scheme.points["mouth_right"]}
    assert scheme.points["chin"] in scheme.jaw
    assert scheme.points["nose_base"] in scheme.nose_line


def test_openness_does_not_depend_on_turn_or_size():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 100, (4, 68, 2))
    points[:, [43, 44, 37, 38]] = points[:, [47, 46, 41, 40]] - [0, 5]  # every lid gap is 5
    wide = points.copy()
    wide[2:] *= 2
    side, pitch = np.array([100.0, 100, 200, 200]), np.array([0.0, 60, 0, 60])
    np.testing.assert_allclose(eye_openness(wide, IBUG, side, pitch), [0.05, 0.1, 0.05, 0.1])


def test_blink_is_relative_to_the_person():
    openness = np.full(100, 0.03) + 0.001 * np.sin(np.arange(100))
    openness[40:44] = [0.018, 0.004, 0.004, 0.02]
    openness[80:83] = 0.004
    blink = blink_from_openness(openness)
    assert blink.dtype == np.float32
    assert count_blinks(blink) == 2
    assert blink[41] == blink[81] == 1
    assert blink[:38].max() < 0.15
    narrow = blink_from_openness(0.5 * openness)
    np.testing.assert_allclose(narrow, blink, atol=1e-6)
    never = blink_from_openness(np.full(100, 0.03) + 0.001 * np.sin(np.arange(100)))
    assert never.max() < 0.15  # noise is not stretched to blinks


def write_openface(path, times, values, header=("frame", " timestamp", " AU45_r")):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(
            [(i + 1, f"{t:.3f}", v)[: len(header)] for i, (t, v) in enumerate(zip(times, values, strict=True))]
        )


def test_openface_blink_is_found_by_time(tmp_path):
    times = np.arange(120) / 30
    values = np.arange(120) / 30  # AU45 grows by one a second, up to 4
    write_openface(tmp_path / "a.csv", times, values)
    blink = read_openface_blink(tmp_path / "a.csv", 50, fps=25, start=1.0)
    shown = np.floor((1 + np.arange(50) / 25) * 30 + 1e-6) / 30  # the source frame on screen
    np.testing.assert_allclose(blink, np.clip(shown, 0, 2) / 2, atol=1e-6)


def test_bad_openface_tables(tmp_path):
    write_openface(tmp_path / "short.csv", np.arange(10) / 25, np.zeros(10))
    write_openface(tmp_path / "other.csv", np.arange(10) / 25, np.zeros(10), (" frame", " timestamp", " AU12_r"))
    write_openface(tmp_path / "text.csv", np.arange(10) / 25, ["x"] * 10)
    for name, reason in {
        "absent.csv": "no such OpenFace CSV",
        "short.csv": r"covers 0\.00–0\.40 s, but the clip needs 0\.00–1\.96 s",
        "other.csv": "no AU45_r column",
        "text.csv": "not a number",
    }.items():
        with pytest.raises(UserError, match=reason):
            read_openface_blink(tmp_path / name, 50, fps=25)
    (tmp_path / "rows.csv").write_text(" AU45_r\n" + "1.0\n" * 49)
    with pytest.raises(UserError, match="49 rows without time stamps, but the clip has 50"):
        read_openface_blink(tmp_path / "rows.csv", 50, fps=25)
    np.testing.assert_allclose(read_openface_blink(tmp_path / "rows.csv", 49, fps=25), 0.5)
