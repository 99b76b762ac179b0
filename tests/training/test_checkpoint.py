"""Checkpoints: what does not fit is refused, none is dropped in silence, and harm to one leaves the one before."""

import shutil
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training.toy_problem import OPTIMISER, fresh

from jax_talker.errors import UserError
from jax_talker.training.checkpoint import Checkpoints
from jax_talker.training.state import create


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
