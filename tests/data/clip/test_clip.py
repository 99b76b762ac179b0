"""Clip folders: written whole or not at all, checked when read, continued when interrupted."""

import errno
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jax_talker.data.clip.chunks import Chunks
from jax_talker.data.clip.clip import open_clip
from jax_talker.data.clip.clip_writer import ClipWriter
from jax_talker.data.clip.findings import Finding, Severity, time_code
from jax_talker.errors import UserError

SIZE, FRAMES = 16, 3


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "label": rng.standard_normal((FRAMES, 25)),
        "blink": np.zeros(FRAMES),
        "landmarks": rng.uniform(0, SIZE, (FRAMES, 68, 2)),
    }


def pictures(seed):
    return np.random.default_rng(seed).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)


def write(root, *, parts=True, **options):
    with ClipWriter(root, size=SIZE, source={"video": "a.mp4", "boundaries": [2]}, **options) as writer:
        for i in (2, 0, 1):  # any order
            image, masks, other = pictures(i)
            writer.put(i, image, masks, other[..., 0] if parts else None)
            writer.put(i, other, masks, view="left")
        writer.write_findings([Finding("cut", Severity.WARNING, 1.0, 1.04, "a cut", "look at it")])
        writer.finish(arrays(), np.linspace(-1, 1, FRAMES * 640), views={"left": arrays(1)}, source={"summary": "fine"})
    return open_clip(root)


def test_what_is_written_is_read(tmp_path):
    clip = write(tmp_path / "clip", job="abc")
    assert (clip.frames, clip.size, clip.view_names, clip.job, clip.boundaries) == (
        FRAMES,
        SIZE,
        ("left",),
        "abc",
        (2,),
    )
    assert clip.source["summary"] == "fine"
    assert replace(clip, source={"joins": [2]}).boundaries == (2,)  # as older clips call them
    assert replace(clip, source={"boundaries": [0, FRAMES, "1"]}).boundaries == ()
    for i in range(FRAMES):
        image, masks, other = pictures(i)
        np.testing.assert_array_equal(clip.image(i), image)
        np.testing.assert_array_equal(clip.masks(i), masks)
        np.testing.assert_array_equal(clip.parts(i), other[..., 0])
        np.testing.assert_array_equal(clip.view("left").image(i), other)
    assert clip.has_parts
    assert not clip.view("left").has_parts
    np.testing.assert_allclose(clip.view("left").arrays["label"], arrays(1)["label"])
    np.testing.assert_allclose(clip.audio(), np.linspace(-1, 1, FRAMES * 640), atol=1e-4)  # 16 bit
    assert clip.findings() == (Finding("cut", Severity.WARNING, 1.0, 1.04, "a cut", "look at it"),)
    assert list(clip.files.damaged()) == []
    assert [p.name for p in tmp_path.iterdir()] == ["clip"]  # nothing of the work is left
    with pytest.raises(UserError, match="no view 'right'"):
        clip.view("right")


def test_what_was_not_filmed_is_marked(tmp_path):
    """Only frames of which something was not filmed have a mask for it; all pixels of the others are valid."""
    image, masks, _ = pictures(0)
    part = np.full((SIZE, SIZE), 255, np.uint8)
    part[:, :3] = 0
    with ClipWriter(tmp_path / "clip", size=SIZE, source={}) as writer:
        for i, valid in enumerate((None, part, np.full((SIZE, SIZE), 255, np.uint8))):
            writer.put(i, image, masks, valid=valid)
            writer.put(i, image, masks, valid=part.T.copy(), view="left")
        writer.finish(arrays(), np.zeros(FRAMES * 640), views={"left": arrays(1)})
    clip = open_clip(tmp_path / "clip")
    assert [p.name for p in (clip.root / "valid").iterdir()] == ["000001.png"]
    np.testing.assert_array_equal(clip.valid(1), part)
    np.testing.assert_array_equal(clip.masks(1), masks)
    assert clip.valid(0).min() == clip.valid(2).min() == 255
    np.testing.assert_array_equal(clip.view("left").valid(0), part.T)
    (clip.root / "valid" / "000001.png").unlink()  # a mask that was lost does not make every pixel valid
    with pytest.raises(UserError, match=r"valid/000001\.png"):
        open_clip(clip.root).valid(1)


