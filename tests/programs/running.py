"""Programs as a user runs them: each in a process of its own, with a run of seconds."""

import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SIZE = 32
SMALL = [  # a run of seconds: what is tested is that everything fits together
    "--config.personalize.invert_steps=3",
    "--config.personalize.tune_steps=3",
    "--config.train.hear_steps=3",
    "--config.train.steps=4",
    "--config.train.batch=2",
    "--config.log.scalars=2",
]
QUICKSTART = ["--config", "configs/quickstart.py"]


# Programs of one session, which may have several workers, compile the same things; where tests keep what they compile
# (Makefile), those of other sessions have as well.
SESSION = os.environ.get("PYTEST_XDIST_TESTRUNUID") or secrets.token_hex(8)
OWN = str(Path(tempfile.gettempdir()) / f"jax_talker_programs_{SESSION}")
CACHE = {
    "JAX_COMPILATION_CACHE_DIR": os.environ.get("JAX_COMPILATION_CACHE_DIR", OWN),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",  # a small run's two hundred smallest programs take 2 s of its 19
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


# XLA's flags for several simulated devices: on a busy machine a process may still compile when another one, or a device
# of it, has waited for it for the half minute after which XLA would end them.
PATIENT = " ".join(
    f"--xla_cpu_collective_{name}_seconds=600"
    for name in ("timeout", "call_warn_stuck_timeout", "call_terminate_timeout")
)


def program(name, *flags, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE):
    """Run ``python -m jax_talker.<name>``; returns the finished process with its output as text."""
    command = [sys.executable, "-m", f"jax_talker.{name}", *map(str, flags)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"} | CACHE
    return subprocess.run(
        command, cwd=cwd, env=environment, text=True, timeout=600, check=False, stdin=stdin, stdout=stdout,
        stderr=subprocess.PIPE,
    )  # fmt: skip


def succeeds(name, *flags, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE):
    done = program(name, *flags, cwd=cwd, stdin=stdin, stdout=stdout)
    assert done.returncode == 0, done.stderr[-4000:]
    return done


def refuses(message, name, *flags, stdin=subprocess.DEVNULL):
    """One line, exit code 2, no traceback."""
    done = program(name, *flags, stdin=stdin)
    assert done.returncode == 2, (done.returncode, done.stderr[-2000:])
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, done.stderr[-2000:]
    assert message in lines[0], lines[0]
    assert "Traceback" not in done.stderr
    return done


def decoded(path):
    with av.open(str(path)) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    with av.open(str(path)) as video:
        sound = np.concatenate([block.to_ndarray().ravel() for block in video.decode(audio=0)])
    return frames, sound
