"""One device, eight under jit, eight under pmap, in parts: the same losses, and only gradients are exchanged."""

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from programs.running import PATIENT
from training.toy_problem import OPTIMISER, fresh

from benchmarks import scaling
from jax_talker.errors import UserError
from jax_talker.training.devices import choose
from jax_talker.training.shares import batch_of, dealt, even
from jax_talker.training.state import descend

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("on_devices.py")


def simulated(count):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count} {PATIENT}"
    return os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


def on_eight(folder, **asked):
    out = folder / "out.json"
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(out), json.dumps(asked)],
        env=simulated(8),
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(out.read_text())


def assert_equal(got, want):
    """To 1e-5 in every step: float32 sums in another order."""
    assert got["scalars"].keys() == want["scalars"].keys()
    for name, values in want["scalars"].items():
        np.testing.assert_allclose(got["scalars"][name], values, rtol=1e-5, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(got["learnt"], want["learnt"], rtol=1e-4, atol=1e-5)


WAYS = {
    "jit": {"mode": "jit"},
    "pmap": {"mode": "pmap"},
    "four in two parts": {"mode": "jit", "count": 4, "accumulate": 2},
    "one in four parts": {"mode": "single", "accumulate": 4},
}


def numbers_exchanged(look):
    """How many float32 devices sum in a compiled step; and that they exchange nothing else."""
    assert look["collectives"]
    assert {name for name, _ in look["collectives"]} == {"all-reduce"}, "no picture and no Gaussian is gathered"
    exchanged = [of for _, shapes in look["collectives"] for of in shapes]
    assert {dtype for dtype, _ in exchanged} == {"f32"}
    return sum(math.prod(shape) for _, shape in exchanged)


def test_a_toy_learns_the_same_however_it_is_divided(tmp_path):
    asked = {name: how | {"stage": "toy"} for name, how in WAYS.items()}
    asked |= {f"look at {mode}": {"mode": mode, "stage": "toy", "look": True} for mode in ("jit", "pmap")}
    got = on_eight(tmp_path, one={"mode": "single", "stage": "toy"}, **asked)
    for mode in ("jit", "pmap"):
        look = got[f"look at {mode}"]
        assert numbers_exchanged(look) == look["gradients"]["w"] + 2 == 5, "loss and bytes, which are measured"
    assert got["one"]["scalars"]["loss"][-1] < 0.5 * got["one"]["scalars"]["loss"][0]
    assert [got[name]["count"] for name in WAYS] == [8, 8, 4, 1]
    for name in WAYS:
        assert_equal(got[name], got["one"])


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    asked = {name: how for name, how in WAYS.items() if name != "one in four parts"}
    looks = {stage: {"mode": "jit", "stage": stage, "look": True} for stage in ("head", "drawn", "tuned", "hear")}
    looks = {f"look at {stage}": how for stage, how in looks.items()}
    return on_eight(tmp_path_factory.mktemp("head"), one={"mode": "single"}, **asked, **looks)


@pytest.mark.slow
@pytest.mark.parametrize("way", [name for name in WAYS if name != "one in four parts"])
def test_a_head_learns_the_same_however_it_is_divided(head, way):
    losses = head["one"]["scalars"]["loss"]
    assert len(losses) == 20
    assert np.ptp(losses) > 0.01
    assert_equal(head[way], head["one"])


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["head", "tuned", "drawn", "hear"])
def test_devices_exchange_as_many_bytes_as_benchmarks_scaling_says(head, stage):
    """Of everything learnt one float32, and the step's measurements, of which there are fewer than a picture's pixels
    (576), an attribute of all Gaussians (144) or a layer of the smallest network."""
    look = head[f"look at {stage}"]
    assert 0 <= numbers_exchanged(look) - sum(look["gradients"].values()) <= look["measured"] + 1


def test_what_devices_exchange_is_as_the_page_says(capsys):
    scaling.main([])
    page = (ROOT / "docs" / "scaling.md").read_text()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(rows) == 5
    assert "\n".join(rows) in page


@pytest.mark.slow
def test_a_prior_learns_the_same_on_eight_devices(tmp_path):
    got = on_eight(tmp_path, **{mode: {"mode": mode, "stage": "prior"} for mode in ("single", "jit")})
    assert_equal(got["jit"], got["single"])


@pytest.mark.parametrize("mode", ["single", "jit", "pmap"])
def test_a_step_takes_its_state_over_and_lets_nothing_in_that_is_not_on_its_devices(mode):
    devices = choose(mode)

    def step(state, batch):
        loss = lambda params, batch: (((params["x"][None] - batch.rows) ** 2).mean(), {})  # noqa: E731
        return descend(state, OPTIMISER, loss, batch, shares=devices.shares)

    compiled, shown = devices.compile(step), batch_of(np.ones((1, 3), np.float32))
    state, put = devices.spread(fresh()), devices.put(shown)
    for _ in range(2):  # of a program that was just compiled, and of one that was there
        before = jax.tree.leaves(state)
        with jax.transfer_guard_host_to_device("disallow"):
            state, _ = compiled(state, put)
        jax.block_until_ready(state)
        assert all(x.is_deleted() for x in before if x.nbytes), "a second state lay beside it"
    refused = pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device")
    with refused, jax.transfer_guard_host_to_device("disallow"):
        compiled(state, replace(put, rows=np.asarray(put.rows)))


