"""What a run says and keeps of its steps: bad ones are not applied, too many end it, and its lines stay readable."""

import json
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from training.toy_problem import fresh, step, targets

from jax_talker.errors import UserError
from jax_talker.training.checkpoint import Checkpoints
from jax_talker.training.log import Log, read_scalars
from jax_talker.training.loop import Every, run
from jax_talker.training.record import SKIPS_ALLOWED, UNDER_WAY, Diverged
from jax_talker.types import FrameBatch

ROOT = Path(__file__).resolve().parents[2]


def test_a_non_finite_step_is_skipped_and_said(tmp_path, capsys):
    with Log(tmp_path) as log:
        state = run("toy", fresh(), 4, step, targets(bad={2}), log=log, every=Every(1, 0, 0))
    assert jnp.isfinite(state.params["x"]).all()
    assert "1 steps with non-finite gradients to step 3 were not applied" in capsys.readouterr().out
    scalars = read_scalars(tmp_path)["toy"]
    np.testing.assert_array_equal(scalars["skipped"][1], [0, 0, 1, 0])


def test_the_frames_of_a_skipped_step_are_said_and_kept(tmp_path, capsys):
    """Every FrameBatch in a batch tells its own, wherever it stands in it."""

    def couples(n):
        frames = (frame_batch([4 * n, 4 * n + 1]), frame_batch([90 + n, 4 * n]))
        return {"x": targets(bad={3})(n), "frames": frames}

    with Log(tmp_path) as log:
        run("toy", fresh(), 6, lambda s, b: step(s, b["x"]), couples, log=log, every=Every(4, 0, 0))
    assert "toy: step 4 was not applied; its frames: 12, 13, 93" in capsys.readouterr().out
    lines = (tmp_path / "skipped.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"stage": "toy", "step": 4, "frames": [12, 13, 93]}]


def frame_batch(index):
    """A FrameBatch without pictures."""
    nothing = jnp.zeros((len(index), 0, 0))
    return FrameBatch(
        image=jnp.zeros((len(index), 0, 0, 3)), upper=nothing, lower=nothing, head=nothing, valid=nothing,
        label=jnp.zeros((len(index), 25)), audio=jnp.zeros((len(index), 1, 1, 1)), blink=jnp.zeros(len(index)),
        expression=jnp.zeros((len(index), 1)), lips=jnp.zeros((len(index), 1)), index=jnp.array(index),
    )  # fmt: skip


@pytest.mark.parametrize("scalars", [0, 1, 7, 1000])
def test_divergence_stops_the_run_soon_and_keeps_the_last_good_state(tmp_path, scalars):
    bad = targets(bad=set(range(5, 90)))
    with Log(tmp_path) as log:
        good = run("toy", fresh(), 5, step, targets(), log=log, every=Every(1, 0, 0))
        with (
            Checkpoints(tmp_path / "ck") as checkpoints,
            pytest.raises(Diverged, match=r"every gradient of the last 2\d steps .* is saved; go on .* with --resume"),
        ):
            run("toy", fresh(), 90, step, bad, log=log, every=Every(scalars, 0, 0), checkpoints=checkpoints)
        with Checkpoints(tmp_path / "ck") as checkpoints:
            state, _ = checkpoints.restore(fresh())
    assert 5 + SKIPS_ALLOWED <= int(state.step) <= 5 + SKIPS_ALLOWED + UNDER_WAY
    np.testing.assert_array_equal(state.params["x"], good.params["x"])


def test_a_run_that_recovers_goes_on(tmp_path):
    """What was found some steps back is looked at again before a run is ended."""
    with Log(tmp_path) as log:
        bad = set(range(5, 5 + SKIPS_ALLOWED + UNDER_WAY - 1))
        state = run("toy", fresh(), 40, step, targets(bad), log=log, every=Every(1000, 0, 0))
    assert int(state.step) == 40


@pytest.mark.parametrize("steps", [4, 40])
def test_a_run_that_learnt_nothing_is_no_success_and_saves_nothing(tmp_path, steps):
    """Also a short one: its end would be taken for a trained state."""
    bad = targets(bad=set(range(40)))
    with Checkpoints(tmp_path / "ck") as checkpoints:
        with Log(tmp_path) as log, pytest.raises(Diverged, match="start again with a lower learning rate"):
            run("toy", fresh(), steps, step, bad, log=log, every=Every(4, 0, 0), checkpoints=checkpoints)
        assert checkpoints.latest() is None
    text = (tmp_path / "scalars.jsonl").read_text()
    assert "NaN" not in text
    assert json.loads(text.splitlines()[0])["loss"] is None


def test_what_some_steps_cannot_measure_does_not_spoil_the_mean(tmp_path, capsys):
    """PSNR inside a mask that is empty in a batch."""

    def measuring(state, target):
        state, measured = step(state, target)
        psnr = jnp.where(state.step % 2 == 0, 20.0, jnp.nan)
        return state, measured | {"psnr_lower": psnr, "psnr_none": jnp.nan}

    with Log(tmp_path) as log:
        run("toy", fresh(), 8, measuring, targets(), log=log, every=Every(4, 0, 0))
    np.testing.assert_array_equal(read_scalars(tmp_path)["toy"]["psnr_lower"][1], [20, 20])
    said = [line for line in capsys.readouterr().out.splitlines() if "could not be measured" in line]
    assert len(said) == 1
    assert "psnr_none" in said[0]
    assert "psnr_lower" not in said[0]


FULL = """
import resource, sys
from jax_talker.training.log import Log
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))  # as a full disk: writing fails in the middle
with Log(sys.argv[1]) as log:
    for number in range(2000):
        log.scalars("toy", number, {"a": 1.0, "b": 2.0})
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on file sizes there")
def test_a_full_disk_ends_a_log_instead_of_stopping_it_for_ever(tmp_path):
    """tensorboardX writes from a thread; it died, and the run waited for it."""
    done = subprocess.run([sys.executable, "-c", FULL, tmp_path], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "OSError: [Errno 27] File too large" in done.stderr


def test_overflow_is_said(tmp_path, capsys):
    def overflowing(state, target):
        state, measured = step(state, target)
        return state, measured | {"overflow": jnp.asarray(5.0)}

    with Log(tmp_path) as log:
        run("toy", fresh(), 1, overflowing, targets(), log=log)
    assert "5 (tile, Gaussian) pairs of one step did not fit" in capsys.readouterr().out


def test_samples_are_logged_and_scalars_are_lines(tmp_path):
    shown = []
    with Log(tmp_path) as log:
        run(
            "toy", fresh(), 5, step, targets(), log=log, every=Every(2, 2, 0),
            sample=lambda state: shown.append(int(state.step)) or {"grey": np.full((4, 4, 3), 0.5)},
        )  # fmt: skip
    assert shown == [2, 4, 5]
    lines = [json.loads(line) for line in (tmp_path / "scalars.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 5]
    assert all(line["stage"] == "toy" for line in lines)
    assert any((tmp_path / "log").iterdir())


def test_records_hold_no_nan_and_survive_a_line_that_was_cut_off(tmp_path):
    with Log(tmp_path) as log:
        log.scalars("toy", 1, {"psnr": np.nan, "loss": 1.0})
        log.scalars("toy", 2, {"psnr": np.inf, "loss": 0.5})
    with (tmp_path / "scalars.jsonl").open("a") as lines:
        lines.write('{"stage": "toy", "st')  # killed here
    steps, psnr = read_scalars(tmp_path)["toy"]["psnr"]
    assert steps.tolist() == [1, 2]
    assert np.isnan(psnr).all()
    with Log(tmp_path) as log:
        log.scalars("toy", 3, {"psnr": 20.0, "loss": 0.2})
    for line in (tmp_path / "scalars.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    assert read_scalars(tmp_path)["toy"]["psnr"][1][-1] == 20
    (tmp_path / "scalars.jsonl").write_text("nonsense\n")
    with pytest.raises(UserError, match="'nonsense' is not a record"):
        read_scalars(tmp_path)


def test_a_log_without_records_leaves_nothing(tmp_path):
    with Log(tmp_path) as log:
        log.say("refused")
    assert not list(tmp_path.iterdir())
