"""MEAD: every packaging gives the same clip, what does not fit is refused by name, time does not drift."""

import shutil
import tarfile

import numpy as np
import pytest

from data import mead_miniature as mead
from jax_talker.data.camera.calibration import calibrate
from jax_talker.data.camera.pose import track_head
from jax_talker.data.clip.clip import SAMPLE_RATE, open_clip
from jax_talker.data.preparation.options import Options
from jax_talker.data.preparation.preparation import prepare_clip
from jax_talker.data.read.audio import load_sound
from jax_talker.data.read.mead import open_mead
from jax_talker.data.read.mead.archives import find_files
from jax_talker.data.read.mead.recordings import Key, spread
from jax_talker.data.read.video import write_video
from jax_talker.data.track.landmarkers import make_landmarker
from jax_talker.data.track.landmarks import IBUG
from jax_talker.errors import UserError

VIEWS = ("front", "left_30", "top")
# name → source frames at 30 fps, beep at (s). 31 and 44 frames are no whole number of frames at 25 fps.
RECORDINGS = {"angry/level_1/001": (31, 0.5), "angry/level_1/002": (44, 0.8), "neutral/level_1/001": (30, 0.2)}
FRAMES = {"angry/level_1/001": 26, "angry/level_1/002": 37, "neutral/level_1/001": 25}  # round(n/30 · 25)
ORDER = ["angry/level_1/001", "neutral/level_1/001", "angry/level_1/002"]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """One person's painted recordings as plain files; read only."""
    folder = tmp_path_factory.mktemp("unpacked")
    for number, (name, (frames, at)) in enumerate(RECORDINGS.items()):
        views = {view: mead.painted(v, number, frames) for v, view in enumerate(VIEWS)}
        mead.write_recording(folder, name, views, mead.beep(frames / 30, at))
    return folder


@pytest.fixture
def person(unpacked, tmp_path):
    """M003's folder below a root, writable, as plain files."""
    root = tmp_path / "MEAD"
    mead.pack_folders(unpacked, root / "M003")
    return root


def replace_video(root, view, name, frames, size=(104, 24)):
    path = root / "M003" / "video" / view / f"{name}.mp4"
    path.unlink()
    write_video(path, mead.painted(0, 0, frames, size), fps=30)


def names(session):
    return [str(r.key) for r in session.recordings]


def lines(session):
    return [f"{f.kind}: {f.message}" for f in session.findings]


# ---------------------------------------------------------------------------------------------------------------------
# Packaging


