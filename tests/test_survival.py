"""Nothing is lost: a training that is killed at any moment, asked to end, or on a full disk, ends with the bits of one
that was not.

JAX_TALKER_KILLS=20 python -m pytest -m slow tests/test_survival.py -s       # more kills of the whole program
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy
from programs.people import clip, made, prior
from programs.running import CACHE
from small_disk import MB, fill, small_disk
from training import toy_training

from jax_talker import cli
from jax_talker.app import navigating, personalizing
from jax_talker.app.person import FILE as PERSON
from jax_talker.app.run_folder import RunFolder
from jax_talker.training.checkpoint import Checkpoints

__all__ = ["clip", "made", "prior"]
ROOT = Path(__file__).resolve().parents[1]
KILLS = 20  # of a loop that saves often
# Of the whole program, whose every start traces for seconds: one in each sixth of its time, or in so many parts.
KILLS_OF_TRAIN = int(os.environ.get("JAX_TALKER_KILLS", "6"))
STEPS = 6
FLAGS = [
    *("--config", "configs/quickstart.py", "--resume"),
    f"--config.personalize.invert_steps={STEPS}",
    f"--config.personalize.tune_steps={STEPS}",
    f"--config.train.hear_steps={STEPS}",
    f"--config.train.steps={STEPS}",
    "--config.train.batch=2",
    "--config.log.scalars=2",  # no divisor of what is saved: records do not fall together with checkpoints
    "--config.log.checkpoint=3",
]
# A program, started by forking a process that has imported it: the moments of imports are no moments of training. Each
# line on standard input is a run; each line back is its process, and later how it ended.
STARTER = """
import os, sys
flags = sys.argv[1:]
{imports}
for line in sys.stdin:
    child = os.fork()
    if not child:
        workdir = line.strip()
        out = os.open(workdir + ".log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1), os.dup2(out, 2)
        try:
            {run}
        except SystemExit as end:
            os._exit(end.code or 0)
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


TRAIN = STARTER.format(
    imports="from jax_talker import cli, train\nimport jax_talker.app.navigating",
    run='cli.run(train.main, ["train", *flags, "--workdir", workdir])',
)
LOOP = STARTER.format(imports="import toy_training", run="toy_training.main(workdir)")


class Starter:
    """Runs trainings, one at a time."""

    def __init__(self, code, flags):
        environment = os.environ | {
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'training'}",
            "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0",
            **CACHE,
        }
        command = [sys.executable, "-W", "ignore", "-c", code, *map(str, flags)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, workdir, after=None, number=signal.SIGKILL):
        """(exit status, its seconds) of a training that gets the signal in so many s, or once a path is there."""
        streams = self._process.stdin, self._process.stdout
        streams[0].write(f"{workdir}\n")
        streams[0].flush()
        begun, child = time.monotonic(), int(streams[1].readline())
        if after is not None:
            if isinstance(after, Path):
                appears(after)
            else:
                time.sleep(after)
            with contextlib.suppress(ProcessLookupError):  # it has ended before
                os.kill(child, number)
        status = int(streams[1].readline())
        return os.waitstatus_to_exitcode(status), time.monotonic() - begun

    def close(self):
        self._process.stdin.close()
        self._process.wait(60)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("survival")


@pytest.fixture(scope="module")
def starter(clip, prior):
    begun = Starter(TRAIN, [*FLAGS, f"--config.data.clip={clip}", f"--config.prior.path={prior}"])
    yield begun
    begun.close()


@pytest.fixture(scope="module")
def unbroken(starter, place):
    """A run that nobody interrupted, everything compiled before; and the seconds it takes."""
    assert starter.run(place / "first")[0] == 0, log_of(place / "first")
    status, took = starter.run(place / "unbroken")
    assert status == 0
    return place / "unbroken", took


def appears(path, within=300):
    deadline = time.monotonic() + within
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)


def log_of(workdir):
    return Path(f"{workdir}.log").read_text()[-4000:]


def outcome(root):
    """Every number that a run leaves: those of all stages' last checkpoints and of the person, by name."""
    found = dict(safetensors.numpy.load_file(root / "personal" / PERSON))
    for stage in [*personalizing.STAGES, *navigating.STAGES]:
        with Checkpoints(RunFolder(root).checkpoints(stage)) as checkpoints:
            assert checkpoints.latest() == STEPS
            found |= {f"{stage}{name}": leaf for name, leaf in flat(checkpoints.stored()).items()}
    return found


def flat(tree):
    return {jax.tree_util.keystr(path): np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(tree)}


def same(a, b):
    assert a.keys() == b.keys()
    differing = [name for name in a if a[name].tobytes() != b[name].tobytes()]
    assert not differing, f"{len(differing)} of {len(a)} arrays differ: {differing[:5]}"


def killed(starter, place, moments):
    """Run after run, killed after so many seconds each, until all moments are used; the folders of runs that went on to
    their end."""
    left, folders = list(moments), []
    while left:
        folders.append(place / f"killed_{len(folders)}")
        while left:
            status, _ = starter.run(folders[-1], after=left[0])
            assert status in (0, -signal.SIGKILL), log_of(folders[-1])
            left.pop(0)
            if status == 0:  # finished before it was killed
                break
        assert starter.run(folders[-1])[0] == 0, log_of(folders[-1])
    return folders


