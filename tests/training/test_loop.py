"""State, loop and checkpoints on a toy problem: resuming repeats an unbroken run, bad steps are not applied."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker.app.run_folder import RunFolder
from jax_talker.errors import UserError
from jax_talker.rendering import Rasteriser
from jax_talker.training.checkpoint import Checkpoints
from jax_talker.training.growing import GrowingStep
from jax_talker.training.log import Log, read_scalars
from jax_talker.training.loop import Every, run
from jax_talker.training.record import SKIPS_ALLOWED, UNDER_WAY, Diverged
from jax_talker.training.state import adam, create, descend
from jax_talker.types import FrameBatch

ROOT = Path(__file__).resolve().parents[2]
OPTIMISER = adam(0.1, 20)


def step(state, target):
    """Move towards a target, with noise from the step's own key."""
    noise = 0.01 * jax.random.normal(state.step_key(), (3,))
    return descend(state, OPTIMISER, lambda p, to: (((p["x"] - to + noise) ** 2).sum(), {"x0": p["x"][0]}), target)


def targets(bad=()):
    """A function from a step to its batch; NaN in ``bad`` ones."""
    return lambda n: np.full(3, np.nan if n in bad else 1.0 + n % 2, np.float32)


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
            resumed = run("toy", state, 10, step, targets(), log=log, every=Every(2, 0, 0), checkpoints=checkpoints)
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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax leaves a thread behind then
@pytest.mark.skipif(sys.platform == "win32", reason="no limit on file sizes there")
def test_a_full_disk_is_one_line_and_older_checkpoints_stay(tmp_path):
    import resource

    big = lambda number: replace(  # noqa: E731
        create({"x": jax.random.normal(jax.random.key(0), (100_000,))}, OPTIMISER, 0), step=jnp.asarray(number)
    )
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(big(2), {})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        with pytest.raises(
            UserError, match=r"cannot save a checkpoint \(File too large\); the last whole one is of step 2"
        ):
            save_and_wait(tmp_path, big(4))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with Checkpoints(tmp_path) as checkpoints:
        assert int(checkpoints.restore(big(0))[0].step) == 2


def save_and_wait(folder, state):
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(state, {})


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


@pytest.mark.parametrize("part", ["config/metadata", "state/_METADATA", "state/manifest.ocdbt", "state/d/*"])
@pytest.mark.parametrize("harm", ["cut off", "gone"])
# Where one read fails, Orbax closes its event loop while the others are under way; their ends find it closed.
@pytest.mark.filterwarnings("ignore:(?s)Exception ignored in.*Event loop is closed")
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_good(tmp_path, part, harm):
    with Checkpoints(tmp_path) as checkpoints:
        for step in (2, 4):
            checkpoints.save(at(step, 1.0), {})
    for path in (tmp_path / "4").glob(part):
        content = path.read_bytes()
        path.unlink()
        if harm == "cut off":
            path.write_bytes(content[: len(content) // 2])
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(UserError, match=r"/4: damaged \(.*delete it .* step 2"):
        checkpoints.restore(at(0, 0.0))
    shutil.rmtree(tmp_path / "4")
    with Checkpoints(tmp_path) as checkpoints:
        assert int(checkpoints.restore(at(0, 0.0))[0].step) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="needs a place where nobody may write")
def test_checkpoints_where_nothing_can_be_written_are_one_line():
    with pytest.raises(UserError, match="cannot write there"):
        Checkpoints("/proc/self/checkpoints")


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

    noted = []
    remember = lambda *grown: noted.append(grown)  # noqa: E731
    growing = GrowingStep(build, Rasteriser(capacity=256), num_gaussians=10, size=32, remember=remember)
    with Log(tmp_path) as log:
        run("toy", fresh(), 6, growing, targets(), log=log, every=Every(2, 0, 0))
    assert built == [256, 1024]
    assert growing.rasteriser.capacity == 1024
    assert noted == [(1024, "toy", 2)]
    assert "644 (tile, Gaussian) pairs of one step did not fit" in capsys.readouterr().out
    overflow = read_scalars(tmp_path)["toy"]["overflow"]
    assert overflow[1][0] == 644
    assert overflow[1][-1] == 0


@pytest.mark.parametrize("saved", [2, 4, 6])
def test_a_run_that_was_killed_after_it_got_more_room_ends_with_the_same_bits(tmp_path, saved):
    """What was lost until that was noticed is lost again, though it is known by now."""

    def build(rasteriser):
        def lossy(state, target):
            lost = jnp.maximum(0, 900 - rasteriser.capacity)
            state, measured = step(state, target + 1e-3 * lost)
            return state, measured | {"overflow": lost}

        return lossy

    folder = RunFolder(tmp_path)

    def trained(state, checkpoints=None):
        how = {"remember": folder.save_capacity, "known": lambda stage, number: folder.capacity((stage, number))}
        growing = GrowingStep(build, Rasteriser(capacity=256), num_gaussians=10, size=32, **how)
        with Log(tmp_path) as log:
            return run("toy", state, 10, growing, targets(), log=log, every=Every(4, 0, 2), checkpoints=checkpoints)

    with Checkpoints(tmp_path / "ck", keep=10) as checkpoints:
        whole = trained(fresh(), checkpoints)
    assert folder.capacity() == 1024
    with Checkpoints(tmp_path / "ck") as checkpoints:
        state, _ = checkpoints.restore(fresh(), saved)
    resumed = trained(state)
    np.testing.assert_array_equal(resumed.params["x"], whole.params["x"])