@pytest.mark.parametrize("packaging", mead.PACKAGING)
def test_every_packaging_gives_the_same_clip(unpacked, tmp_path, packaging):
    mead.PACKAGING[packaging](unpacked, tmp_path / "M042")
    session = open_mead(tmp_path, "M042", VIEWS)
    assert names(session) == ORDER
    assert not session.findings
    for v, (view, footage) in enumerate(session.footage.items()):
        assert view == VIEWS[v]
        seen = [mead.read_painted(picture) for picture in footage.pictures()]
        expected = [(v, list(RECORDINGS).index(name), i * 30 // 25) for name in ORDER for i in range(FRAMES[name])]
        assert seen == expected


def test_an_unpacked_file_goes_before_its_archive_unless_it_is_broken(unpacked, tmp_path):
    """An interrupted tar -x leaves whole files and one that is cut off."""
    mead.pack_plain(unpacked, tmp_path / "M003")
    for view in VIEWS:
        folder = tmp_path / "M003" / "video" / view / "angry" / "level_1"
        folder.mkdir(parents=True)
        whole = (unpacked / "video" / view / "angry/level_1/001.mp4").read_bytes()
        (folder / "001.mp4").write_bytes(whole if view == "front" else whole[: len(whole) // 2])
    session = open_mead(tmp_path, "M003", VIEWS)
    assert names(session) == ORDER
    stored = [session.footage[view].videos[0] for view in VIEWS]
    assert [s.offset == 0 for s in stored] == [True, False, False]


@pytest.mark.parametrize("place", ["Part0/M003", "M003"])
def test_the_identity_is_found_in_parts_and_as_the_root_itself(unpacked, tmp_path, place):
    mead.pack_folders(unpacked, tmp_path / place)
    root = tmp_path if place != "M003" else tmp_path / place
    assert len(open_mead(root, "M003").recordings) == 3


def test_a_person_spread_over_two_parts_is_put_together(unpacked, tmp_path):
    mead.pack_folders(unpacked / "video", tmp_path / "Part0" / "M003" / "video")
    mead.pack_folders(unpacked / "audio", tmp_path / "Part1" / "M003" / "audio")
    assert names(open_mead(tmp_path, "M003", VIEWS)) == ORDER


def test_archives_are_never_unpacked_by_their_names(unpacked, tmp_path):
    """Names that climb out, links and devices: nothing is written, nothing of them is used."""
    root = tmp_path / "MEAD"
    mead.pack_plain(unpacked, root / "M003")
    archive = root / "M003" / "video.tar"
    video = (unpacked / "video/front/angry/level_1/001.mp4").read_bytes()
    mead.add_member(archive, "../../../escaped/front/angry/level_1/007.mp4", video)
    mead.add_member(archive, "video/front/angry/level_1/008.mp4", kind=tarfile.SYMTYPE)
    mead.add_member(archive, "video/front/angry/level_1/009.mp4", kind=tarfile.CHRTYPE)
    before = sorted(tmp_path.rglob("*"))
    session = open_mead(root, "M003", VIEWS)
    for footage in session.footage.values():
        assert len(list(footage.pictures())) == footage.expected_frames
    assert names(session) == ORDER
    assert [f.kind for f in session.findings] == ["archive"]
    assert "escaped/front/angry/level_1/007.mp4: its name leaves the archive" in session.findings[0].message
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("cut", [0.3, 0.6])
def test_a_download_that_was_cut_off_gives_what_it_holds(unpacked, tmp_path, cut):
    mead.pack_plain(unpacked, tmp_path / "M003")
    archive = tmp_path / "M003" / "video.tar"
    archive.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * cut)])
    files, problems = find_files(tmp_path / "M003")
    assert 1 <= sum(f.name.endswith(".mp4") for f in files) < 9
    assert all("video.tar" in p.where for p in problems)
    assert any("cut off" in p.what or "ends" in p.what for p in problems)
    stored = next(f for f in files if f.name.endswith(".mp4"))
    with stored.open() as file:
        assert len(file.read()) == stored.size


def test_what_is_no_archive_is_named(unpacked, tmp_path):
    mead.pack_plain(unpacked, tmp_path / "M003")
    (tmp_path / "M003" / "video_2.tar").write_bytes(b"<html>quota exceeded</html>" * 100)
    (tmp_path / "M003" / "video_3.tar").write_bytes(b"")
    session = open_mead(tmp_path, "M003", VIEWS)
    assert names(session) == ORDER
    assert ["M003/video_2.tar: no tar archive" in f.message for f in session.findings] == [True, False]
    assert "M003/video_3.tar" in session.findings[1].message


def test_temporary_files_are_removed(unpacked, tmp_path, monkeypatch):
    mead.pack_plain(unpacked, tmp_path / "M003")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    front = open_mead(tmp_path, "M003").footage["front"]
    pictures = front.pictures()
    next(pictures)
    assert len(list(scratch.rglob("*.mp4"))) == 1
    pictures.close()
    front.sound()
    assert not list(scratch.iterdir())


# ---------------------------------------------------------------------------------------------------------------------
# Joined footage


def test_recordings_keep_their_own_clocks(unpacked, tmp_path):
    """Picture i of a recording is what a player shows at i/25 s, its sound begins with it, and nothing drifts."""
    mead.pack_plain(unpacked, tmp_path / "M003")
    front = open_mead(tmp_path, "M003").footage["front"]
    assert [path.name for path in front.files()] == ["audio.tar", "video.tar"]
    assert front.boundaries == (26, 51)
    assert front.expected_frames == 26 + 25 + 37
    sound = front.sound()
    assert len(sound) == front.expected_frames * SAMPLE_RATE // 25
    for recording in front.recordings:
        first, last = (n * SAMPLE_RATE // 25 for n in (recording.first, recording.first + recording.frames))
        loud = np.flatnonzero(np.abs(sound[first:last]) > 0.3)
        at = RECORDINGS[str(recording.key)][1]
        assert loud[0] / SAMPLE_RATE == pytest.approx(at, abs=0.003)  # AAC smears a beep by a fraction of 1024 samples
        assert loud[-1] / SAMPLE_RATE == pytest.approx(at + 0.02, abs=0.003)


def test_pictures_can_begin_anywhere(person):
    front = open_mead(person, "M003").footage["front"]
    everything = [mead.read_painted(p) for p in front.pictures()]
    for first in (1, 25, 26, 27, 51, 87):
        assert [mead.read_painted(p) for p in front.pictures(first)] == everything[first:]


def test_the_order_gives_every_stretch_all_emotions():
    """30 recordings of each emotion, 40 neutral ones: the held-out eleventh has all of them in proportion."""
    keys = [Key(e, k, n) for e in ("angry", "happy") for k in (1, 2, 3) for n in range(1, 31)]
    keys += [Key("neutral", 1, n) for n in range(1, 41)]
    tail = spread(keys)[-len(keys) // 11 :]
    counts = [sum(k.emotion == e for k in tail) for e in ("angry", "happy", "neutral")]
    assert counts == pytest.approx([90 / 11, 90 / 11, 40 / 11], abs=1.1)
    assert spread(keys) == spread(reversed(keys))


def test_a_limit_on_the_length_keeps_whole_recordings(person):
    session = open_mead(person, "M003", most_seconds=2.5)
    assert names(session) == ORDER[:2]
    assert names(open_mead(person, "M003", most_seconds=0.1)) == ORDER[:1]  # never nothing


def test_the_description_says_where_everything_lies(person):
    told = open_mead(person, "M003", VIEWS).footage["top"].describe()
    assert told["recordings"][1] == {"name": "neutral/level_1/001", "first": 26, "frames": 25}
    assert (told["dataset"], told["identity"], told["view"], told["fps"]) == ("MEAD", "M003", "top", 30.0)
    assert str(person) not in str(told)


# ---------------------------------------------------------------------------------------------------------------------
# What does not fit is refused by name, and the rest is used


def test_missing_sound_and_missing_views_are_named(person):
    (person / "M003/audio/angry/level_1/001.m4a").unlink()
    (person / "M003/video/top/angry/level_1/002.mp4").unlink()
    session = open_mead(person, "M003", VIEWS)
    assert names(session) == ["neutral/level_1/001"]
    assert lines(session) == [
        "sound_missing: M003 audio/angry/level_1/001: there is no sound for this video",
        "view_missing: M003 top/angry/level_1/002: there is no such video",
    ]
    assert "1 recordings" in session.summary()
    assert "2 left out" in session.summary()
    assert names(open_mead(person, "M003", ("front", "left_30"))) == ["neutral/level_1/001", "angry/level_1/002"]


@pytest.mark.parametrize(("frames", "kept"), [(31, True), (29, True), (35, False), (27, False)])
def test_views_must_be_equally_long(person, frames, kept):
    """Of 31 frames (26 at 25 fps); two frames at 25 fps are forgiven, and the shortest view gives the length."""
    replace_video(person, "left_30", "angry/level_1/001", frames)
    session = open_mead(person, "M003", VIEWS)
    assert ("angry/level_1/001" in names(session)) == kept
    if kept:
        assert session.recordings[0].frames == min(26, round(frames / 30 * 25))
        assert {len(list(f.pictures())) for f in session.footage.values()} == {session.footage["front"].expected_frames}
    else:
        (line,) = lines(session)
        assert line.startswith("views_differ: M003 angry/level_1/001: its views are not equally long")
        assert f"left_30 {frames / 30:.2f} s" in line


@pytest.mark.parametrize(("seconds", "kept"), [(1.15, True), (0.9, True), (1.4, False), (0.7, False)])
def test_sound_must_be_as_long_as_the_picture(person, seconds, kept):
    path = person / "M003/audio/angry/level_1/001.m4a"  # the picture lasts 1.03 s
    mead.write_m4a(path, mead.beep(seconds, 0.5))
    session = open_mead(person, "M003", VIEWS)
    assert ("angry/level_1/001" in names(session)) == kept
    assert len(session.footage["front"].sound()) == session.footage["front"].expected_frames * SAMPLE_RATE // 25
    if not kept:
        assert "sound_differs: M003 angry/level_1/001: sound and picture are not equally long" in lines(session)[0]


@pytest.mark.parametrize("kind", ["empty", "cut", "rubbish", "no picture", "size"])
def test_damaged_videos_are_named(person, kind):
    path = person / "M003/video/top/neutral/level_1/001.mp4"
    whole = path.read_bytes()
    if kind == "no picture":
        shutil.copy(person / "M003/audio/angry/level_1/001.m4a", path)
    elif kind == "size":
        replace_video(person, "top", "neutral/level_1/001", 30, size=(208, 48))
    else:
        path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "rubbish": b"\x00\x01" * 500}[kind])
    session = open_mead(person, "M003", VIEWS)
    assert names(session) == ["angry/level_1/001", "angry/level_1/002"]
    (line,) = lines(session)
    assert "M003 top/neutral/level_1/001" in line
    assert line.startswith("size_differs" if kind == "size" else "damaged")


def test_damage_that_only_decoding_finds_names_the_recording(person, tmp_path):
    """The index is whole, the pictures are not: reading stops with the recording's name, not a temporary file's."""
    path = person / "M003/video/front/angry/level_1/002.mp4"
    content = bytearray(path.read_bytes())
    begin = content.index(b"mdat") + 4
    middle = begin + (len(content) - begin) // 3
    content[middle : middle + 4000] = bytes(4000)[: len(content[middle : middle + 4000])]
    path.write_bytes(content)
    packed = tmp_path / "packed" / "M003"
    mead.pack_plain(person / "M003", packed)
    footage = open_mead(packed.parent, "M003").footage["front"]
    with pytest.raises(UserError, match=r"M003 front/angry/level_1/002: .*leave it out \(angry/level_1/002\)") as error:
        list(footage.pictures())
    assert "/tmp" not in str(error.value)
    assert names(open_mead(packed.parent, "M003", leave_out=["angry/level_1/002"])) == ORDER[:2]


def test_files_in_strange_folders_are_mentioned(person):
    stranger = person / "M003/video/front/disgust/level_1/001.mp4"
    stranger.parent.mkdir(parents=True)
    shutil.copy(person / "M003/video/front/angry/level_1/001.mp4", stranger)
    (person / "M003/video/front/angry/level_1/._001.mp4").write_bytes(b"a Macintosh was here")
    (finding,) = open_mead(person, "M003").findings
    assert finding.kind == "unknown_files"
    assert "1 videos or sounds" in finding.message
    assert "video/front/disgust/level_1/001.mp4" in finding.message


# ---------------------------------------------------------------------------------------------------------------------
# Mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"identity": "M099"}, "no identity 'M099'; there is M003"),
        ({"identity": "../M003"}, "no identity"),
        ({"views": ("front", "left_60")}, "no view 'left_60'; there is front, left_30, top"),
        ({"views": ("front", "lfet_30")}, "no view 'lfet_30'"),
        ({"views": ("top",)}, "front must be among them"),
        ({"views": ()}, "no view is asked for; there is front"),
        ({"emotions": ("happy",)}, "no emotion 'happy'; there is angry, neutral"),
        ({"emotions": ("disgust",)}, "no emotion 'disgust'"),
        ({"levels": (3,)}, "no level '3'; there is 1"),
        ({"most_seconds": 0}, "must be positive, not 0"),
        ({"leave_out": ["angry/level_1/999"]}, "no recording 'angry/level_1/999' to leave out"),
    ],
)
def test_mistakes_say_what_there_is(person, options, message):
    with pytest.raises(UserError, match=message):
        open_mead(person, **{"identity": "M003", "views": VIEWS, **options})