@pytest.mark.slow
def test_a_loop_that_is_killed_at_random_moments_ends_with_the_same_bits(tmp_path):
    starter = Starter(LOOP, [])
    starter.run(tmp_path / "first")
    assert starter.run(tmp_path / "unbroken")[0] == 0, log_of(tmp_path / "unbroken")
    took = starter.run(tmp_path / "again")[1]
    random_moments = random.Random(0)
    folders = killed(starter, tmp_path, [random_moments.uniform(0.2, 1.0) * took for _ in range(KILLS)])
    starter.close()
    with Checkpoints(tmp_path / "unbroken") as checkpoints:
        wanted = flat(checkpoints.stored())
    for root in folders:
        with Checkpoints(root) as checkpoints:
            same(flat(checkpoints.stored()), wanted)
    print(f"{KILLS} kills in {len(folders)} runs; unbroken, one takes {took:.1f} s")


@pytest.mark.slow
def test_a_training_that_is_killed_at_random_moments_ends_with_the_same_bits(starter, unbroken, place):
    """In any stage, and between them: compiling, saving, scoring, writing the person."""
    wanted, took = unbroken
    random_moments = random.Random(0)
    moments = [took * (k + random_moments.random()) / KILLS_OF_TRAIN for k in range(KILLS_OF_TRAIN)]
    folders = killed(starter, place, random_moments.sample(moments, len(moments)))
    for root in folders:
        same(outcome(root), outcome(wanted))
    print(f"{KILLS_OF_TRAIN} kills in {len(folders)} runs; unbroken, one takes {took:.1f} s")


@pytest.mark.slow
def test_killed_before_the_first_checkpoint_of_navigating_it_remembers_what_was_heard(starter, unbroken, place):
    """The folder of that stage is there by then."""
    wanted, _ = unbroken
    root = Path(shutil.copytree(wanted, place / "heard"))
    for checkpoint in RunFolder(root).checkpoints(navigating.STAGE).iterdir():
        shutil.rmtree(checkpoint)
    assert starter.run(root)[0] == 0, log_of(root)
    same(outcome(root), outcome(wanted))


@pytest.mark.slow
def test_asked_to_end_it_saves_says_how_to_go_on_and_ends_with_the_same_bits(starter, unbroken, place):
    wanted, _ = unbroken
    root = place / "asked"
    for stage in ("invert", "hear"):  # while each still has steps before it
        assert starter.run(root, RunFolder(root).checkpoints(stage), signal.SIGTERM)[0] == 0, log_of(root)
        assert "the same command with --resume goes on" in log_of(root).splitlines()[-1]
    assert starter.run(root)[0] == 0
    same(outcome(root), outcome(wanted))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax leaves a thread behind then
def test_a_loop_on_a_full_disk_ends_in_one_line_and_goes_on_when_there_is_room(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(toy_training, "STEPS", 12)  # with checkpoints at 3, 6, 9 and 12
    toy_training.main(str(tmp_path / "unbroken"))
    with Checkpoints(tmp_path / "unbroken") as checkpoints:
        wanted = flat(checkpoints.stored())
    size = size_of(tmp_path / "unbroken") / len(list((tmp_path / "unbroken").glob("[0-9]*")))
    with small_disk(tmp_path / "disk", 32 * MB) as disk:
        train = lambda: cli.run(lambda: toy_training.main(str(disk / "run")), ["train"])  # noqa: E731
        ballast = fill(disk, round(2.5 * size))  # two are kept, and the oldest goes when the third is there
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            train()
        assert end.value.code == cli.EXIT_USER_ERROR
        (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert "cannot save a checkpoint (No space left on device); the last whole one is of step 6; put that" in said
        ballast.unlink()
        train()
        with Checkpoints(disk / "run") as checkpoints:
            same(flat(checkpoints.stored()), wanted)


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.slow
def test_a_training_on_a_full_disk_ends_in_one_line_and_goes_on_when_there_is_room(starter, unbroken, place):
    """In navigating: there is room for its first checkpoint, and not for its last one."""
    wanted, _ = unbroken
    with small_disk(place / "full", size_of(wanted) + 64 * MB) as root:
        shutil.copytree(wanted, root, dirs_exist_ok=True)
        kept = RunFolder(root).checkpoints(navigating.STAGE)
        first = kept / str(STEPS // 2)
        size = size_of(first)
        shutil.rmtree(kept)
        ballast = fill(root, round(1.6 * size))
        assert starter.run(root)[0] == cli.EXIT_USER_ERROR, log_of(root)
        said = [line for line in log_of(root).splitlines() if line.startswith("error: ")]
        assert len(said) == 1
        assert "no space left" in said[0].lower()
        assert first.is_dir()
        ballast.unlink()
        assert starter.run(root)[0] == 0, log_of(root)
        same(outcome(root), outcome(wanted))
