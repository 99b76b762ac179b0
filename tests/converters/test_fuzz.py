"""Thousands of mutated checkpoints: read or refused, nothing else."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from converters import checkpoint as checkpoints
from converters.errors import CheckpointError
from converters.torch_files import read_modules

sys.path.insert(0, str(Path(__file__).parent))
import fuzz
from streams import modules_with_storage, storage_stream

ROOT = Path(__file__).resolve().parents[2]
SEEDS = {
    "storage": storage_stream(np.arange(4, dtype=np.float32)),
    "tensor": modules_with_storage(storage_stream(np.arange(2, dtype=np.float32))),
}
WATCH = fuzz.Watch()
ANY = settings(max_examples=1500, deadline=60_000, suppress_health_check=list(HealthCheck), database=None)


def read_or_refuse(data: bytes) -> None:
    with WATCH:
        try:
            value = read_modules(data)
            for tensor in [value] if hasattr(value, "array") else []:
                assert tensor.array().nbytes <= len(data)
        except CheckpointError:
            pass
    # Type checking, which only tests have, compiles checkers while it runs.
    assert not [event for event in WATCH.seen if event.split()[0] not in ("compile", "exec", "import")]


@ANY
@given(st.binary(max_size=400))
def test_any_bytes(data):
    read_or_refuse(b"\x80\x04" + data)


@ANY
@given(st.lists(st.sampled_from([bytes([c]) for c in fuzz.OPCODES] + [bytes([i]) for i in range(6)]), max_size=60))
def test_any_opcodes(opcodes):
    read_or_refuse(b"\x80\x04" + b"".join(opcodes))


@ANY
@example(kind="tensor", number=0)
@given(kind=st.sampled_from(sorted(SEEDS)), number=st.integers(0, 2**32))
def test_mutated_tensors(kind, number):
    data = fuzz.mutate(SEEDS[kind], random.Random(number))
    read_or_refuse(data if kind == "tensor" else modules_with_storage(data))


def run(path: Path, count: int, seed: int) -> str:
    """Mutations of a real file, in a process without type checks and with 4 GiB of memory."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(Path(fuzz.__file__)), str(path), str(count), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def golden(shared, kind):
    if kind == "gghead":
        return next((shared / "golden" / "gghead" / "run").glob("*/checkpoints/*.pkl"))
    return shared / "golden" / "gsgan" / "gsgan_mini_cuda0.pkl"


@pytest.mark.parametrize(("kind", "count"), [("gghead", 300), ("gsgan", 60)])
def test_mutated_snapshots(shared, kind, count):
    print(run(golden(shared, kind), count, seed=1))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count"), [("gghead", 4000), ("gsgan", 1500)])
def test_many_mutated_snapshots(shared, kind, count):
    print(run(golden(shared, kind), count, seed=2))


@pytest.mark.torch
@pytest.mark.parametrize("zipped", [True, False])
def test_mutated_torch_files(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    path = tmp_path / "seed.pth"
    torch.save({"a": torch.arange(6.0), "b": [torch.zeros(2, 2), 3]}, path, _use_new_zipfile_serialization=zipped)
    assert "refused" in run(path, 300, seed=3)


def test_truncations(shared, tmp_path):
    """Every prefix of a file is refused: none is mistaken for a whole one."""
    data = golden(shared, "gghead").read_bytes()
    path = tmp_path / "cut.pkl"
    for length in np.linspace(1, len(data) - 1, 12, dtype=int):
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError):
            checkpoints.read(path)


def test_the_watch_sees():
    with WATCH:
        eval("1 + 1")
    assert any(event.startswith(("exec", "compile")) for event in WATCH.seen)
