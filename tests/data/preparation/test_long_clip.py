"""A clip that is much longer: the same memory, and a killed process is as good as none."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from jax_talker.data.read.video import write_video

SHORT, LONG = 20, 40  # s


@pytest.fixture(scope="module")
def filmed(drawn_head, beeps, tmp_path_factory):
    """Videos of a drawn head that goes through the same motion to and fro, and their landmark files."""
    head = drawn_head(50)
    folder = tmp_path_factory.mktemp("long")
    for seconds in (SHORT, LONG):
        order = np.resize(np.r_[0:50, 48:0:-1], seconds * 25)
        frames = (head.frames[i] for i in order)
        write_video(folder / f"{seconds}.mp4", frames, sound=beeps(seconds, np.arange(0.5, seconds, 0.5)), crf=20)
        np.savez(folder / f"{seconds}.npz", landmarks=head.landmarks[order])
    return folder


def start(filmed, seconds, out):
    command = [sys.executable, "-m", "jax_talker.prepare", f"--video={filmed}/{seconds}.mp4", f"--out={out}"]
    return subprocess.Popen(
        [*command, f"--landmarks={filmed}/{seconds}.npz", "--size=96", "--workers=2"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def finish(process):
    """Peak memory of a process that ends well, MiB."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss / 1024


@pytest.mark.slow
def test_memory_does_not_grow_with_the_clip(filmed, tmp_path):
    """Twice as long. What grows are numbers per frame (landmarks, poses, sound), some 15 kB each, 8 MiB here;
    pictures kept anywhere would be 500 × 225 kB."""
    short, long = (finish(start(filmed, seconds, tmp_path / str(seconds))) for seconds in (SHORT, LONG))
    assert long - short < 40


@pytest.fixture(scope="module")
def whole(filmed, tmp_path_factory):
    """The short clip, made without an interruption."""
    folder = tmp_path_factory.mktemp("whole") / "clip"
    finish(start(filmed, SHORT, folder))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["found", "cut"])
def test_a_killed_process_is_continued_and_ends_identical(filmed, whole, tmp_path, stage):
    """SIGKILL in the middle of finding faces and of cutting them out; the second process ends with the same bytes."""
    killed = tmp_path / "b" / "clip"
    process = start(filmed, SHORT, killed)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob(f"b/.clip.*.partial/progress/{stage}/front/*.npz"))) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not killed.exists()
    (unfinished,) = killed.parent.iterdir()
    written = {p: p.stat().st_mtime_ns for p in unfinished.rglob(f"progress/{stage}/front/*.npz")}
    finish(start(filmed, SHORT, killed))
    assert len(written) < 20 * 25 / 40  # it was in the middle
    files = {p.relative_to(whole) for p in whole.rglob("*") if p.is_file()}
    assert files == {p.relative_to(killed) for p in killed.rglob("*") if p.is_file()}
    assert not [str(f) for f in files if (whole / f).read_bytes() != (killed / f).read_bytes()]