def test_a_wrong_root_is_said_so(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        open_mead(tmp_path / "nowhere", "M003")
    with pytest.raises(UserError, match="none: it should hold folders called M003"):
        open_mead(tmp_path, "M003")
    (tmp_path / "M003").mkdir()
    with pytest.raises(UserError, match=r"no recording found; it should hold video\.tar"):
        open_mead(tmp_path, "M003")


def test_nothing_left_says_why(person):
    shutil.rmtree(person / "M003/audio")
    with pytest.raises(UserError, match=r"no recording of M003 is whole in front and sound: .*there is no sound"):
        open_mead(person, "M003")


# ---------------------------------------------------------------------------------------------------------------------
# The whole miniature


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    root = tmp_path_factory.mktemp("filmed") / "MEAD"
    return root, mead.miniature(root)


@pytest.mark.slow
def test_the_filmed_miniature_gives_calibrated_views(filmed, tmp_path):
    """From tars to labels: five cameras, four recordings of a second, the traps left out by name."""
    root, truth = filmed
    session = open_mead(root, "M003", list(mead.CAMERAS))
    assert sorted(f.kind for f in session.findings) == ["damaged", "sound_missing", "views_differ"]
    folder = mead.write_landmarks(tmp_path / "landmarks", truth, session)
    rng = np.random.default_rng(0)
    # 0.4 px of a head 128 px wide is 1 px of one 320 px wide
    points = {v: np.load(folder / f"{v}.npz")["landmarks"] for v in session.footage}
    points = {v: p + 0.4 * rng.normal(size=p.shape) for v, p in points.items()}
    front = track_head(points["front"], IBUG)
    boundaries = session.footage["front"].boundaries
    found = calibrate(
        front, points["front"], {v: p for v, p in points.items() if v != "front"}, IBUG, boundaries=boundaries
    )
    for view, calibrated in found.items():
        error = relative_error(truth, session, front, view, calibrated)
        assert error.mean() < 1.5, view
        assert not [f for f in calibrated.findings if f.kind == "calibration"]


@pytest.mark.slow
def test_a_recording_that_breaks_is_left_out_and_the_rest_is_kept(filmed, tmp_path):
    """The face is lost in the second of four recordings: the clip is that of the other three, pictures and sound."""
    root, truth = filmed
    session = open_mead(root, "M003", list(mead.CAMERAS))
    folder = mead.write_landmarks(tmp_path / "landmarks", truth, session)
    begin, end = session.recordings[1].first, session.recordings[2].first
    points = np.load(folder / "front.npz")["landmarks"]
    points[begin + 8 : begin + 16] = np.nan
    np.savez(folder / "front.npz", landmarks=points)
    options = Options(landmarks=str(folder), size=48, matte="none")
    done = prepare_clip(session.footage, tmp_path / "clip", options, bars=False)
    (left_out,) = [f for f in done.findings if f.kind == "recording_left_out"]
    assert left_out.message.startswith(f"{session.recordings[1].key} is left out")
    clip = open_clip(tmp_path / "clip")
    assert clip.frames == len(points) - (end - begin)
    assert clip.boundaries == tuple(
        j - (end - begin) * (j > begin) for j in session.footage["front"].boundaries if j != begin
    )
    assert [r["name"] for r in clip.source["recordings"]] == [str(session.recordings[i].key) for i in (0, 2, 3)]
    kept = np.r_[0:begin, end : len(points)]
    crop = clip.arrays["crop"][:, None]
    seen = (clip.arrays["landmarks"] - 24) * (crop[..., 2:] / 48) + crop[..., :2]
    np.testing.assert_allclose(seen, points[kept], atol=0.01)
    sound = session.footage["front"].sound().reshape(-1, 640)[kept].ravel()
    np.testing.assert_allclose(clip.audio(), sound, atol=1e-4)
    assert clip.view("left_30").frames == clip.frames


@pytest.mark.slow
def test_mediapipe_sees_the_procedural_person_from_every_side(filmed, shared):
    root, truth = filmed
    session = open_mead(root, "M003", list(mead.CAMERAS))
    for view, footage in session.footage.items():
        true = truth.joined(truth.landmarks, session, view)
        with make_landmarker("mediapipe", model=shared / "models" / "face_landmarker.task") as landmarker:
            for index, picture in enumerate(footage.pictures()):
                if index % 10:
                    continue
                faces = landmarker(picture, index)
                assert faces, (view, index)
                away = np.abs(faces[0].points[[33, 133, 362, 263]] - true[index][[36, 39, 42, 45]]).mean()
                assert away < 4  # px of a 128 px head; measured 2: its eyes' corners are not exactly MediaPipe's


def relative_error(truth, session, front, view, calibrated):
    """Degrees between the found and the true rotation from front to side camera."""
    from scipy.spatial.transform import Rotation

    def turns(labels):
        return np.linalg.inv(labels[:, :16].reshape(-1, 4, 4).astype(float))[:, :3, :3]

    true = [turns(truth.joined(truth.labels, session, v)) for v in ("front", view)]
    own = [h.cam_from_world[:, :3, :3] for h in (front, calibrated.head)]
    between = [b @ a.swapaxes(1, 2) for a, b in (true, own)]
    return np.degrees(Rotation.from_matrix(between[0] @ between[1].swapaxes(1, 2)).magnitude())


def test_the_miniatures_sound_is_real_aac(unpacked):
    sound = load_sound(unpacked / "audio/angry/level_1/001.m4a")
    assert len(sound) / SAMPLE_RATE == pytest.approx(31 / 30, abs=0.05)
