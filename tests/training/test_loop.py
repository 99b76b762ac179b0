"""State and loop on a toy problem: resuming repeats an unbroken run, also one that got more room on its way."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training.toy_problem import OPTIMISER, fresh, step, targets

from jax_talker.app.run_folder import RunFolder
from jax_talker.rendering import Rasteriser
from jax_talker.training.checkpoint import Checkpoints
from jax_talker.training.devices import Devices
from jax_talker.training.growing import GrowingStep
from jax_talker.training.log import Log, read_scalars
from jax_talker.training.loop import Every, run
from jax_talker.training.state import create


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


@dataclass(frozen=True)
class Forgetful(Devices):
    """Leaves batches on the host."""

    def put(self, batch):
        return batch


def test_a_batch_that_is_not_on_its_device_is_not_sent_inside_a_step(tmp_path):
    """Each step would wait for it, and nobody would see why."""
    with Log(tmp_path) as log, pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device transfer"):
        run("toy", fresh(), 2, step, targets(), log=log, devices=Forgetful())
    state, _ = jax.jit(step)(fresh(), targets()(0))
    assert int(state.step) == 1, "outside of the loop it would have been"


def test_of_a_run_there_is_one_state(tmp_path):
    """The one before is deleted by the step that it was given to: its memory is the next one's."""
    states = []
    with Log(tmp_path) as log:
        last = run("toy", fresh(), 4, step, targets(), log=log, every=Every(0, 1, 0), sample=keep_in(states))
    *earlier, kept = states
    assert len(earlier) == 3
    assert all(x.is_deleted() for state in earlier for x in jax.tree.leaves(state))
    assert kept is last
    assert not any(x.is_deleted() for x in jax.tree.leaves(last))


def keep_in(states):
    """A sampler without pictures that keeps the states it is shown."""
    return lambda state: states.append(state) or {}


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