def test_checksums_are_sha256sums(tmp_path):
    """The common program understands the list, and agrees."""
    root = write(tmp_path / "clip").root
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": OK") == 3 * FRAMES + 2 * FRAMES + 3


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("frames/000001.png", lambda root: open_clip(root).image(1)),
        ("masks/000001.png", lambda root: open_clip(root).masks(1)),
        ("parts/000002.png", lambda root: open_clip(root).parts(2)),
        ("audio.wav", lambda root: open_clip(root).audio()),
        ("arrays.npz", open_clip),
        ("views/left/arrays.npz", lambda root: open_clip(root).view("left")),
        ("SHA256SUMS", open_clip),
    ],
)
def test_a_damaged_part_is_named(tmp_path, name, use):
    root = write(tmp_path / "clip").root
    path = root / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # one bit
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: damaged or changed"):
        use(root)
    path.unlink()
    with pytest.raises(UserError, match=f"{name}: missing"):
        use(root)
    if name != "SHA256SUMS" and name != "arrays.npz":
        assert list(open_clip(root).files.damaged()) == [name]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "clip.json: damaged"),
        ("[]", "clip.json: damaged"),
        ('{"format": 1}', "clip format 1, this version reads 2"),
        ('{"format": 2, "size": 16}', "clip.json: damaged"),
    ],
)
def test_a_damaged_description_is_named(tmp_path, content, message):
    root = write(tmp_path / "clip").root
    (root / "clip.json").write_text(content)
    with pytest.raises(UserError, match=message):
        open_clip(root)


def test_damaged_findings_are_named(tmp_path):
    clip = write(tmp_path / "clip")
    (clip.root / "findings.json").write_text(json.dumps([{"kind": "cut"}]))
    with pytest.raises(UserError, match=r"findings\.json: not a list of findings"):
        clip.findings()


@pytest.mark.parametrize(
    ("error", "stays"), [(KeyboardInterrupt, True), (OSError, True), (RuntimeError, True), (UserError, False)]
)
def test_a_job_goes_on_where_it_was_interrupted(tmp_path, error, stays):
    image, masks, _ = pictures(0)

    def interrupted():
        with ClipWriter(tmp_path / "new" / "clip", size=SIZE, source={}, job="key") as writer:
            writer.put(0, image, masks)
            (writer.progress / "note").touch()
            raise error

    with pytest.raises(error):
        interrupted()
    assert not (tmp_path / "new" / "clip").exists()
    assert (tmp_path / "new").exists() == stays
    with ClipWriter(tmp_path / "new" / "clip", size=SIZE, source={}, job="key") as writer:
        assert (writer.progress / "note").exists() == stays
        for i in range(1 if stays else 0, FRAMES):
            writer.put(i, image, masks)
        writer.finish(arrays(), np.zeros(FRAMES * 640))
    clip = open_clip(tmp_path / "new" / "clip")
    assert list(clip.files.damaged()) == []
    np.testing.assert_array_equal(clip.image(0), image)
    assert not (clip.root / "progress").exists()


def test_frames_that_are_missing_are_not_passed_over(tmp_path):
    image, masks, _ = pictures(0)

    def holed():
        with ClipWriter(tmp_path / "clip", size=SIZE, source={}) as writer:
            writer.put(0, image, masks)
            writer.put(2, image, masks)
            writer.finish(arrays(), np.zeros(FRAMES * 640))

    with pytest.raises(ValueError, match="has 2 frames"):
        holed()
    assert list(tmp_path.iterdir()) == []


def finished(root, job="", before=lambda: None, **options):
    image, masks, _ = pictures(0)
    with ClipWriter(root, size=SIZE, source={}, job=job, **options) as writer:
        for i in range(FRAMES):
            writer.put(i, image, masks)
        writer.finish(arrays(), np.zeros(FRAMES * 640))
        before()


def test_two_processes_do_not_make_one_clip(tmp_path):
    def second():
        with pytest.raises(UserError, match="another process is making this clip"):
            finished(tmp_path / "clip", job="0123456789abcdef")

    finished(tmp_path / "clip", job="0123456789abcdef", before=second)
    assert [p.name for p in tmp_path.iterdir()] == ["clip"]


def test_what_came_meanwhile_is_not_overwritten(tmp_path):
    def meanwhile():
        (tmp_path / "clip").mkdir()
        (tmp_path / "clip" / "thesis.txt").write_text("mine")

    for overwrite, message in ((False, "exists already"), (True, "is not a clip folder")):
        with pytest.raises(UserError, match=message):
            finished(tmp_path / "clip", before=meanwhile, overwrite=overwrite)
        assert (tmp_path / "clip" / "thesis.txt").read_text() == "mine"
        assert [p.name for p in tmp_path.iterdir()] == ["clip"]
        (tmp_path / "clip" / "thesis.txt").unlink()
        (tmp_path / "clip").rmdir()


def test_only_unfinished_work_on_the_same_clip_is_cleared_away(tmp_path):
    for name in (".clip.0000000000000000.partial", ".clip.2.0000000000000000.partial", ".clip.1111111111111111.old"):
        (tmp_path / name).mkdir()
    finished(tmp_path / "clip", job="0123456789abcdef")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".clip.2.0000000000000000.partial", "clip"]


