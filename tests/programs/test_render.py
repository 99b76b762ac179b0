"""``render`` and ``export``: any sound from any camera, and motion that goes out and comes back."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from programs.running import ROOT, SIZE, decoded, refuses, succeeds

from jax_talker.data.read.video import read_alpha, read_frames
from kernels.ply import read_ply


@pytest.mark.parametrize("camera", ["yaw=20,pitch=-10", "spiral"])
def test_render_any_sound_from_any_camera(run, tmp_path, camera):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "speech.wav", 0.1 * rng.standard_normal((22050, 2)), 22050)  # 1 s, stereo, another rate
    out = tmp_path / "out.mp4"
    flags = ["--run", run, "--camera", camera, "--out", out]
    if camera == "spiral":
        with (tmp_path / "speech.wav").open("rb") as stdin:
            succeeds("render", *flags, "--audio", "-", stdin=stdin)
    else:
        succeeds("render", *flags, "--audio", tmp_path / "speech.wav")
    frames, sound = decoded(out)
    assert len(frames) == 25
    assert frames[0].shape == (SIZE, SIZE, 3)
    assert np.abs(sound).max() > 0.05
    assert np.std(frames[0]) > 5


def test_motion_and_cameras_go_out_and_come_back(run, tmp_path):
    """Rendered again from what was written, the same pictures; and the same motion as splats."""
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "speech.wav", 0.1 * rng.standard_normal((28_800, 2)), 48_000)  # 15 frames
    motion, cameras = tmp_path / "motion.npz", tmp_path / "path.json"
    flags = ["--run", run, "--size", SIZE, "--background", "transparent", "--provenance", "off"]
    first, again = tmp_path / "a.mov", tmp_path / "b.mov"
    written = ["--coefficients-out", motion, "--camera-out", cameras]
    succeeds("render", *flags, "--camera", "spiral", "--audio", tmp_path / "speech.wav", *written, "--out", first)
    succeeds("render", *flags, "--camera", cameras, "--coefficients", motion, "--out", again)
    for read in (read_frames, read_alpha):
        pictures = [np.stack(list(read(path))).astype(int) for path in (first, again)]
        assert len(pictures[0]) == len(pictures[1]) == 15
        assert np.abs(pictures[0] - pictures[1]).max() <= 2  # rounding of what was written, and ProRes after it
    assert 0 < np.mean(pictures[0] > 128) < 1
    succeeds("export", "--run", run, "--coefficients", motion, "--frame", 13, "--sequence", "--out", tmp_path / "h.ply")
    heads = [read_ply(path) for path in sorted(tmp_path.glob("h_*.ply"))]
    assert [p.name for p in sorted(tmp_path.glob("*.ply"))] == ["h_0013.ply", "h_0014.ply"]
    assert np.abs(heads[0].means - heads[1].means).max() > 0
    flags = ["--run", run, "--coefficients", motion, "--frame", 13, "--nopixel"]
    succeeds("export", *flags, "--out", tmp_path / "narrow.ply")
    assert (heads[0].scales > read_ply(tmp_path / "narrow.ply").scales).all()
    refuses("there are 15 frames", "export", "--run", run, "--coefficients", motion, "--frame", 15, "--out", "h.ply")


@pytest.mark.slow
def test_the_notebook_shows_a_run(run):
    cells = json.loads((ROOT / "docs/notebooks/talking_head.ipynb").read_text(encoding="utf-8"))["cells"]
    code = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    environment = os.environ | {"RUN": str(run), "MPLBACKEND": "agg", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "484 Gaussians" in done.stdout
