"""``train`` on several devices, of one process and of two: one run, with the numbers of any other division, and whole
after it was asked to end."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import jax
import numpy as np
import pytest
import safetensors.numpy
from ml_collections import ConfigDict
from programs.running import CACHE, PATIENT, ROOT

from jax_talker.app import navigating
from jax_talker.app.person import FILE as PERSON
from jax_talker.app.person import load_person
from jax_talker.app.run_folder import RunFolder
from jax_talker.training.checkpoint import Checkpoints
from jax_talker.training.log import SCALARS
from jax_talker.training.state import create, direction

STEPS = 3
HEARING = 20  # steps: JAX tells all processes of a signal up to a second after one has got it
FLAGS = [
    *("--config", "configs/quickstart.py"),
    *(f"--config.{name}={STEPS}" for name in ("personalize.invert_steps", "personalize.tune_steps")),
    *(f"--config.train.steps={STEPS}", f"--config.train.hear_steps={HEARING}"),
    *("--config.train.batch=8", "--config.train.swap=0"),  # a couple for each of four devices
    "--config.log.scalars=1",
]
WAYS = {"jit": [], "pmap": ["--config.devices.mode=pmap"], "two": []}  # two processes of two devices, or one of four


def start(way, flags, workdir, *, slurm=False):
    """The processes of a ``train`` in one of WAYS, on four simulated devices; two find each other by flags, or as tasks
    of one job."""
    count = 2 if way == "two" else 1
    simulated = f"--xla_force_host_platform_device_count={4 // count} --xla_backend_optimization_level=0 {PATIENT}"
    env = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": simulated} | CACHE
    if count == 1:
        each = [([], {})]
    elif slurm:
        job = str(slurm_job())
        each = [(["--cluster"], slurm_task(job, count, k)) for k in range(count)]
    else:
        address = f"localhost:{free_port()}"
        each = [([f"--processes={count}", f"--coordinator={address}", f"--process={k}"], {}) for k in range(count)]
    return [
        subprocess.Popen(
            [sys.executable, "-m", "jax_talker.train", *FLAGS, *flags, *WAYS[way], *own, "--workdir", workdir],
            env=env | told,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for own, told in each
    ]


def slurm_task(job, count, number):
    """What Slurm's srun tells task ``number`` of ``count``, all on this machine."""
    told = {"JOB_ID": job, "STEP_NODELIST": "localhost", "STEP_NUM_NODES": 1, "NTASKS": count}
    return {f"SLURM_{key}": str(x) for key, x in (told | {"PROCID": number, "LOCALID": number}).items()}


def slurm_job():
    """A job's number, by which JAX chooses one of the last 4096 ports: one that is free."""
    for job in range(4096):
        with socket.socket() as some, contextlib.suppress(OSError):
            some.bind(("localhost", 65536 - 4096 + job))
            return job
    raise AssertionError("no free port")


def free_port():
    with socket.socket() as some:
        some.bind(("localhost", 0))
        return some.getsockname()[1]


def ended(started):
    """What each process has said, all having ended well. One that waits for a failed one is killed in a minute."""
    with ThreadPoolExecutor(len(started)) as listening:
        heard = [listening.submit(process.communicate) for process in started]
        wait(heard, timeout=900, return_when=FIRST_COMPLETED)
        wait(heard, timeout=60)
        for process in started:
            process.kill()
    said = [one.result()[0] for one in heard]
    assert [process.returncode for process in started] == [0] * len(said), "\n".join(text[-2000:] for text in said)
    return said


@pytest.fixture(scope="module")
def flags(clip, prior):
    return [f"--config.data.clip={clip}", f"--config.prior.path={prior}"]


@pytest.fixture(scope="module")
def unbroken(flags, tmp_path_factory):
    """(folder, what its processes said) of a run that nobody interrupted, in each way."""
    place = tmp_path_factory.mktemp("unbroken")
    started = {way: start(way, flags, place / way) for way in WAYS}
    return {way: (place / way, ended(processes)) for way, processes in started.items()}