def test_a_part_that_was_lost_after_its_piece_was_kept_is_noticed(tmp_path):
    image, masks, _ = pictures(0)
    with ClipWriter(tmp_path / "clip", size=SIZE, source={}, job="k") as writer:
        sums = writer.put(0, image, masks)
        (writer.folder / "frames" / "000000.png").write_bytes(b"")  # as after a power loss
        for i in range(1, FRAMES):
            writer.put(i, image, masks)
        writer.trust(sums)
        writer.finish(arrays(), np.zeros(FRAMES * 640))
    assert list(open_clip(tmp_path / "clip").files.damaged()) == ["frames/000000.png"]


def test_pieces_are_whole_or_absent(tmp_path):
    chunks = Chunks(tmp_path / "work")
    chunks.put(0, {"a": np.arange(3)})
    chunks.put(2, {"a": np.arange(2)})
    assert (chunks.count(), chunks.has(2), chunks.whole) == (1, True, False)
    chunks.put(1, {"a": np.arange(1)})
    chunks.end()
    again = Chunks(tmp_path / "work")
    assert again.whole
    assert [len(chunk["a"]) for chunk in again.load()] == [3, 1, 2]


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(0, "0:00.00"), (12.4, "0:12.40"), (59.999, "1:00.00"), (3723.5, "1:02:03.50"), (600, "10:00.00")],
)
def test_time_codes(seconds, code):
    assert time_code(seconds) == code


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("blink", np.nan, "blink of frame 1 is nan, not between 0 and 1"),
        ("blink", 1.5, "blink of frame 1 is 1.5, not between 0 and 1"),
        ("label", np.inf, "label of frame 1 is inf, not a finite number"),
        ("landmarks", np.nan, "landmarks of frame 1 is nan, not a finite number"),
        ("pose", np.nan, "pose of frame 1 is nan, not a finite number"),
        ("confidence", -1, "confidence of frame 1 is -1, not between 0 and 1"),
    ],
)
def test_values_that_cannot_be_are_named(tmp_path, monkeypatch, name, value, says):
    """Neither written nor read; an unseen face's fit error may be missing."""
    wrong = {**arrays(), "pose": np.zeros((FRAMES, 3)), "confidence": np.ones(FRAMES), "fit_error": np.zeros(FRAMES)}
    wrong["fit_error"][0] = np.nan
    wrong[name][1] = value

    def finished():
        with ClipWriter(tmp_path / "clip", size=SIZE, source={}) as writer:
            for i in range(FRAMES):
                writer.put(i, *pictures(i)[:2])
            writer.finish(wrong, np.zeros(FRAMES * 640))

    with pytest.raises(ValueError, match=says):
        finished()
    with monkeypatch.context() as patch:
        patch.setattr("jax_talker.data.clip.clip_writer.check_arrays", lambda *_, **__: None)
        finished()  # a version that did not look
    with pytest.raises(UserError, match=says):
        open_clip(tmp_path / "clip")


def test_findings_speak_of_any_file_name(tmp_path):
    """A name that is no text in any encoding (a foreign disk's) and one that is."""
    named = Finding("source", Severity.NOTE, 0.0, 1.0, "caf\udce9 and München²", "")
    with ClipWriter(tmp_path / "clip", size=SIZE, source={}) as writer:
        for i in range(FRAMES):
            writer.put(i, *pictures(i)[:2])
        writer.write_findings([named])
        writer.finish(arrays(), np.zeros(FRAMES * 640))
    assert open_clip(tmp_path / "clip").findings() == (named,)


def test_a_link_is_written_through(tmp_path):
    """To a clip, to nothing yet, or on the way: on a larger disk, say."""
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "new").symlink_to(disk / "clip")
    (tmp_path / "data").symlink_to(disk)
    assert write(tmp_path / "new").image(0).shape == (SIZE, SIZE, 3)
    write(tmp_path / "new", overwrite=True, job="0123456789abcdef")
    write(tmp_path / "data" / "other")
    assert (tmp_path / "new").readlink() == disk / "clip"
    assert sorted(p.name for p in disk.iterdir()) == ["clip", "other"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "disk", "new"]


def test_where_nothing_can_be_written_is_said_first(tmp_path, monkeypatch):
    def read_only(*_, dir, **__):
        raise OSError(errno.EROFS, "Read-only file system", str(dir))

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    with pytest.raises(UserError, match=r"clip: cannot write there \(Read-only file system\)"):
        write(tmp_path / "new" / "clip")
    assert list(tmp_path.iterdir()) == []


def test_a_mounted_disk_cannot_be_replaced(tmp_path, monkeypatch):
    (tmp_path / "clip").mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path / "clip")
    with pytest.raises(UserError, match="a disk is mounted there"):
        write(tmp_path / "clip", overwrite=True)