def test_couples_stay_together_and_each_piece_gets_its_share_of_the_crossed_ones():
    order = dealt(16, 4, together=2, apart=4)
    assert order.tolist() == [[0, 1, 8, 9], [2, 3, 10, 11], [4, 5, 12, 13], [6, 7, 14, 15]]
    assert dealt(6, 1).tolist() == [[0, 1, 2, 3, 4, 5]]
    assert sorted(dealt(24, 3, together=2, apart=6).ravel()) == list(range(24))
    assert not even(16, 4, together=2, apart=2)
    assert not even(2, 4)


def test_a_batch_that_cannot_be_dealt_out_says_both_numbers():
    with pytest.raises(UserError, match=r"config.train.batch: 8 are 4 couples of frames, 2 of them crossed.* to 8 "):
        dealt(8, 8, together=2, apart=2)
    with pytest.raises(UserError, match=r"config.train.hear_batch: 16 are 16 rows and .* to 3 "):
        dealt(16, 3, what="config.train.hear_batch")


def test_what_cannot_be_is_refused():
    with pytest.raises(UserError, match="'two' is none of auto, single, jit, pmap"):
        choose("two")
    with pytest.raises(UserError, match=r"config.devices.count: 9 devices are asked for, 1 × cpu"):
        choose("jit", 9)
    with pytest.raises(UserError, match=r"config.devices.accumulate: 0"):
        choose("single", accumulate=0)
    assert choose("auto").mesh is None  # one device needs no mesh
    assert choose("jit").count == 1


@pytest.mark.slow
def test_the_step_over_eight_devices_lowers_for_machines_that_are_not_here(tmp_path):
    asked = {"tpu": ("tpu", "xla"), "cuda": ("cuda", "pallas_triton"), "cuda, plain": ("cuda", "xla")}
    how = {name: {"does": "lower", "platform": p, "implementation": i} for name, (p, i) in asked.items()}
    got = on_eight(tmp_path, **how)
    assert {name: of["platforms"] for name, of in got.items()} == {name: [p] for name, (p, _) in asked.items()}
    assert ["__gpu$xla.gpu.triton" in of["calls"] for of in got.values()] == [False, True, False]


def free_port():
    with socket.socket() as some:
        some.bind(("localhost", 0))
        return some.getsockname()[1]


def two_processes(tmp_path, **asked):
    """Two that train together, as those of two hosts do, each with four devices."""
    address = f"localhost:{free_port()}"
    return [
        subprocess.Popen(
            [sys.executable, PROGRAM, tmp_path / f"{k}.json", json.dumps({"two": asked}), address, "2", str(k)],
            env=simulated(4),
            stderr=subprocess.PIPE,
            text=True,
        )
        for k in range(2)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["toy", "head"])
def test_two_processes_of_four_devices_learn_the_same_and_go_on_from_a_checkpoint(tmp_path, stage, request):
    """Each makes its half of every batch; both write the checkpoint, one writes the log."""
    running = two_processes(tmp_path, mode="jit", stage=stage, folder=str(tmp_path / "run"))
    said = [process.communicate(timeout=1200)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], said[0][-2000:] + said[1][-2000:]
    first, second = (json.loads((tmp_path / f"{k}.json").read_text())["two"] for k in range(2))
    assert first["count"] == 8
    assert first["learnt"] == second["learnt"]
    assert "step/s" in said[0]
    assert "step/s" not in said[1]
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "scalars.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 21))
    known = request.getfixturevalue("head") if stage == "head" else None
    alone = known or on_eight(tmp_path, one={"mode": "single", "stage": stage})
    assert_equal(first, alone["one"])


@pytest.mark.slow
def test_one_process_that_is_asked_to_end_ends_all_after_the_same_step(tmp_path):
    """A scheduler need not tell all hosts, nor in the same step; one that ended alone would leave the other waiting."""
    running = two_processes(tmp_path, mode="jit", stage="toy", folder=str(tmp_path / "run"), until_stopped=True)
    records = tmp_path / "run" / "scalars.jsonl"
    deadline = time.monotonic() + 300
    while not (records.is_file() and records.read_text().count("\n") >= 2):
        assert time.monotonic() < deadline
        assert [process.poll() for process in running] == [None, None]
        time.sleep(0.1)
    running[1].send_signal(signal.SIGTERM)
    said = [process.communicate(timeout=600)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], said[0][-2000:] + said[1][-2000:]
    first, second = (json.loads((tmp_path / f"{k}.json").read_text())["two"] for k in range(2))
    assert first == second
    step = re.fullmatch(r"toy: stopped after step (\d+) of 1000000; it is saved", first)[1]
    assert (tmp_path / "run" / "checkpoints" / step).is_dir()
