"""Sound as it comes: the same samples as of the whole file."""

import io

import numpy as np
import pytest
import soundfile

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

    class Stdin:
        buffer = io.BufferedReader(Pipe((tmp_path / "a.wav").read_bytes()))

    monkeypatch.setattr("sys.stdin", Stdin)
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
        ("pulse:no_such_device", "pulse:no_such_device: no such sound device"),
    ):
        with pytest.raises(UserError, match=message) as error:
            list(live_sound(source))
        assert "\n" not in str(error.value)


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
