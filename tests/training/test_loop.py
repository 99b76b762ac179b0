"""State, loop and checkpoints on a toy problem: resuming repeats an unbroken run, bad steps are not applied."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker.errors import UserError
from jax_talker.rendering import Rasteriser
from jax_talker.training.checkpoint import Checkpoints
from jax_talker.training.growing import GrowingStep
from jax_talker.training.log import Log, read_scalars
from jax_talker.training.loop import Diverged, Every, run
from jax_talker.training.state import adam, create, descend

OPTIMISER = adam(0.1, 20)


def step(state, target):
    """Move towards a target, with noise from the step's own key."""
    noise = 0.01 * jax.random.normal(state.step_key(), (3,))
    return descend(state, OPTIMISER, lambda p: (((p["x"] - target + noise) ** 2).sum(), {"x0": p["x"][0]}))


def targets(start=0, bad=()):
    n = start
    while True:
        yield jnp.full(3, jnp.nan if n in bad else 1.0 + n % 2)
        n += 1


def fresh():
    return create({"x": jnp.zeros(3)}, OPTIMISER, seed=3)


def test_resumed_run_equals_an_unbroken_one(tmp_path):
    with Log(tmp_path / "a") as log:
        unbroken = run("toy", fresh(), 10, step, targets(), log=log, every=Every(2, 0, 0))
    with Log(tmp_path / "b") as log:
        with Checkpoints(tmp_path / "b" / "ck") as checkpoints:
            run(
                "toy",
                fresh(),
                4,
                step,
                targets(),
                log=log,
                every=Every(2, 0, 0),
                checkpoints=checkpoints,
                config={"a": 1},
            )
        with Checkpoints(tmp_path / "b" / "ck") as checkpoints:
            state, config = checkpoints.restore(fresh())
            assert int(state.step) == 4
            assert config == {"a": 1}
            resumed = run("toy", state, 10, step, targets(4), log=log, every=Every(2, 0, 0), checkpoints=checkpoints)
    for a, b in zip(jax.tree.leaves(unbroken.params), jax.tree.leaves(resumed.params), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (jax.random.key_data(unbroken.key) == jax.random.key_data(resumed.key)).all()


def test_steps_have_keys_of_their_own():
    state = fresh()
    later = replace(state, step=state.step + 1)
    assert (jax.random.key_data(state.step_key()) != jax.random.key_data(later.step_key())).any()


def test_state_does_not_delete_the_callers_arrays(tmp_path):
    """The loop donates its state; what the state was created from must survive."""
    params = {"x": jnp.zeros(3)}
    with Log(tmp_path) as log:
        run("toy", create(params, OPTIMISER, 0), 2, step, targets(), log=log)
    np.testing.assert_array_equal(params["x"], 0)


def test_a_non_finite_step_is_skipped_and_said(tmp_path, capsys):
    with Log(tmp_path) as log:
        state = run("toy", fresh(), 4, step, targets(bad={2}), log=log, every=Every(1, 0, 0))
    assert jnp.isfinite(state.params["x"]).all()
    assert "1 steps with non-finite gradients" in capsys.readouterr().out
    scalars = read_scalars(tmp_path)["toy"]
    np.testing.assert_array_equal(scalars["skipped"][1], [0, 0, 1, 0])


def test_divergence_stops_the_run(tmp_path):
    with Log(tmp_path) as log, pytest.raises(Diverged, match="every gradient of the last 20 steps"):
        run("toy", fresh(), 40, step, targets(bad=set(range(40))), log=log, every=Every(1, 0, 0))


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


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"x": jnp.zeros(4)}, r"float32\[3\], wanted float32\[4\]"),
        ({"x": jnp.zeros(3, jnp.bfloat16)}, r"float32\[3\], wanted bfloat16\[3\]"),
        ({"y": jnp.zeros(3)}, "is missing"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path, params, message):
    """Orbax itself would cast a wrong dtype in silence."""
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(fresh(), {})
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(UserError, match=message):
        checkpoints.restore(create(params, OPTIMISER, 0))


def at(step, value):
    return replace(create({"x": jnp.full(3, value)}, OPTIMISER, 0), step=jnp.asarray(step))


def test_a_stage_begun_anew_leaves_nothing_of_an_earlier_beginning(tmp_path):
    """Orbax drops saves at steps that are not after the latest one: a later --resume found the earlier run's state."""
    with Checkpoints(tmp_path) as checkpoints:
        for step in (2, 4):
            checkpoints.save(at(step, 1.0), {"clip": "A"})
    with Checkpoints(tmp_path) as checkpoints:
        assert int(checkpoints.resumed(at(0, 0.0), False).step) == 0
        checkpoints.save(at(2, 2.0), {"clip": "B"})
    with Checkpoints(tmp_path) as checkpoints:
        state, config = checkpoints.restore(at(0, 0.0))
    assert (int(state.step), config) == (2, {"clip": "B"})
    np.testing.assert_array_equal(state.params["x"], 2.0)


def test_a_state_is_never_dropped_in_silence(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(at(4, 1.0), {})
        checkpoints.save(at(4, 1.0), {})  # the loop's last one may have been due anyway
        with pytest.raises(ValueError, match="step 2 is not saved beside step 4"):
            checkpoints.save(at(2, 1.0), {})
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(ValueError, match="step 4 is not saved"):
        checkpoints.save(at(4, 2.0), {})


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


def test_no_checkpoint_is_said(tmp_path):
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(UserError, match="no checkpoint to resume from"):
        checkpoints.restore(fresh())


def test_learning_rate_warms_up_and_decays():
    schedule_state = OPTIMISER.init({"x": jnp.zeros(1)})
    sizes = []
    for _ in range(20):
        updates, schedule_state = OPTIMISER.update({"x": jnp.ones(1)}, schedule_state, {"x": jnp.zeros(1)})
        sizes.append(float(jnp.abs(updates["x"][0])))
    assert sizes[0] == 0
    assert np.argmax(sizes) <= 3
    assert sizes[-1] < 0.2 * max(sizes)


def test_overflow_is_said_and_gets_more_room(tmp_path, capsys):
    """A step that loses pairs is built again with the next power of two that would have held them."""
    built = []

    def build(rasteriser):
        built.append(rasteriser.capacity)

        def roomy(state, target):
            state, measured = step(state, target)
            return state, measured | {"overflow": jnp.maximum(0, 900 - (rasteriser.capacity or 0))}

        return roomy

    growing = GrowingStep(build, Rasteriser(capacity=256), num_gaussians=10, size=32)
    with Log(tmp_path) as log:
        run("toy", fresh(), 6, growing, targets(), log=log, every=Every(2, 0, 0))
    assert built == [256, 1024]
    assert growing.rasteriser.capacity == 1024
    assert "644 (tile, Gaussian) pairs of one step did not fit" in capsys.readouterr().out
    overflow = read_scalars(tmp_path)["toy"]["overflow"]
    assert overflow[1][0] == 644
    assert overflow[1][-1] == 0
