"""Sound as it comes: the same samples as of the whole file."""

import io
import os
import signal

import av
import numpy as np
import pytest
import soundfile
from av.format import formats_available

from jax_talker.data.read import live
from jax_talker.data.read.audio import load_sound
from jax_talker.data.read.live import Tape, live_sound
from jax_talker.data.read.video import write_video
from jax_talker.errors import UserError


@pytest.mark.parametrize(("rate", "subtype"), [(16_000, "PCM_16"), (44_100, "PCM_24"), (48_000, "FLOAT")])
def test_a_file_as_it_comes_is_the_file(tmp_path, beeps, rate, subtype):
    sound = np.interp(np.arange(2 * rate) / rate, np.arange(32_000) / 16_000, beeps(2.0, [0.5, 1.2]))
    path = tmp_path / "a.wav"
    soundfile.write(path, sound, rate, subtype=subtype)
    blocks = list(live_sound(str(path)))
    assert len(blocks) > 10
    got, want = np.concatenate(blocks), load_sound(path)
    assert abs(len(got) - len(want)) <= 1
    np.testing.assert_allclose(got[: len(want)], want[: len(got)], atol=1e-4)


def test_a_pipe_cannot_seek(tmp_path, beeps, monkeypatch):
    soundfile.write(tmp_path / "a.wav", np.stack([beeps(1.0, [0.5])] * 2, 1), 48_000)

    class Pipe(io.RawIOBase):
        def __init__(self, data):
            self._file = io.BytesIO(data)

        def readable(self):
            return True

        def readinto(self, buffer):
            return self._file.readinto(memoryview(buffer)[:1000])

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(Pipe((tmp_path / "a.wav").read_bytes()))))
    got = np.concatenate(list(live_sound("-")))
    assert len(got) == pytest.approx(len(load_sound(tmp_path / "a.wav")), abs=1)


def test_what_cannot_be_heard_is_said(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"no sound" * 100)
    write_video(tmp_path / "mute.mp4", [np.zeros((48, 64, 3), np.uint8)] * 5)
    for source, message in (
        (str(tmp_path / "absent.wav"), "absent.wav: no sound"),
        (str(tmp_path / "a.wav"), "a.wav: no sound"),
        (str(tmp_path / "mute.mp4"), "has no sound"),
        ("alsa:no_such_device", "no such sound device"),
        ("wasapi:default", "wasapi:default: no file, and no device that this build of PyAV hears"),
    ):
        with pytest.raises(UserError, match=message) as error:
            list(live_sound(source))
        assert "\n" not in str(error.value)


def test_a_pipe_is_heard_as_it_comes_until_ctrl_c(beeps, monkeypatch):
    """Nothing waits for as much as FFmpeg has room for; an interrupt ends the sound, and what was heard stays."""
    reads, writes = os.pipe()
    sound = np.round(20_000 * beeps(1.0, [0.5])).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, sound, 16_000, format="WAV")
    os.write(writes, file.getvalue())  # 32 kB, less than a pipe holds
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.FileIO(reads))))
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 1.0)  # while more is waited for
        got = np.concatenate(list(live_sound("-")))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        os.close(writes)
    np.testing.assert_allclose(got, sound / 32_768, atol=1e-6)


def test_a_pipe_that_holds_nothing_is_said(monkeypatch):
    for content, message in ((b"", "^-: standard input is empty"), (b"no sound" * 100, "^-: no sound")):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
        with pytest.raises(UserError, match=message):
            list(live_sound("-"))
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UserError, match=r"^-: nothing is piped in"):
        list(live_sound("-"))


def test_a_device_that_this_build_does_not_have_is_said_with_those_that_it_has(monkeypatch):
    monkeypatch.setattr(live, "formats_available", {"wav", "mp3", "alsa", "oss"})
    with pytest.raises(UserError, match=r"^pulse:default: this build of PyAV hears no pulse, but alsa, oss$"):
        list(live_sound("pulse:default"))
    monkeypatch.setattr(live, "formats_available", {"wav"})
    with pytest.raises(UserError, match="hears no alsa, but no device at all"):
        list(live_sound("alsa:default"))


def test_a_device_is_opened_by_its_name(tmp_path, beeps, monkeypatch):
    """What comes after the first colon, however many there are; its format is what stands before."""
    soundfile.write(tmp_path / "a.wav", beeps(1.0, [0.5]), 48_000)
    opened, really = [], av.open

    def fake(*given, **named):
        opened.append((given, named))
        return really(str(tmp_path / "a.wav"))

    monkeypatch.setattr(live, "formats_available", {"alsa", "avfoundation"})
    monkeypatch.setattr(live, "ALSA_CONFIG", tmp_path / "none")
    monkeypatch.setattr(live.av, "open", fake)
    for source in ("alsa:default", "alsa:plughw:1,0", "avfoundation::0"):
        got = np.concatenate(list(live_sound(source)))
        assert len(got) == pytest.approx(16_000 / 3, abs=1)
    assert opened == [
        (("default", "r"), {"format": "alsa"}),
        (("plughw:1,0", "r"), {"format": "alsa"}),
        ((":0", "r"), {"format": "avfoundation"}),
    ]


@pytest.mark.skipif("alsa" not in formats_available, reason="this build of PyAV has no ALSA")
def test_a_microphone_of_alsa_is_heard(tmp_path, monkeypatch):
    """One that plays a file, which ALSA's own configuration makes."""
    tone = np.round(10_000 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)).astype(np.int16)
    tone.repeat(2).tofile(tmp_path / "tone.raw")
    (tmp_path / "alsa.conf").write_text(
        "pcm.mic { type file slave.pcm { type null } file /dev/null format raw "
        f'infile "{tmp_path / "tone.raw"}" }}\n'
    )
    monkeypatch.setattr(live, "ALSA_CONFIG", tmp_path / "alsa.conf")
    monkeypatch.setenv("ALSA_CONFIG_PATH", "")  # so that it is put back
    monkeypatch.delenv("ALSA_CONFIG_PATH")
    source, heard = live_sound("alsa:mic"), np.zeros(0, np.float32)
    while len(heard) < 4000:
        heard = np.concatenate([heard, next(source)])
    source.close()
    spectrum = np.abs(np.fft.rfft(heard[:4000]))
    assert spectrum.argmax() * 4 == 440
    assert np.abs(heard).max() == pytest.approx(10_000 / 32_768, rel=0.05)


def test_a_tape_goes_into_a_video_while_it_is_filled(tmp_path, beeps):
    sound, tape = beeps(2.0, [0.5, 1.2]), Tape()

    def frames():
        for i, block in enumerate(np.array_split(sound, 60)):
            tape.add(block)
            if i >= 10:  # the picture comes later than the sound
                yield np.zeros((48, 64, 3), np.uint8)

    back = load_sound(write_video(tmp_path / "a.mp4", frames(), sound=tape))
    assert len(back) == pytest.approx(len(sound), abs=1024)
    assert np.abs(back[:7000]).max() < 0.1 < np.abs(back[8000:9000]).max()
