"""``train`` in several processes, each with devices of its own: one run, with the numbers of one process."""

import json
import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy
from ml_collections import ConfigDict
from programs.running import CACHE, ROOT

from jax_talker.app import navigating
from jax_talker.app.person import FILE as PERSON
from jax_talker.app.run_folder import RunFolder

STEPS = 3
FLAGS = [
    *("--config", "configs/quickstart.py"),
    *(f"--config.{name}={STEPS}" for name in ("personalize.invert_steps", "personalize.tune_steps")),
    *(f"--config.{name}={STEPS}" for name in ("train.hear_steps", "train.steps")),
    *("--config.train.batch=8", "--config.train.swap=0"),  # a couple for each of four devices
    "--config.log.scalars=1",
]


def start(flags, workdir, devices, *more):
    """``train`` on so many simulated devices."""
    simulated = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    return subprocess.Popen(
        [sys.executable, "-m", "jax_talker.train", *FLAGS, *flags, *more, "--workdir", workdir],
        env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": simulated} | CACHE,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def free_port():
    with socket.socket() as some:
        some.bind(("localhost", 0))
        return some.getsockname()[1]


def numbers_of(root):
    """What was learnt, as a program finds it that opens the run on one device: of the person, and of the last step."""
    folder = RunFolder(root)
    params = navigating.open_speaker(ConfigDict(folder.config()), folder).params
    learnt = {jax.tree_util.keystr(path): np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(params)}
    return learnt | safetensors.numpy.load_file(folder.personal / PERSON)


def records_of(root):
    return [json.loads(line) for line in (root / "scalars.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_of_two_devices_train_what_one_of_four_does(clip, prior, tmp_path):
    flags = [f"--config.data.clip={clip}", f"--config.prior.path={prior}"]
    address = f"--coordinator=localhost:{free_port()}"
    started = [start(flags, tmp_path / "two", 2, address, "--processes=2", f"--process={k}") for k in range(2)]
    started.append(start(flags, tmp_path / "one", 4))
    said = [process.communicate(timeout=600)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], "\n".join(text[-2000:] for text in said)
    for text in (said[0], said[2]):
        assert all(line in text for line in ("computing on 4 × cpu", "step/s", "trained; next:"))
    assert not any(line in said[1] for line in ("computing on", "step/s", "trained;")), "only the first one speaks"

    got, wanted = (records_of(tmp_path / run) for run in ("two", "one"))
    assert [(record["stage"], record["step"]) for record in got] == [
        (stage, step) for stage in ("invert", "tune", "hear", "navigate") for step in range(1, STEPS + 1)
    ], "one log of both"
    for record, other in zip(got, wanted, strict=True):
        measured = [name for name in other if name not in ("stage", "input_wait")]
        np.testing.assert_allclose(
            [record[name] for name in measured], [other[name] for name in measured], rtol=1e-5, atol=1e-5
        )
    got, wanted = (numbers_of(tmp_path / run) for run in ("two", "one"))
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        off = np.abs(got[name] - value)
        # Adam makes whole steps of gradients that are but rounding: of two Gaussians, a millionth of the others'.
        assert (off > 1e-5 + 1e-5 * np.abs(value)).mean() < 0.01, name
        assert off.max() < 2 * STEPS * 1e-3, name
