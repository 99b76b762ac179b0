"""Any file, any rate, for an hour: which picture is shown when, from the start or from the middle; damage is named."""

import math
import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest

from jax_talker.data.read import decoding
from jax_talker.data.read.video import ROUNDED_STAMPS, on_beat, probe, read_frames, write_video
from jax_talker.errors import UserError


@pytest.fixture
def encoded(tmp_path, paint):
    """A function that writes numbered pictures to a file of any kind, straight through PyAV."""

    def write(name, codec, pixels, options, pictures, *, rate=25, size=(64, 48), tags=None, shift=0):
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate, options=options)
            stream.width, stream.height, stream.pix_fmt = *size, pixels
            if tags:
                context = stream.codec_context
                context.color_primaries, context.color_trc, context.colorspace = tags
            for index in range(pictures):
                frame = av.VideoFrame.from_ndarray(paint(index % 256, size), "rgb24").reformat(format=pixels)
                frame.pts, frame.time_base = index + shift, 1 / Fraction(rate)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return write


# ---------------------------------------------------------------------------------------------------------------------
# Time, for an hour


RATES = (Fraction(24000, 1001), 24, 25, Fraction(30000, 1001), 30, 50, Fraction(60000, 1001), 60)
CLOCKS = {"exact": None, "milliseconds, as in Matroska": 1000, "MPEG's 90 kHz": 90_000}


def stamped(rate, pictures, clock):
    return [(k / rate if clock is None else Fraction(round(k * clock / rate), clock), k) for k in pictures]


def check_beat(got, first, rate):
    """Every picture is the one that is shown at i/25 s; stamps may be a millisecond late, and half rounded."""
    beat, got = np.arange(first, first + len(got)) / 25, np.array(got)
    assert (got / float(rate) <= beat + 1.5e-3 + 1e-9).all()
    assert ((got + 1) / float(rate) > beat + 0.5e-3 - 1e-9).all()


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("rate", RATES, ids=str)
def test_the_last_seconds_of_an_hour_are_on_time(rate, clock):
    rate, first = Fraction(rate), 25 * 3590
    pictures = range(math.floor(3590 * rate), math.ceil(3600 * rate))
    end = pictures[-1] / rate + 1 / rate
    entries = [*stamped(rate, pictures, CLOCKS[clock]), (end, None)]
    got = list(on_beat(entries, fps=25, begin=Fraction(0), first=first))
    assert len(got) == round(end * 25) - first
    check_beat(got, first, rate)


def test_an_hour_does_not_drift():
    """90,000 frames of 107,893 pictures at 29.97 fps whose stamps are rounded to milliseconds."""
    rate = Fraction(30000, 1001)
    entries = [*stamped(rate, range(107_893), 1000), (Fraction(3600), None)]
    got = list(on_beat(entries, fps=25, begin=Fraction(0)))
    assert len(got) == 90_000
    check_beat(got, 0, rate)


