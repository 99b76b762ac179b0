"""Other containers than MP4: alpha channels come back, and sound stays in step with the picture in all of them."""

from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile

from jax_talker.data.read.sound import open_sound
from jax_talker.data.read.video import check_video_path, read_alpha, read_frames, write_video
from jax_talker.errors import UserError

RATE = 48_000


def discs(count=10):
    """A disc that wanders over nothing: frames [H, W, 4]."""
    y, x = np.mgrid[:90, :97]
    rgb = np.dstack([2 * x, 2 * y, np.full_like(x, 60)])
    return [np.dstack([rgb, 255 * (np.hypot(x - 40 - t, y - 45) < 30)]).astype(np.uint8) for t in range(count)]


@pytest.mark.parametrize(("suffix", "colour", "alpha"), [(".webm", 2.5, 1.0), (".mov", 0.1, 0.01)])
def test_what_is_transparent_comes_back(tmp_path, suffix, colour, alpha):
    """ProRes 4444 within rounding; VP9 at half the resolution of colour."""
    frames = discs()
    path = write_video(tmp_path / f"a{suffix}", frames, sound=np.zeros(6400, np.float32))
    alphas, pictures = list(read_alpha(path)), list(read_frames(path))
    assert len(alphas) == len(pictures) == 10
    for frame, got, picture in zip(frames, alphas, pictures, strict=True):
        got, picture, inside = got[:90, :97].astype(int), picture[:90, :97].astype(int), frame[..., 3] > 0
        assert np.abs(got - frame[..., 3]).mean() < alpha
        assert np.abs(picture - frame[..., :3])[inside].mean() < colour


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_no_alpha_channel_is_dropped(tmp_path, suffix):
    with pytest.raises(UserError, match=r"use \.webm \(VP9\) or \.mov"):
        check_video_path(tmp_path / f"a{suffix}", transparent=True)
    with pytest.raises(UserError, match=r"use \.webm \(VP9\) or \.mov"):
        write_video(tmp_path / f"a{suffix}", discs(2))
    assert list(tmp_path.iterdir()) == []


def in_step(tmp_path, suffix, seconds, every):
    """Where flashes and beeps lie in a file that was written of a 48 kHz stereo sound: seconds of each."""
    at = np.arange(every / 2, seconds, every)
    sound = np.zeros((seconds * RATE, 2), np.int16)
    for time in at:
        first = round(time * RATE)
        sound[first : first + RATE // 50] = (16_000 * np.sin(np.arange(RATE // 50) / 7))[:, None]
    soundfile.write(tmp_path / "beeps.wav", sound, RATE)
    lit = {round(time * 25) for time in at}
    frames = (np.full((16, 16, 3), 250 if n in lit else 5, np.uint8) for n in range(seconds * 25))
    path = write_video(tmp_path / f"a{suffix}", frames, sound=open_sound(tmp_path / "beeps.wav"))
    flashes, beeps = [], []
    with av.open(str(path)) as video:
        (track,) = video.streams.audio
        assert (track.rate, track.layout.name) == (RATE, "stereo")
        for frame in video.decode(video=0):
            if frame.to_ndarray(format="gray").mean() > 128:
                flashes.append(float(frame.pts * frame.time_base))
    with av.open(str(path)) as video:
        for block in video.decode(audio=0):
            loud = np.flatnonzero(np.abs(block.to_ndarray()).max(0) > 0.1)
            time = float(block.pts * block.time_base)
            if len(loud) and (not beeps or time - beeps[-1] > 0.5):
                beeps.append(time + float(Fraction(int(loud[0]), RATE)))
    np.testing.assert_allclose(flashes, at, atol=0.0201)  # within half a frame of where it was wanted
    return np.array(beeps) - at


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".webm"])
def test_sound_of_48_khz_is_in_step(tmp_path, suffix):
    late = in_step(tmp_path, suffix, 8, 2)
    assert len(late) == 4
    assert np.abs(late).max() < 1 / 25


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_sound_is_in_step_after_ten_minutes(tmp_path, suffix):
    late = in_step(tmp_path, suffix, 600, 50)
    assert len(late) == 12
    assert np.abs(late).max() < 1 / 25
    assert abs(late[-1] - late[0]) < 0.005  # it does not drift, either
