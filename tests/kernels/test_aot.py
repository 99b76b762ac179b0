"""What XLA's GPU compiler and NVIDIA's assembler say of the Pallas kernels. No card is needed, but Python 3.12."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jax_talker-aot"  # kept: 600 MB
JAX = "0.11.2"
# By whether there are extra channels. Measured 2026-11-28: 72, 72 and 48; with six of them 168 and 167. A few more may
# come with another compiler, a quarter more would cost a warp or two of those that an SM holds.
MOST_REGISTERS = {
    "splat_composite_fwd": {False: 80, True: 168},
    "splat_composite_bwd": {False: 80, True: 168},
    "splat_sum_rows": {False: 56, True: 64},
}


def python_3_12() -> str | None:
    """From pyenv, the path, or uv, which fetches one where it may."""
    candidates = [*Path.home().glob(".pyenv/versions/3.12.*/bin/python3.12"), shutil.which("python3.12")]
    if found := next((str(path) for path in candidates if path), None):
        return found
    if shutil.which("uv") is None:
        return None
    for command in (["install", "3.12"], ["find", "3.12"]):
        done = subprocess.run(["uv", "python", *command], capture_output=True, text=True, timeout=600, check=False)
    return done.stdout.strip() or None


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """A virtual environment with a JAX that has GPU compilers in it, made once; skips aloud where it cannot be."""
    if shutil.which("ptxas") is None:
        pytest.skip("no ptxas (NVIDIA's assembler) on the PATH")
    base = python_3_12()
    if base is None:
        pytest.skip("no Python 3.12 (pyenv, PATH or uv), which the newest JAX needs")
    venv, plug = HOME / "venv", HOME / "plug"
    if not (HOME / f"jax-{JAX}").exists():
        plugins = [f"jax-cuda13-plugin=={JAX}", f"jax-cuda13-pjrt=={JAX}"]
        try:
            for command in (
                [base, "-m", "venv", str(venv)],
                [str(venv / "bin/pip"), "install", "-q", f"jax=={JAX}", "numba", "jaxtyping", "pytest"],
                [str(venv / "bin/pip"), "install", "-q", "--no-deps", "--target", str(plug), *plugins],
            ):
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"JAX {JAX} with its CUDA plugin cannot be installed here: {error}")
        (HOME / f"jax-{JAX}").touch()
    return {"python": str(venv / "bin/python"), "path": f"{ROOT}:{plug}"}


def test_where_python_comes_from(monkeypatch, tmp_path):
    """pyenv's before the path's, then uv's, else none."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert python_3_12() is None
    for name, said in (("uv", "[ $2 = find ] && echo /uv/python3.12"), ("python3.12", "true")):
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{said}\n")
        program.chmod(0o755)
        assert python_3_12() == ("/uv/python3.12" if name == "uv" else str(program))
    of_pyenv = tmp_path / ".pyenv/versions/3.12.1/bin/python3.12"
    of_pyenv.parent.mkdir(parents=True)
    of_pyenv.touch()
    assert python_3_12() == str(of_pyenv)


@pytest.mark.slow
def test_no_spills_and_nothing_waits_for_the_host(environment):
    done = subprocess.run(
        [environment["python"], "tests/kernels/aot_kernels.py"],
        env=os.environ | {"PYTHONPATH": environment["path"]},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    kernels, programs = [row for row in rows if "kernel" in row], [row for row in rows if "conditionals" in row]
    assert {row["kernel"] for row in kernels} == set(MOST_REGISTERS)
    assert len(programs) == 3
    for row in kernels:
        assert row["spills"] == row["stack"] == 0, row
        assert row["registers"] <= MOST_REGISTERS[row["kernel"]][row["extra"] > 0], row
        assert row["fma"] > 0 or row["kernel"] == "splat_sum_rows", row
    for row in programs:
        assert row["conditionals"] == 0, row  # a branch on the device makes it wait for the host
        # One for each image and key. (Without a card XLA knows no scratch sizes of CUB, and leaves sorts as they are.)
        assert row["cub_sorts"] + row["other_sorts"] == 2 * row["images"], row


@pytest.mark.slow
def test_lowers_on_the_newest_jax(environment):
    """The lowering tests, with the deprecation of Pallas-Triton ignored by name and the card named."""
    python = [environment["python"], "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull]
    python += ["--rootdir", str(ROOT), "--import-mode=importlib", "-W", "error::DeprecationWarning"]
    python += ["-W", "ignore:The Pallas Triton backend is deprecated:DeprecationWarning"]
    done = subprocess.run(
        [*python, "tests/kernels/test_pallas.py", "-k", "lowers", "-o", "markers=slow"],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "JAX_PLATFORMS": "cpu"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert " passed" in done.stdout
