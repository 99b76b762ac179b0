"""``train``: what it leaves behind, that it goes on, and what it refuses."""

import json
import sys

import numpy as np
import pytest
from programs.running import SMALL, refuses, succeeds

from jax_talker.app.person import load_person


def test_train_writes_what_it_promises(run):
    assert json.loads((run / "config.json").read_text())["train"]["steps"] == 4
    assert (run / "checkpoints" / "navigate" / "4").is_dir()
    stages = {json.loads(line)["stage"] for line in (run / "scalars.jsonl").read_text().splitlines()}
    assert stages == {"invert", "tune", "hear", "navigate"}
    layout = load_person(run / "personal").layout
    unsure = np.asarray(layout.seen * layout.colours) < 0.5
    assert unsure.any()
    assert np.abs(np.asarray(layout.tint)[unsure]).max() > 1e-4, "the unseen has its neighbours' shade"


def test_train_resumes_and_refuses_to_overwrite(run, clip, small):
    flags = ["--config", "configs/quickstart.py", f"--config.data.clip={clip}", "--workdir", run, *small]
    refuses("pass --resume to go on", "train", *flags)
    before = (run / "config.json").read_bytes()
    refuses("was made with another configuration:", "train", *flags, "--config.model.lips=9", "--resume")
    refuses("does not fit this configuration", "train", *flags, "--config.model.lips=9", "--resume", "--allow-changes")
    assert (run / "config.json").read_bytes() == before, "what is refused changes nothing"
    done = succeeds("train", *flags, "--config.train.steps=6", "--resume")
    assert "resuming with another train.steps: 4 → 6" in done.stderr + done.stdout
    assert (run / "checkpoints" / "navigate" / "6").is_dir()


@pytest.mark.skipif(sys.platform != "linux", reason="needs a place where nobody may write")
def test_a_run_that_cannot_be_written_is_refused_before_any_work(clip):
    flags = ["--config", "configs/quickstart.py", f"--config.data.clip={clip}", "--workdir", "/proc/self/run"]
    done = refuses("/proc/self/run: cannot write there", "train", *flags, *SMALL)
    assert "computing on" not in done.stdout + done.stderr


def test_a_prior_that_is_trained_has_no_head_to_view(tmp_path):
    flags = ["--config", "configs/prior.py", "--workdir", tmp_path / "prior", "--view"]
    refuses("--view shows a talking head, and config.task is 'prior'", "train", *flags)
    assert not (tmp_path / "prior").exists()