def test_a_long_video_is_entered_near_its_end(tmp_path, paint, read_number):
    """One picture lasts 59 minutes, the last seconds run at 29.97 fps: read from 3590 s, without decoding a minute."""
    path, rate = tmp_path / "long.mp4", Fraction(30000, 1001)
    first = math.ceil(3585 * rate)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"bf": "0", "g": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1001, 30000)
        for k in (0, *range(first, first + 250)):
            frame = av.VideoFrame.from_ndarray(paint(k % 256), "rgb24")
            frame.pts, frame.time_base = k, Fraction(1001, 30000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    got = [read_number(f) for f in read_frames(path, start=3590, duration=2)]
    assert got == [math.floor((3590 + Fraction(i, 25) + ROUNDED_STAMPS) * rate) % 256 for i in range(50)]


# ---------------------------------------------------------------------------------------------------------------------
# Every kind of file

KINDS = {
    "x264, B-frames": ("libx264", "mp4", "yuv420p", {"bf": "3", "g": "40"}),
    "x264, open GOP, in a transport stream": ("libx264", "ts", "yuv420p", {"x264-params": "open-gop=1:keyint=12"}),
    "x264 in Flash": ("libx264", "flv", "yuv420p", {"g": "250"}),
    "HEVC, 10 bit": ("libx265", "mkv", "yuv420p10le", {"x265-params": "log-level=none:keyint=15"}),
    "VP9": ("libvpx-vp9", "webm", "yuv420p", {"deadline": "realtime", "cpu-used": "8", "g": "20"}),
    "MPEG-4 in AVI": ("mpeg4", "avi", "yuv420p", {"g": "10", "bf": "2", "qscale": "2"}),
    "Motion JPEG": ("mjpeg", "mov", "yuvj420p", {}),
    "MPEG-2": ("mpeg2video", "mpg", "yuv420p", {"g": "12", "bf": "2"}),
    "ProRes": ("prores_ks", "mov", "yuv422p10le", {}),
    "FFV1, odd height": ("ffv1", "mkv", "bgr0", {}),
    "GIF": ("gif", "gif", "rgb8", {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_reading_goes_on_in_the_middle_of_any_file(encoded, read_number, kind):
    """Picture i is the same, to the last bit, whether the file is read from its start or from i on."""
    codec, suffix, pixels, options = KINDS[kind]
    if codec not in av.codecs_available:
        pytest.skip(f"this build of PyAV has no {codec}")
    size = (64, 35) if "odd" in kind else (64, 48)
    path = encoded(f"a.{suffix}", codec, pixels, options, 190, size=size)
    whole = list(read_frames(path))
    assert [read_number(f) for f in whole] == list(range(190))
    for first in (1, 40, 131, 160, 189):
        np.testing.assert_array_equal(np.array(list(read_frames(path, first=first))), whole[first:])
    assert list(read_frames(path, first=190)) == []


@pytest.mark.parametrize("rate", [24, Fraction(30000, 1001), 30, 60])
def test_reading_goes_on_at_any_rate(encoded, rate):
    path = encoded("a.mp4", "libx264", "yuv420p", {"g": "30"}, 249, rate=rate)
    for start, duration in ((0.3, 3.0), (1.9, None)):
        whole = list(read_frames(path, start=start, duration=duration))
        for first in (1, 50, len(whole)):
            rest = list(read_frames(path, start=start, duration=duration, first=first))
            assert len(rest) == len(whole) - first
            assert all((a == b).all() for a, b in zip(rest, whole[first:], strict=True))


@pytest.mark.parametrize("kind", ["a.mkv", "a.webm", "a.mp4", "a.ts"])
def test_a_recording_joined_late_begins_with_its_first_picture(encoded, read_number, kind):
    """Live streams count from the broadcast's beginning, and Matroska's length is when it ends."""
    codec = "libvpx" if kind.endswith("webm") else "libx264"
    path = encoded(kind, codec, "yuv420p", {}, 30, shift=250)
    assert [read_number(f) for f in read_frames(path)] == list(range(30))
    assert probe(path).duration == pytest.approx(1.2, abs=0.05)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    if kind in ("a.mkv", "a.webm"):
        with pytest.raises(UserError, match=r"damaged or cut off after 0\.\d+ s"):
            list(read_frames(path))


def test_an_edit_list_is_honoured(tmp_path, encoded, read_number):
    """The first 0.6 s are cut away by the file's edit list, as a phone's trimming does, without a key frame there."""
    source, path = encoded("a.mp4", "libx264", "yuv420p", {"g": "10", "bf": "0"}, 100), tmp_path / "edit.mp4"
    with av.open(str(source)) as given, av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as container:
        stream = container.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(given.streams.video[0]):
            if packet.dts is not None:
                back = round(Fraction(15, 25) / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - back, packet.dts - back, stream
                container.mux(packet)
    assert b"elst" in path.read_bytes()
    assert [read_number(f) for f in read_frames(path)] == list(range(15, 100))
    assert [read_number(f) for f in read_frames(path, first=20)] == list(range(35, 100))


def test_hdr_and_interlaced_pictures_are_read_and_noted(encoded, read_number):
    quiet = {"x265-params": "log-level=none"}
    hdr = encoded("hdr.mkv", "libx265", "yuv420p10le", quiet, 5, tags=(9, 16, 9))
    assert len(list(read_frames(hdr))) == 5
    assert "HDR (PQ)" in probe(hdr).notes[0]
    options = {"x264-params": "tff=1:interlaced=1", "flags": "+ildct+ilme"}
    path = encoded("fields.mp4", "libx264", "yuv420p", options, 5)
    assert "interlaced" in probe(path).notes[0]
    assert [read_number(f) for f in read_frames(path)] == list(range(5))


def test_of_an_interlaced_picture_one_field_is_kept():
    rng = np.random.default_rng(0)
    for height in (7, 8):
        fields = rng.integers(0, 256, (height, 6, 3), np.uint8)
        single = decoding._one_field(fields)
        np.testing.assert_array_equal(single[::2], fields[::2])
        means = (fields[0:-2:2].astype(int) + fields[2::2] + 1) // 2
        np.testing.assert_array_equal(single[1:-1:2][: len(means)], means)
        np.testing.assert_array_equal(single[-1], fields[(height - 1) // 2 * 2])


def test_pictures_keep_the_first_ones_size(tmp_path, encoded, read_number):
    """A recorder that changes its resolution: later pictures are brought to the first one's size."""
    parts = [
        encoded(f"{k}.ts", "libx264", "yuv420p", {"bf": "0"}, 50, size=(64 * (k + 1), 48 * (k + 1)), shift=50 * k)
        for k in range(2)
    ]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(p.read_bytes() for p in parts))
    pictures = list(read_frames(path))
    assert {p.shape for p in pictures} == {(48, 64, 3)}
    assert len(pictures) > 95  # joined so, FFmpeg loses a few around the change
    assert read_number(pictures[-1]) == 49
    np.testing.assert_array_equal(np.array(list(read_frames(path, first=80))), pictures[80:])


def test_joined_recordings_are_not_mixed_up(tmp_path, encoded):
    one = encoded("a.ts", "mpeg2video", "yuv420p", {}, 60)
    (tmp_path / "twice.ts").write_bytes(one.read_bytes() * 2)
    with pytest.raises(UserError, match=r"time stamps go back from 2\.\d+ s to 0\.\d+ s"):
        list(read_frames(tmp_path / "twice.ts"))


def test_bits_that_rotted_are_not_painted_over(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (64, 64, 3), np.uint8)
    path = write_video(tmp_path / "a.mp4", (np.roll(noise, 3 * k, 1) for k in range(100)))
    rotten = bytearray(path.read_bytes())
    half = len(rotten) // 2
    rotten[half : half + 4000] = rng.integers(0, 256, 4000, np.uint8).tobytes()
    (tmp_path / "rotten.mp4").write_bytes(rotten)
    with pytest.raises(UserError, match=r"damaged or cut off after [12]\.\d\d s .*--duration"):
        list(read_frames(tmp_path / "rotten.mp4"))


@pytest.mark.parametrize("tag", [b"zz99", b"encv"])
def test_what_cannot_be_decoded_says_so(tmp_path, paint, tag):
    path = write_video(tmp_path / "a.mp4", [paint(0)] * 3)
    path.write_bytes(path.read_bytes().replace(b"avc1", tag))
    with pytest.raises(UserError, match="encrypted or in a format that cannot be decoded"):
        probe(path)


def test_memory_stays_flat(encoded):
    """Seconds of a picture that lasts: what is held is one picture, however many are due."""
    path = encoded("a.mp4", "libx264", "yuv420p", {}, 2, rate=Fraction(1, 10), size=(640, 480))
    tracemalloc.start()
    count = sum(1 for _ in read_frames(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 500
    assert peak < 20 * 640 * 480 * 3
