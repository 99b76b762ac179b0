"""``render --stream``: what comes through a pipe becomes a video, or raw frames for another pipe."""

import numpy as np
import pytest
import soundfile
from programs.running import SIZE, decoded, refuses, succeeds


@pytest.fixture
def speech(tmp_path):
    """0.6 s, so 15 frames; stereo, at another rate."""
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "speech.wav", 0.1 * rng.standard_normal((28_800, 2)), 48_000)
    return tmp_path / "speech.wav"


def test_a_pipe_becomes_a_video_or_raw_frames(run, tmp_path, speech):
    flags = ["--stream", "--run", run, "--audio", "-", "--gain", 3, "--at-once", 3, "--provenance", "off"]
    with speech.open("rb") as stdin:
        done = succeeds("render", *flags, "--out", tmp_path / "a.mp4", stdin=stdin)
    assert "0.60 s of sound, real-time factor" in done.stderr
    frames, sound = decoded(tmp_path / "a.mp4")
    assert len(frames) == 15
    assert frames[0].shape == (SIZE, SIZE, 3)
    assert np.std(frames[0]) > 5
    assert np.abs(sound).max() > 0.05
    with speech.open("rb") as stdin, (tmp_path / "raw").open("wb") as stdout:
        succeeds("render", *flags, "--out", "-", stdin=stdin, stdout=stdout)
    raw = np.fromfile(tmp_path / "raw", np.uint8)
    assert raw.size == 15 * SIZE * SIZE * 3
    raw = raw.reshape(15, SIZE, SIZE, 3)
    assert np.abs(raw.astype(int) - np.stack(frames)).mean() < 6  # H.264 lies between them


def test_what_cannot_be_streamed_is_one_clear_line(run, tmp_path, speech):
    asked = ["--run", run, "--out", tmp_path / "o.mp4"]
    refuses("--gain goes with --stream only", "render", *asked, "--audio", speech, "--gain", 3)
    refuses("--at-once goes with --stream only", "render", *asked, "--audio", speech, "--at-once", 3)
    refuses("-: standard input is empty", "render", *asked, "--stream", "--audio", "-")
    (tmp_path / "noise").write_bytes(np.random.default_rng(0).bytes(50_000))
    with (tmp_path / "noise").open("rb") as stdin:
        refuses("-: no sound", "render", *asked, "--stream", "--audio", "-", stdin=stdin)
    soundfile.write(tmp_path / "silence.wav", np.zeros(0), 16_000)
    refuses("0 ms of sound", "render", *asked, "--stream", "--audio", tmp_path / "silence.wav")
    assert not list(tmp_path.glob("*.mp4")), "nothing half-written is left"
