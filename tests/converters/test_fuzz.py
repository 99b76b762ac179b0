"""Thousands of mutated checkpoints: read or refused, nothing else."""

import json
import os
import random
import subprocess
import sys
from collections import Counter
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
EVERY_CHECK: list = list(HealthCheck)
ANY = settings(max_examples=1500, deadline=60_000, suppress_health_check=EVERY_CHECK, database=None)


class Outcomes(Counter):
    """What became of many files; a property that every file is refused by would hold for a reader that reads none."""

    def read_or_refuse(self, data: bytes) -> None:
        with fuzz.limited(), WATCH:
            try:
                value = read_modules(data)
            except CheckpointError as error:
                self["refused"] += 1
                self["lines"] += len(str(error).splitlines())
            else:
                self["read"] += 1
                for tensor in fuzz.tensors_in(value):
                    self["tensors"] += 1
                    assert tensor.array().nbytes <= len(data)
        assert self["lines"] == self["refused"]
        # Type checking, which only tests have, compiles checkers while it runs.
        assert not [event for event in WATCH.seen if event.split()[0] not in ("compile", "exec", "import")]


def test_any_bytes():
    found = Outcomes()

    @ANY
    @given(st.binary(max_size=400))
    def check(data):
        found.read_or_refuse(b"\x80\x04" + data)

    check()
    assert found["refused"] > 1000


def test_any_opcodes():
    """Values that the opcodes leave on the stack are put into a list: most sequences are read."""
    found = Outcomes()
    whole = st.sampled_from(
        [b"N", b"K\x05", b"]", b"}", b")", b"\x88", b"X\1\0\0\0a", b"0", b"\x94", b"h\0", b"a", b"\x85"]
    )
    parts = st.sampled_from([bytes([c]) for c in fuzz.OPCODES] + [bytes([i]) for i in range(6)])

    @ANY
    @given(st.lists(whole, max_size=30), st.lists(parts, max_size=3))
    def check(opcodes, more):
        found.read_or_refuse(b"\x80\x04](" + b"".join(opcodes) + b"".join(more) + b"e.")

    check()
    assert found["read"] > 100
    assert found["refused"] > 100


def test_mutated_tensors():
    found = Outcomes()

    @ANY
    @example(kind="tensor", number=0)
    @given(kind=st.sampled_from(sorted(SEEDS)), number=st.integers(0, 2**32))
    def check(kind, number):
        data = fuzz.mutate(SEEDS[kind], random.Random(number))
        found.read_or_refuse(data if kind == "tensor" else modules_with_storage(data))

    check()
    # A flipped bit of a number is read (about one in thirty of such short files); most mutations hit what is checked.
    assert found["tensors"] > 10
    assert found["refused"] > 500


def run(path: Path, count: int, seed: int) -> dict:
    """Mutations of a real file, in a process without type checks and with 1 GiB of memory: what became of them."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(Path(fuzz.__file__)), str(path), str(count), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["read"] + found["refused"] == count
    assert found["tensors"] > 0, found  # some were read as far as their numbers
    assert found["refused"] > 0, found
    return found


def golden(shared, kind):
    if kind == "gghead":
        return next((shared / "golden" / "gghead" / "run").glob("*/checkpoints/*.pkl"))
    return shared / "golden" / "gsgan" / "gsgan_mini_cuda0.pkl"


@pytest.mark.parametrize(("kind", "count"), [("gghead", 300), ("gsgan", 60)])
def test_mutated_snapshots(shared, kind, count):
    run(golden(shared, kind), count, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count"), [("gghead", 700), ("gsgan", 200)])
def test_many_mutated_snapshots(shared, kind, count):
    run(golden(shared, kind), count, seed=2)


@pytest.mark.torch
@pytest.mark.parametrize("zipped", [True, False])
def test_mutated_torch_files(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    path = tmp_path / "seed.pth"
    torch.save({"a": torch.arange(6.0), "b": [torch.zeros(2, 2), 3]}, path, _use_new_zipfile_serialization=zipped)
    run(path, 300, seed=3)


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


def test_the_limit_is_felt():
    with fuzz.limited(), pytest.raises(MemoryError):
        bytearray(2 * fuzz.MEMORY)
    assert len(bytearray(2 * fuzz.MEMORY)) == 2 * fuzz.MEMORY
