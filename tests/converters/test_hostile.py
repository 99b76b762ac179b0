"""Every file of hostile.py: refused in one line or read, within seconds and a gigabyte, and nothing is left behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the file beside this one; importlib mode knows no packages of tests
import hostile

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
LONGEST = 600  # characters of an error, the path of a temporary folder included


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """All files, each in a process of its own without the tests' type checks."""
    out = tmp_path_factory.mktemp("hostile") / "results.json"
    command = [sys.executable, str(Path(hostile.__file__)), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(out.read_text())


def test_there_are_enough():
    assert len(hostile.FILES) >= 40


@pytest.mark.parametrize("name", hostile.FILES)
def test_hostile_file(results, name):
    found = results[name]
    assert "died" not in found, f"the process ended with {found['died']} (-14: by the clock on the wall)"
    assert found["size"] <= 3_200_000
    assert found["peak"] <= hostile.MEMORY, f"{found['peak'] >> 20} MiB"
    assert not found["left"]
    for run in found["runs"]:
        # Of processor time, which is the file's doing; and by the clock on the wall, where hostile.py ends what waits.
        assert run["processor"] <= hostile.SECONDS, run
        assert run["seconds"] <= hostile.SECONDS, run
        assert run["code"] in ((0, 2) if run["command"] == "inspect" else (2,)), run
        assert "Traceback" not in run["said"], run["said"]
        if run["code"] == 2:
            assert run["said"].startswith("error: "), run["said"]
            assert run["said"].count("\n") == 1, run["said"]
            assert len(run["said"]) <= LONGEST


def test_a_file_that_waits_fails_its_row(tmp_path):
    """With a reader that opens a pipe as it opens a file, the row ends, and as a failure."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from converters import checkpoint\n"
        "import hostile\n"
        "hostile.SECONDS = 1\n"
        "checkpoint._open = lambda path: memoryview(path.read_bytes())\n"
        "hostile.main(sys.argv[1], ['a pipe'])\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "results.json"), str(Path(hostile.__file__).parent)]
    process = subprocess.Popen(command, env=ENVIRONMENT, start_new_session=True)
    try:
        assert process.wait(60) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):  # what may still wait for the pipe
            os.killpg(process.pid, signal.SIGKILL)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results == {"a pipe": {"died": -signal.SIGALRM}}


def test_the_limits_are_what_refuses(tmp_path):
    """With limits far away the same file takes what it wants: the table tests something."""
    code = (
        "import sys, resource; sys.path.insert(0, sys.argv[2])\n"
        "from converters import budget, checkpoint\n"
        "import hostile, pathlib\n"
        "budget.LIMITS = dict.fromkeys(budget.LIMITS, 10**12)\n"
        "path = pathlib.Path(sys.argv[1]); path.write_bytes(hostile.FILES['modules with long names']())\n"
        "found = checkpoint.read(path); checkpoint.state(checkpoint.ema_generator(found), found.budget)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "file.pkl"), str(Path(hostile.__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert int(done.stdout) > 100  # 40 names of up to 40 MB, one after another, in a file of 1 MB
