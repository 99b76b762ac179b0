"""Sound read at 16 kHz in step with the picture, from any file."""

import io
import math
import tracemalloc
from fractions import Fraction

import av
import librosa
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from jax_talker.data.read import stdin
from jax_talker.data.read.audio import load_sound, num_video_frames
from jax_talker.data.read.sound import resampled
from jax_talker.data.read.video import write_video
from jax_talker.errors import UserError


def onsets(sound, threshold=0.2):
    loud = np.flatnonzero(np.abs(sound) > threshold) / 16_000
    return loud[np.r_[True, np.diff(loud) > 0.1]]


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "PCM_U8"])
def test_any_wav_becomes_16k_mono(tmp_path, rate, subtype):
    seconds = 1.5
    time = np.arange(round(seconds * rate)) / rate
    tone = np.sin(2 * np.pi * 440 * time) * (time > 0.5)
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([0.9 * tone, 0.3 * tone], 1), rate, subtype=subtype)
    sound = load_sound(path)
    assert sound.dtype == np.float32
    assert len(sound) == pytest.approx(seconds * 16_000, abs=1)
    assert np.abs(sound).max() == pytest.approx(0.9, abs=0.07)  # as the louder channel, and Gibbs at the tone's onset
    assert onsets(sound)[0] == pytest.approx(0.5, abs=1e-3)


def test_sound_of_a_video_begins_with_its_picture(tmp_path, beeps):
    """The sound track starts 0.3 s after the picture in one file, and 0.2 s before it in the other."""
    for picture_at, sound_at, beep in ((0.0, 0.3, 0.8), (0.2, 0.0, 0.3)):
        path = tmp_path / f"{sound_at}.mkv"
        with av.open(str(path), "w") as container:
            picture = container.add_stream("libx264", rate=25, options={"bf": "0"})
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
            track = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
            for i in range(50):
                frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")
                frame.pts, frame.time_base = i + round(picture_at * 25), Fraction(1, 25)
                container.mux(picture.encode(frame))
            samples = (beeps(1.5, [0.5]) * 32767).astype(np.int16)
            for first in range(0, len(samples), 1024):
                block = av.AudioFrame.from_ndarray(samples[None, first : first + 1024], "s16", "mono")
                block.sample_rate, block.time_base = 16_000, Fraction(1, 16_000)
                block.pts = first + round(sound_at * 16_000)
                container.mux(track.encode(block))
            container.mux([*picture.encode(None), *track.encode(None)])
        np.testing.assert_allclose(onsets(load_sound(path)), [beep], atol=2e-3)  # Matroska stamps in ms


def test_sound_survives_our_own_video(tmp_path, beeps):
    sound = beeps(2, [0.4, 1.2])
    path = write_video(tmp_path / "a.mp4", [np.zeros((48, 64, 3), np.uint8)] * 50, sound=sound)
    back = load_sound(path)
    assert len(sound) <= len(back) <= len(sound) + 1024  # AAC's last block is padded
    np.testing.assert_allclose(onsets(back), [0.4, 1.2], atol=5e-3)


def test_bad_sound_says_what_and_where(tmp_path):
    soundfile.write(tmp_path / "zero.wav", np.zeros(0), 16_000)
    soundfile.write(tmp_path / "blink.wav", np.zeros(100), 16_000)
    soundfile.write(tmp_path / "nan.wav", np.full(16_000, np.nan, np.float32), 16_000, subtype="FLOAT")
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("not a sound\n" * 100)
    write_video(tmp_path / "mute.mp4", [np.zeros((48, 64, 3), np.uint8)] * 5)
    for name, reason in {
        "absent.wav": "no such file",
        "zero.wav": "lasts 0.000 s",
        "blink.wav": "lasts 0.006 s, less than one video frame",
        "nan.wav": "not numbers",
        "empty.wav": "empty",
        "text.wav": "no video or sound",
        "mute.mp4": "no sound track",
    }.items():
        with pytest.raises(UserError, match=reason) as error:
            load_sound(tmp_path / name)
        assert name in str(error.value)
        assert "\n" not in str(error.value)


FORMATS = [("mp3", "libmp3lame"), ("m4a", "aac"), ("flac", "flac"), ("ogg", "flac"), ("ogg", "vorbis"),
           ("opus", "libopus"), ("webm", "libopus"), ("mka", "pcm_f32le"), ("aiff", "pcm_s16be"),
           ("au", "pcm_mulaw")]  # fmt: skip


def encoded(path, codec, sound, rate=48_000):
    if codec == "vorbis":  # by libvorbis, as nearly all such files are; PyAV's wheel has an experimental encoder alone
        soundfile.write(path, sound, rate, format="OGG", subtype="VORBIS")
        return path
    with av.open(str(path), "w") as container:
        track = container.add_stream(codec, rate=rate, layout="mono")
        for first in range(0, len(sound) - 1023, 1024):
            block = av.AudioFrame.from_ndarray(sound[None, first : first + 1024].astype(np.float32), "fltp", "mono")
            block.sample_rate, block.pts = rate, first
            container.mux(track.encode(block))
        container.mux(track.encode(None))
    return path


@pytest.mark.parametrize(("suffix", "codec"), FORMATS)
def test_any_format(tmp_path, beeps, suffix, codec):
    sound = np.repeat(beeps(2.0, [0.5, 1.3]), 3)
    heard = load_sound(encoded(tmp_path / f"a.{suffix}", codec, sound))
    assert len(heard) == pytest.approx(32_000, abs=2000)  # whole blocks of 1024 at 48 kHz; encoders pad
    np.testing.assert_allclose(onsets(heard), [0.5, 1.3], atol=0.03)  # MP3 without a header of its own delay: 25 ms


