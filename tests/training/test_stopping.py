"""Asked to end: a loop ends its step and saves, whatever thread it runs in; whatever else runs ends at once."""

import os
import signal
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker.errors import UserError
from jax_talker.training import stopping
from jax_talker.training.checkpoint import Checkpoints
from jax_talker.training.log import Log
from jax_talker.training.loop import Every, run
from jax_talker.training.state import adam, create, descend
from jax_talker.training.stopping import Stopped

OPTIMISER = adam(0.1, 20)


def step(state, target):
    noise = 0.01 * jax.random.normal(state.step_key(), (3,))
    return descend(state, OPTIMISER, lambda p, to: (((p["x"] - to + noise) ** 2).sum(), {}), target)


def fresh():
    return create({"x": jnp.zeros(3)}, OPTIMISER, seed=3)


def target(n):
    return np.full(3, 1.0 + n % 2, np.float32)


def send(number):
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # Python hears it between two of its instructions


class Recording(Log):
    """With the record of step ``at`` comes what ``then()`` does, in the loop's own thread."""

    def __init__(self, folder, at, then):
        super().__init__(folder)
        self.at, self.then = at, then

    def scalars(self, stage, step, values):
        super().scalars(stage, step, values)
        if step == self.at:
            self.then()


def trained(folder, state, *, steps=10, at=None, then=None):
    with Recording(folder, at, then) as log, Checkpoints(folder / "ck") as checkpoints:
        return run("toy", state, steps, step, target, log=log, every=Every(1, 0, 0), checkpoints=checkpoints)


@pytest.mark.parametrize("number", stopping.SIGNALS)
def test_a_loop_ends_its_step_saves_and_goes_on_as_if_nothing_had_been(tmp_path, number):
    whole = trained(tmp_path / "whole", fresh())
    with (
        stopping.listening(),
        pytest.raises(Stopped, match="toy: stopped after step 5 of 10; it is saved") as stopped,
    ):
        trained(tmp_path, fresh(), at=5, then=lambda: send(number))
    assert stopped.value.number == number
    with Checkpoints(tmp_path / "ck") as checkpoints:
        state, _ = checkpoints.restore(fresh())
    assert int(state.step) == 5
    resumed = trained(tmp_path, state)
    np.testing.assert_array_equal(resumed.params["x"], whole.params["x"])


def test_a_signal_in_the_last_step_is_heard_too(tmp_path):
    """Else the next stage would begin."""
    with stopping.listening(), pytest.raises(Stopped, match="after step 10 of 10"):
        trained(tmp_path, fresh(), at=10, then=lambda: send(signal.SIGTERM))


def test_between_stages_the_next_one_does_not_begin(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.step", lambda *_: pytest.fail("a step was begun"))
    with stopping.listening():
        with stopping.patient():
            send(signal.SIGTERM)
        with pytest.raises(Stopped, match="before its first step"):
            trained(tmp_path, fresh())
    with Checkpoints(tmp_path / "ck") as checkpoints:
        assert checkpoints.latest() is None


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    def twice():
        send(signal.SIGINT)
        send(signal.SIGINT)

    with stopping.listening(), pytest.raises(KeyboardInterrupt):
        trained(tmp_path, fresh(), at=4, then=twice)


def test_who_makes_the_best_of_errors_does_not_take_it_for_one():
    """Orbax' and file formats' errors are caught as Exception and retold; this one must pass through."""

    def restore():
        try:
            send(signal.SIGTERM)
        except Exception as error:
            raise UserError("damaged") from error

    with stopping.listening(), pytest.raises(Stopped, match="at once"):
        restore()


def test_outside_of_loops_nothing_waits():
    with stopping.listening(), pytest.raises(Stopped, match="at once"):
        send(signal.SIGTERM)
    with stopping.listening(), pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)
    assert stopping.asked() is None, "what was asked of one piece of work is not asked of the next"


def test_a_loop_in_another_thread_is_asked_as_well(tmp_path):
    ended = []

    def work():
        try:
            trained(tmp_path, fresh(), steps=100_000, at=3, then=begun.set)
        except Stopped as stopped:
            ended.append(str(stopped))

    with stopping.listening():
        begun = threading.Event()
        worker = threading.Thread(target=work)
        worker.start()
        assert begun.wait(60)
        send(signal.SIGTERM)
        worker.join(60)
    assert len(ended) == 1
    assert "it is saved" in ended[0]


def test_handlers_are_set_in_the_main_thread_alone_and_put_back():
    handlers = lambda: [signal.getsignal(number) for number in stopping.SIGNALS]  # noqa: E731
    before, seen = handlers(), []

    def work():
        with stopping.listening():
            seen.append(handlers())

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert seen == [before]
    with stopping.listening():
        assert handlers() != before
    assert handlers() == before


def test_what_was_stopped_is_no_error_and_says_how_it_goes_on(capsys):
    with stopping.may_be_stopped("--resume goes on"):
        raise Stopped("toy: stopped after step 5 of 10; it is saved", signal.SIGTERM)
    assert capsys.readouterr().err == "toy: stopped after step 5 of 10; it is saved; --resume goes on\n"
