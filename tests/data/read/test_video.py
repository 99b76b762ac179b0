"""Videos read and written: counts, times, orientation, sound in step, and every way a file can be bad."""

import struct

import av
import numpy as np
import pytest

from jax_talker.data.read.audio import load_sound
from jax_talker.data.read.video import check_video_path, probe, read_frames, write_video
from jax_talker.errors import UserError


def numbers(read_number, path, **kwargs):
    return [read_number(frame) for frame in read_frames(path, **kwargs)]


def files_in(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("rate", [10, 24, 25, 30, 50, 60])
@pytest.mark.parametrize("frames", [2, 37, 61])
def test_any_rate_becomes_25_by_time(tmp_path, paint, read_number, rate, frames):
    path = write_video(tmp_path / "a.mp4", (paint(i) for i in range(frames)), fps=rate)
    shown = [i * rate // 25 for i in range(round(frames * 25 / rate))]  # the source frame on screen at i/25 s
    assert numbers(read_number, path) == shown
    assert probe(path).frames == frames
    assert probe(path).fps == pytest.approx(rate)


@pytest.mark.parametrize("seed", range(6))
def test_variable_rate_goes_by_time_stamps(stamped_video, read_number, seed):
    rng = np.random.default_rng(seed)
    stamps = np.cumsum(np.r_[0, rng.integers(4, 90, 60)])
    if seed % 2:
        stamps = stamps // 40 * 40 + rng.integers(0, 2, 61)  # 25 fps with stamps that are 1 ms late now and then
        stamps = np.unique(np.r_[0, stamps[1:]])
        stamps = stamps[np.r_[True, np.diff(stamps) > 1]]
    end = stamps[-1] + 40
    beats = 40 * np.arange(round(end / 40))
    expected = np.searchsorted(stamps, beats + 1, side="right") - 1  # + 1: containers round stamps, see ROUNDED_STAMPS
    assert numbers(read_number, stamped_video(list(stamps))) == list(expected)


@pytest.mark.parametrize(("start", "duration"), [(0.4, 1.0), (7.3, 0.5), (6.0, None), (0, 0.04)])
def test_a_part_is_the_same_as_a_slice_of_the_whole(tmp_path, paint, read_number, start, duration):
    path = write_video(tmp_path / "a.mp4", (paint(i) for i in range(250)), fps=30)
    last = 250 if duration is None else None
    want = [int(i * 1.2 + start * 30 + 1e-6) for i in range(round((duration or 250 / 30 - start) * 25))]
    assert numbers(read_number, path, start=start, duration=duration) == want
    assert last is None or want[-1] >= last - 2


def test_colours_and_odd_sizes_survive(tmp_path):
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (6, 3))
    frames = [np.broadcast_to(c, (51, 61, 3)).astype(np.uint8) for c in colours]
    path = write_video(tmp_path / "a.mp4", frames)
    back = list(read_frames(path))
    assert len(back) == 6
    for got, want in zip(back, colours, strict=True):
        assert got.shape == (52, 62, 3)  # padded to even
        # 8-bit limited-range YUV rounds by about 2 levels; x264 at crf 18 adds as much again on flat colour
        assert np.abs(got.astype(int) - want).max() <= 5


def test_rotation_is_honoured(stamped_video, read_number):
    upright = next(read_frames(stamped_video([0, 40], name="u.mp4")))
    clockwise = next(read_frames(stamped_video([0, 40], name="c.mp4", rotation=-90)))  # a phone held upright
    assert clockwise.shape == (64, 48, 3)
    np.testing.assert_array_equal(clockwise, np.rot90(upright, -1))
    assert probe(stamped_video([0, 40], name="c.mp4", rotation=-90)).size == (48, 64)


WAYS = {  # what is done to the picture before it is stored, and the header's a b c d by which players undo it
    "as it is": (lambda x: x, (1, 0, 0, 1)),
    "mirrored": (lambda x: x[:, ::-1], (-1, 0, 0, 1)),
    "flipped": (lambda x: x[::-1], (1, 0, 0, -1)),
    "upside down": (lambda x: x[::-1, ::-1], (-1, 0, 0, -1)),
    "turned left": (lambda x: np.rot90(x, 1), (0, 1, -1, 0)),
    "turned right": (lambda x: np.rot90(x, -1), (0, -1, 1, 0)),
    "transposed": (lambda x: x.swapaxes(0, 1), (0, 1, 1, 0)),
    "transposed and upside down": (lambda x: np.rot90(x.swapaxes(0, 1), 2), (0, -1, -1, 0)),
    "mirrored, and scaled": (lambda x: x[:, ::-1], (-2, 0, 0, 2)),
}


def with_matrix(path, *abcd):
    """The track header says x' = a x + c y, y' = b x + d y."""
    data = bytearray(path.read_bytes())
    struct.pack_into(">4i", data, data.index(b"tkhd") + 44, *(round(v * 65536) for v in (abcd[0], abcd[1], 0, abcd[2])))
    struct.pack_into(">i", data, data.index(b"tkhd") + 60, round(abcd[3] * 65536))
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("way", WAYS)
def test_turns_and_mirrors_are_undone_as_players_do(tmp_path, way):
    change, matrix = WAYS[way]
    picture = np.zeros((64, 96, 3), np.uint8)  # no two of its sides are alike
    picture[:16], picture[:, :24], picture[40:, 60:] = (250, 30, 30), (30, 250, 30), (40, 40, 250)
    stored = np.ascontiguousarray(change(picture))
    path = with_matrix(write_video(tmp_path / "a.mp4", [stored] * 2), *matrix)
    shown = next(read_frames(path))
    assert shown.shape == picture.shape
    assert probe(path).size == (96, 64)
    # H.264 halves the chroma and rounds; any other turn would be off by 50 grey levels on average
    assert np.abs(shown.astype(int) - picture).mean() < 3


def test_a_picture_is_turned_by_any_angle(tmp_path):
    """30° clockwise about the middle, within the picture's size; a turn below FFmpeg's tolerance of 1° is none."""
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[28:36, 68:76] = 255  # 24 px to the right of the middle
    path = write_video(tmp_path / "a.mp4", [picture] * 2)
    plain = next(read_frames(path))
    cos, sin = np.cos(np.radians(30)), np.sin(np.radians(30))
    shown = next(read_frames(with_matrix(path, cos, sin, -sin, cos)))
    assert shown.shape == plain.shape
    rows, columns = np.nonzero(shown[..., 1] > 128)
    np.testing.assert_allclose((columns.mean() - 47.5, rows.mean() - 31.5), (24 * cos, 24 * sin), atol=0.7)
    tiny = np.sin(np.radians(0.9))
    np.testing.assert_array_equal(next(read_frames(with_matrix(path, 1, tiny, -tiny, 1))), plain)


@pytest.mark.parametrize(
    "name",
    [
        "head10:30.mp4",
        "2024-11-14T22:57:44+02:00.mp4",
        "a b.mp4",
        "Ünï²–頭.mp4",
        "50%03d#?.mp4",
        "pipe:1.mkv",
        "-o.mov",
    ],
)
def test_any_file_name_will_do_in_the_current_folder(tmp_path, monkeypatch, paint, read_number, beeps, name):
    monkeypatch.chdir(tmp_path)
    path = write_video(name, (paint(i) for i in range(25)), sound=beeps(1, [0.4]))
    assert files_in(tmp_path) == [name]
    assert numbers(read_number, path) == numbers(read_number, name) == list(range(25))
    assert len(load_sound(name)) >= 16_000


def test_the_given_file_is_not_written_over(tmp_path, paint):
    path = write_video(tmp_path / "a.mp4", [paint(0)] * 2)
    (tmp_path / "link.mp4").symlink_to(path)
    for out in (path, tmp_path / "link.mp4", tmp_path / "." / "a.mp4"):
        with pytest.raises(UserError, match="would be overwritten"):
            check_video_path(out, given=path)
    assert check_video_path(tmp_path / "b.mp4", given=path) == tmp_path / "b.mp4"
    assert check_video_path(path, given="test") == path


def test_links_are_written_through(tmp_path, paint):
    (tmp_path / "disk").mkdir()
    (tmp_path / "there").symlink_to(tmp_path / "disk")
    (tmp_path / "a.mp4").symlink_to(tmp_path / "disk" / "b.mp4")
    write_video(tmp_path / "there" / "c.mp4", [paint(1)])
    write_video(tmp_path / "a.mp4", [paint(2)])
    assert (tmp_path / "a.mp4").is_symlink()
    assert files_in(tmp_path / "disk") == ["b.mp4", "c.mp4"]


def test_pixels_become_square(stamped_video, read_number):
    path = stamped_video([0, 40], name="wide.mp4", aspect=2)
    assert probe(path).size == (128, 48)
    assert next(read_frames(path)).shape == (48, 128, 3)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_sound_and_picture_are_in_step(tmp_path, beeps, rate):
    """Flash and beep together at frames 0, 30 and 77; both are found again at the same time."""
    at = [0, 30, 77]
    frames = (np.full((48, 64, 3), 250 if i in at else 10, np.uint8) for i in range(100))
    sound = beeps(4, [i / 25 for i in at])
    sound = np.interp(np.arange(4 * rate) / rate, np.arange(len(sound)) / 16_000, sound).astype(np.float32)
    path = write_video(tmp_path / "a.mp4", frames, sound=sound, sound_rate=rate)
    pictures = list(read_frames(path))
    assert len(pictures) == 100
    assert [i for i, p in enumerate(pictures) if p.mean() > 128] == at
    with av.open(str(path)) as container:
        decoded = np.concatenate([f.to_ndarray().ravel() for f in container.decode(audio=0)])
        codecs = [s.codec_context.name for s in container.streams]
    assert codecs == ["h264", "aac"]
    loud = np.flatnonzero(np.abs(decoded) > 0.2) / rate
    onsets = loud[np.r_[True, np.diff(loud) > 0.1]]
    # AAC smears an onset over half a block (1024 samples); a video frame lasts 40 ms, an audible lag begins there too
    np.testing.assert_allclose(onsets, [i / 25 for i in at], atol=0.01)


def test_bad_inputs_say_what_and_where(tmp_path, paint, beeps):
    sound_only = tmp_path / "sound.mp4"
    with av.open(str(sound_only), "w") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        block = av.AudioFrame.from_ndarray(beeps(1, [0.5])[None, :1024], "fltp", "mono")
        block.sample_rate, block.pts = 16_000, 0
        container.mux([*stream.encode(block), *stream.encode(None)])
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is no video\n" * 100)
    whole = write_video(tmp_path / "whole.mp4", (paint(i) for i in range(20)))
    (tmp_path / "headless.mp4").write_bytes(b"\0" * 50 + whole.read_bytes()[50:])
    for name, reason in {
        "absent.mp4": "no such file",
        ".": "is a folder",
        "empty.mp4": r"empty \(0 bytes\)",
        "text.mp4": "no video or sound",
        "headless.mp4": "no video or sound",
        "sound.mp4": "no picture",
    }.items():
        for read in (probe, lambda path: next(read_frames(path))):
            with pytest.raises(UserError, match=reason) as error:
                read(tmp_path / name)
            assert name in str(error.value) or name == "."
            assert "\n" not in str(error.value)


def test_a_cut_off_file_names_its_whole_part(tmp_path, read_number):
    rng = np.random.default_rng(0)  # noise, so that the file is long enough to cut
    frames = [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(100)]
    whole = write_video(tmp_path / "whole.mp4", frames)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: round(0.6 * whole.stat().st_size)])
    seen = []
    with pytest.raises(UserError, match=r"damaged or cut off after \d\.\d\d s .* --duration \d") as error:
        seen.extend(read_frames(cut))
    seconds = float(str(error.value).split("--duration ")[1].split()[0])
    assert 1.5 < seconds < 3  # 60 % of 4 s, give or take the frames that the decoder still holds
    usable = list(read_frames(cut, duration=seconds))
    assert len(usable) == round(seconds * 25)
    for a, b in zip(usable, read_frames(whole), strict=False):
        np.testing.assert_array_equal(a, b)


