"""Where a stage's time goes: what the clock tells, and what the trace says of the parts of a step."""

import json

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from jax_talker.training import profiling
from jax_talker.training.log import Log
from jax_talker.training.loop import Every, run
from jax_talker.training.profiling import TIMED, TRACED, WARM
from jax_talker.training.state import adam, create, descend
from jax_talker.training.trace_parts import OTHER, own_times, part_of, parts_of_program

OPTIMISER = adam(0.1, 20)


def step(state, target):
    """Ten times as much work in the rasteriser as in the generator."""

    def loss(params, target):
        x = params["x"]
        with jax.named_scope("prior"):
            drawn = jnp.sin(x @ x)
        with jax.named_scope("raster"):
            seen = jax.lax.fori_loop(0, 10, lambda _, y: jnp.cos(y @ x), drawn)
        return ((jax.lax.stop_gradient(seen) + drawn - target) ** 2).mean(), {}

    return descend(state, OPTIMISER, loss, target)


def profiled(folder, steps):
    state = create({"x": jnp.ones((300, 300)) / 300}, OPTIMISER, seed=0)
    with Log(folder, profile=True) as log:
        return run("toy", state, steps, step, lambda _: np.ones((300, 300), np.float32), log=log, every=Every(10, 0, 0))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    root = tmp_path_factory.mktemp("profile")
    jaxtyping.config.update("jaxtyping_disable", True)  # lowering builds a state of what describes arrays
    profiled(root, WARM + TIMED + TRACED + 2)
    jaxtyping.config.update("jaxtyping_disable", False)
    return json.loads((root / "profile/toy/times.json").read_text()), root


def test_the_clock_and_the_trace_tell_of_the_same_step(report):
    told, root = report
    assert told["steps"] == TIMED
    assert set(told["ms"]) == {"data", "step", "logging", "saving"}
    assert all(ms >= 0 for ms in told["ms"].values())
    shares = told["share_of_step"]
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["raster"] > shares["prior"] > 0
    assert shares["optimiser"] > 0
    assert told["process_peak_GiB"] > 0.01
    assert list(root.rglob("*.xplane.pb")), "a trace that TensorBoard shows"


def test_it_is_told_to_people(report):
    lines = profiling.told(report[0]).splitlines()
    assert lines[0].startswith("toy: ")
    assert "raster" in lines[1]
    assert "process peak GiB" in lines[2]


def test_a_stage_of_few_steps_has_no_trace(tmp_path, capsys):
    profiled(tmp_path, WARM + 2)
    told = json.loads((tmp_path / "profile/toy/times.json").read_text())
    assert told["steps"] == 2
    assert told["share_of_step"] == {}
    profiled(tmp_path / "shorter", WARM)
    assert "toy: too few steps to say where their time goes" in capsys.readouterr().out
    assert not (tmp_path / "shorter" / "profile").exists()


def test_without_the_flag_nothing_is_kept(tmp_path):
    with Log(tmp_path) as log:
        clock = log.clock("toy")
        clock.begin()
        clock.tick("data")
        clock.end()
    assert not (tmp_path / "profile").exists()


def test_times_inside_others_count_once():
    """A loop of 10 with bodies of 3 and 4; then one of 5 elsewhere."""
    events = [(0, 10, "loop"), (1, 3, "a"), (5, 4, "b"), (6, 1, "c"), (20, 5, "a")]
    found = {}
    for part, seconds in own_times(events):
        found[part] = found.get(part, 0) + 1e9 * seconds
    assert {name: round(ns) for name, ns in found.items()} == {"loop": 3, "a": 8, "b": 3, "c": 1}


def test_parts_are_named_forwards_and_backwards():
    assert part_of("jit(step)/jvp(raster)/while/body/mul") == "raster"
    assert part_of("jit(step)/transpose(jvp(prior))/dot_general") == "prior"
    assert part_of("jit(step)/jvp(deformation)/prior_shape/mul") == "deformation", "whole words"
    assert part_of("jit(step)/add") == OTHER


def test_a_fusion_without_a_name_has_that_of_what_it_fuses():
    hlo = """HloModule jit_step, entry
%fused (p: f32[3]) -> f32[3] {
  ROOT %sin.1 = f32[3] sine(%p), metadata={op_name="jit(step)/jvp(prior)/sin" stack_frame_id=1}
}

ENTRY %main (x: f32[3]) -> f32[3] {
  %loss_op = f32[3] add(%x, %x), metadata={op_name="jit(step)/loss/add"}
  ROOT %ynn.1 = f32[3]{0} fusion(%x), kind=kCustom, calls=%fused
}
"""
    assert parts_of_program(hlo) == {"sin.1": "prior", "loss_op": "loss", "ynn.1": "prior"}