@pytest.fixture(scope="module")
def resumed(unbroken, flags, tmp_path_factory):
    """A run of two processes that SIGTERM met while they learnt to hear and of one under pmap that ended before it
    navigated, both gone on with, the former as tasks of Slurm's: the folders, and what it said when asked to end.

    They begin as the unbroken ones, personalised: what comes before is interrupted in tests/test_survival.py.
    """
    place, going_on = tmp_path_factory.mktemp("resumed"), [*flags, "--resume"]
    for way, left in (("two", navigating.STAGES), ("pmap", [navigating.STAGE])):
        shutil.copytree(unbroken[way][0], place / way)
        for stage in left:
            shutil.rmtree(RunFolder(place / way).checkpoints(stage))
        kept = [record for record in records_of(place / way) if record["stage"] not in left]
        (place / way / SCALARS).write_text("".join(json.dumps(record) + "\n" for record in kept))
    before, deadline = len(records_of(place / "two")), time.monotonic() + 600
    started = start("two", going_on, place / "two", slurm=True)
    while len(records_of(place / "two")) == before and not any(process.poll() for process in started):
        assert time.monotonic() < deadline, "nothing was learnt"
        time.sleep(0.05)
    for process in started:
        process.send_signal(signal.SIGTERM)
    said = ended(started)
    for processes in [start(way, going_on, place / way, slurm=way == "two") for way in ("two", "pmap")]:
        ended(processes)
    return {way: place / way for way in ("two", "pmap")}, said


def records_of(root):
    """Whole lines of the log; of a run that goes on while it is read as well."""
    return [json.loads(line) for line in (root / SCALARS).read_text().split("\n")[:-1]]


def numbers_of(root):
    """Every number of a run's last state and of the person, as a program finds them that opens it on one device."""
    folder = RunFolder(root)
    like = create(load_person(folder.personal).params, direction(), 0)
    with Checkpoints(folder.checkpoints(navigating.STAGE)) as checkpoints:
        state, _ = checkpoints.restore(like)
    numbers = (state.step, state.params, state.opt_state, jax.random.key_data(state.key))
    found = {jax.tree_util.keystr(path): np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(numbers)}
    return found | safetensors.numpy.load_file(folder.personal / PERSON)


def learnt_by(root):
    """What was learnt, as a program finds it that opens the run on one device: of the person, and of the last step."""
    folder = RunFolder(root)
    params = navigating.open_speaker(ConfigDict(folder.config()), folder).params
    learnt = {jax.tree_util.keystr(path): np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(params)}
    return learnt | safetensors.numpy.load_file(folder.personal / PERSON)


def measured(record):
    return {name: value for name, value in record.items() if name != "input_wait"}


@pytest.mark.slow
@pytest.mark.parametrize("way", ["pmap", "two"])
def test_a_run_has_the_numbers_of_one_process_of_four_devices(unbroken, way):
    said, one = unbroken[way][1], unbroken["jit"][1]
    for text in (said[0], one[0]):
        assert all(line in text for line in ("computing on 4 × cpu", "step/s", "trained; next:"))
    for text in said[1:]:
        assert not any(line in text for line in ("computing on", "step/s", "trained;")), "only the first one speaks"

    got, wanted = (records_of(unbroken[which][0]) for which in (way, "jit"))
    assert [(record["stage"], record["step"]) for record in got] == [
        (stage, step)
        for stage in ("invert", "tune", "hear", "navigate")
        for step in range(1, (HEARING if stage == "hear" else STEPS) + 1)
    ], "one log of all"
    for record, other in zip(map(measured, got), map(measured, wanted), strict=True):
        assert record.pop("stage") == other.pop("stage")
        assert record.keys() == other.keys()
        np.testing.assert_allclose(list(record.values()), list(other.values()), rtol=1e-5, atol=1e-5)
    got, wanted = (learnt_by(unbroken[which][0]) for which in (way, "jit"))
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        off = np.abs(got[name] - value)
        # Adam makes whole steps of gradients that are but rounding: of two Gaussians, a millionth of the others'.
        assert (off > 1e-5 + 1e-5 * np.abs(value)).mean() < 0.01, name
        assert off.max() < 2 * STEPS * 1e-3, name


@pytest.mark.slow
def test_two_processes_that_are_asked_to_end_save(resumed):
    asked = "hear: stopped after step"
    assert all(asked in text and "; it is saved; the same command with --resume goes on" in text for text in resumed[1])


@pytest.mark.slow
@pytest.mark.parametrize("way", ["pmap", "two"])
def test_a_run_that_is_gone_on_with_ends_with_the_bits_of_an_unbroken_one(unbroken, resumed, way):
    root, again = unbroken[way][0], resumed[0][way]
    assert [measured(record) for record in records_of(again)] == [measured(record) for record in records_of(root)]
    got, wanted = numbers_of(again), numbers_of(root)
    assert got.keys() == wanted.keys()
    differing = [name for name in wanted if got[name].tobytes() != wanted[name].tobytes()]
    assert not differing, f"{len(differing)} of {len(wanted)} arrays differ: {differing[:5]}"
