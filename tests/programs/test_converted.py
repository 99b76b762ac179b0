"""A user's own checkpoint: converted, trained upon, rendered."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile
from programs.running import ROOT, SMALL, decoded, succeeds


@pytest.mark.slow  # minutes of compilation
@pytest.mark.parametrize(
    ("kind", "source"), [("gghead", "gghead/run/GGHEAD-1_tiny"), ("gsgan", "gsgan/gsgan_mini_cuda0.pkl")]
)
def test_converted_checkpoint_drives_the_programs(shared, clip, tmp_path, kind, source):
    """A user's own checkpoint (one saved on a GPU as well): convert, train, render a picture."""
    prior, folder, out = tmp_path / "prior", tmp_path / "run", tmp_path / "out.mp4"
    command = [sys.executable, "-m", "converters", kind, str(shared / "golden" / source), str(prior)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    flags = ["--config", "configs/quickstart.py", f"--config.data.clip={clip}", "--workdir", folder, *SMALL]
    directions = ["--config.model.expressions=2", "--config.model.lips=3"]  # the golden priors' W+ is small
    succeeds("train", *flags, *directions, f"--config.prior.path={prior}")
    soundfile.write(tmp_path / "speech.wav", 0.1 * np.random.default_rng(0).standard_normal(3200), 16000)
    succeeds("render", "--run", folder, "--audio", tmp_path / "speech.wav", "--out", out)
    frames, _ = decoded(out)
    assert len(frames) == 5
    assert np.std(frames[0]) > 1  # something is drawn