def test_asking_beyond_the_end_is_an_error(tmp_path, paint):
    path = write_video(tmp_path / "a.mp4", (paint(i) for i in range(25)))
    with pytest.raises(UserError, match=r"ends at 1\.00 s"):
        list(read_frames(path, start=2.0))
    with pytest.raises(UserError, match="start must be"):
        list(read_frames(path, duration=0.0))


def test_nothing_half_written_is_left(tmp_path, paint):
    def breaks():
        yield paint(0)
        yield paint(1)
        raise RuntimeError("renderer died")

    target = write_video(tmp_path / "a.mp4", [paint(7)])
    before = target.read_bytes()
    with pytest.raises(RuntimeError, match="renderer died"):
        write_video(target, breaks())
    assert target.read_bytes() == before
    with pytest.raises(ValueError, match="no frames"):
        write_video(tmp_path / "b.mp4", [])
    with pytest.raises(ValueError, match="all alike"):
        write_video(tmp_path / "b.mp4", [paint(0), paint(0, (32, 32))])
    with pytest.raises(ValueError, match="finite"):
        write_video(tmp_path / "b.mp4", [paint(0)], sound=np.full(100, np.nan, np.float32))
    with pytest.raises(UserError, match="cannot write"):
        write_video(tmp_path / "b.xyz", [paint(0)])
    assert files_in(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize("size", [(64, 48), (63, 47)])
def test_any_browser_plays_what_is_written(tmp_path, beeps, size):
    """H.264 of even size in 4:2:0, AAC, both from zero on, and the index in front, so that it plays while it loads."""
    frames = [np.full((size[1], size[0], 3), 40 * k, np.uint8) for k in range(5)]
    path = write_video(tmp_path / "a.mp4", frames, sound=beeps(0.2, [0.1]))
    content = path.read_bytes()
    assert content[4:8] == b"ftyp"
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(str(path)) as container:
        (picture,), (sound,) = container.streams.video, container.streams.audio
        assert picture.codec_context.name == "h264"
        assert picture.profile in ("High", "Main", "Constrained Baseline")
        assert picture.codec_context.pix_fmt == "yuv420p"
        assert (picture.width, picture.height) == (64, 48)
        assert (sound.codec_context.name, sound.profile) == ("aac", "LC")
        assert picture.start_time * picture.time_base == sound.start_time * sound.time_base == 0
        assert picture.average_rate == 25


def test_metadata_is_kept(tmp_path, paint):
    path = write_video(tmp_path / "a.mp4", [paint(0)], metadata={"comment": "synthetic"})
    with av.open(str(path)) as container:
        assert container.metadata["comment"] == "synthetic"


def test_real_clips_have_the_counts_their_lengths_say(shared):
    clips = shared / "clips"
    assert sum(1 for _ in read_frames(clips / "May_5s.mp4")) == 125
    assert sum(1 for _ in read_frames(clips / "expressive_30fps.mp4")) == round(448 * 25 / 30)
    assert probe(clips / "WDA_KatieHill_000.mp4").has_sound
