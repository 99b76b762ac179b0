"""Every file of hostile.py: refused in one line or read, within seconds and a gigabyte, and nothing is left behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the file beside this one; importlib mode knows no packages of tests
import hostile

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 600  # characters of an error, the path of a temporary folder included
READ = {
    "a dictionary in itself",
    "values under many keys",
    "a persistent class with a long name",
    "an array of objects",
}
READ |= {"many records", "modules in themselves"}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """All files, each in a process of its own without the tests' type checks."""
    out = tmp_path_factory.mktemp("hostile") / "results.json"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(Path(hostile.__file__)), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(out.read_text())


def test_there_are_enough():
    assert len(hostile.FILES) >= 40


@pytest.mark.parametrize("name", hostile.FILES)
def test_hostile_file(results, name):
    found = results[name]
    assert "died" not in found, f"the process ended with {found['died']}"
    assert found["size"] <= 3_200_000
    assert found["peak"] <= hostile.MEMORY, f"{found['peak'] >> 20} MiB"
    assert not found["left"]
    for run in found["runs"]:
        # Of processor time: what a machine does besides is not the file's doing.
        assert run["processor"] <= hostile.SECONDS, run
        assert run["code"] in ((0, 2) if run["command"] == "inspect" else (2,)), run
        assert "Traceback" not in run["said"], run["said"]
        if run["code"] == 2:
            assert run["said"].startswith("error: "), run["said"]
            assert run["said"].count("\n") == 1, run["said"]
            assert len(run["said"]) <= LONGEST


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
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(tmp_path / "file.pkl"), str(Path(hostile.__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert int(done.stdout) > 100  # 40 names of up to 40 MB, one after another, in a file of 1 MB