@pytest.mark.parametrize(("suffix", "codec"), FORMATS)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.6])
def test_cut_off_or_overwritten_files_are_heard_or_refused(tmp_path, beeps, suffix, codec, share):
    """Whatever a broken copy holds, there is sound or one clear line; never a crash, never another error."""
    path = encoded(tmp_path / f"a.{suffix}", codec, np.repeat(beeps(2.0, [0.5, 1.3]), 3))
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, len(whole) // 3, np.uint8).tobytes()
    cut = int(share * len(whole))
    for content in (whole[:cut], whole[:cut] + noise, whole[:cut] + noise + whole[cut + len(noise) :]):
        path.write_bytes(content)
        heard, refused = None, ""
        try:
            heard = load_sound(path)
        except UserError as error:
            refused = str(error)
        if heard is None:
            assert path.name in refused
            assert "\n" not in refused
        else:
            assert 0 < len(heard) < 20 * 16_000
            assert np.isfinite(heard).all()
            assert np.abs(heard).max() <= 1


def test_standard_input_is_a_file(tmp_path, beeps, monkeypatch):
    soundfile.write(tmp_path / "a.wav", beeps(1.0, [0.5]), 16_000)
    with (tmp_path / "a.wav").open("rb") as file:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(file))
        with stdin.as_file("-") as path:
            np.testing.assert_allclose(onsets(load_sound(path)), [0.5], atol=1e-3)
        assert not path.exists()
    with stdin.as_file(tmp_path / "a.wav") as path:
        assert path == tmp_path / "a.wav"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(UserError, match="standard input is empty"), stdin.as_file("-"):
        pass


@given(st.integers(0, 10**9))
def test_frames_of_a_sound_are_rounded_seconds(samples):
    assert num_video_frames(samples) == round(Fraction(samples, 16_000) * 25)


# ---------------------------------------------------------------------------------------------------------------------
# Resampling while reading, and clocks that do not begin together


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_resampling_in_pieces_is_resampling_at_once(rate):
    rng = np.random.default_rng(0)
    sound = rng.normal(0, 0.1, 3 * rate + 17).astype(np.float32)
    chunks = np.split(sound, np.sort(rng.integers(0, len(sound), 40)))
    got = resampled((chunk, rate) for chunk in chunks)
    want = librosa.resample(sound, orig_sr=rate, target_sr=16_000)
    assert len(got) == len(want) == math.ceil(len(sound) * 16_000 / rate)
    # float32 filters; librosa asks soxr for the same quality
    np.testing.assert_allclose(got, want, atol=2e-5)


def test_an_hours_sound_is_resampled_without_being_held():
    """48 kHz, an hour: what is held besides the result is less than the sound itself, let alone its copies."""
    second = (0.1 * np.sin(np.arange(48_000) / 10)).astype(np.float32)
    tracemalloc.start()
    sound = resampled((second, 48_000) for _ in range(3600))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(sound) == 3600 * 16_000
    assert peak < 1.5 * sound.nbytes + 8e6


@pytest.mark.parametrize(("picture_at", "sound_at", "beep"), [(0.0, 0.32, 0.82), (0.2, 0.0, 0.3), (0.0, 0.0, 0.5)])
@pytest.mark.parametrize("suffix", ["mp4", "mov", "ts"])
def test_start_offsets_and_edit_lists(tmp_path, beeps, suffix, picture_at, sound_at, beep):
    """MP4 keeps a late start in an edit list, and so it does the samples by which an AAC decoder warms up."""
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=25, options={"bf": "2"})
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        track = container.add_stream("aac", rate=48_000, layout="mono")
        for i in range(50):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")
            frame.pts, frame.time_base = i + round(picture_at * 25), Fraction(1, 25)
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        sound = np.repeat(beeps(1.5, [0.5]), 3)
        for first in range(0, len(sound) - 1023, 1024):
            block = av.AudioFrame.from_ndarray(sound[None, first : first + 1024], "fltp", "mono")
            block.sample_rate, block.time_base = 48_000, Fraction(1, 48_000)
            block.pts = first + round(sound_at * 48_000)
            container.mux(track.encode(block))
        container.mux(track.encode(None))
    # AAC smears an onset by up to 5 ms. A transport stream keeps no warm-up: its sound may lie a block (21 ms) late.
    tolerance = 0.03 if suffix == "ts" else 0.008
    np.testing.assert_allclose(onsets(load_sound(path)), [beep], atol=tolerance)


def test_a_pause_in_the_time_stamps_is_silence(tmp_path):
    path = tmp_path / "pause.mkv"
    with av.open(str(path), "w") as container:
        track = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for first in (0, 1024, 16_000 * 3, 16_000 * 3 + 1024):
            block = av.AudioFrame.from_ndarray(np.full((1, 1024), 16_000, np.int16), "s16", "mono")
            block.sample_rate, block.pts, block.time_base = 16_000, first, Fraction(1, 16_000)
            container.mux(track.encode(block))
        container.mux(track.encode(None))
    sound = load_sound(path)
    assert len(sound) == pytest.approx(16_000 * 3 + 2048, abs=32)  # Matroska stamps in ms
    assert np.abs(sound[3000:47_000]).max() == 0
    assert sound[:2000].min() > 0.4
