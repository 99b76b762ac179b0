"""A run hears speech at the level at which it was trained, whatever later versions take for the usual one."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import quickstart
from jax_talker.app import builders, talking
from jax_talker.app.run_folder import RunFolder
from jax_talker.app.run_inputs import Input
from jax_talker.audio.level import FIRST
from jax_talker.errors import UserError

LOUDER = {"data": {"level": asdict(replace(FIRST, speech=-14.0, noise=-30.0))}}
CLIP = Input("clip", "a", "a" * 64, 32)


@pytest.fixture
def configured():
    """Today's configuration."""
    config = quickstart.get_config()
    config.data.clip = "a"
    return config


def begun(root, config, *, resume=False, task="talker"):
    """A run whose hearing has begun."""
    folder = RunFolder(root)
    with folder.alone(), folder.begun({**config, "task": task}, [CLIP], ["hear"], resume=resume) as warnings:
        folder.checkpoints("hear").joinpath("2").mkdir(parents=True, exist_ok=True)
    return folder, warnings


def of_another_time(folder, defaults=None):
    """The run as a program of a time with other ``defaults`` opens it."""
    changed = quickstart.get_config()
    changed.update(defaults or {})
    return ConfigDict(folder.config(changed.to_dict()))


def said(listener, config):
    """Coefficients of a sound that comes and goes as speech does."""
    rng = np.random.default_rng(0)
    sound = (0.03 * np.repeat(rng.random(10), 1600) * rng.standard_normal(16_000)).astype(np.float32)
    script = talking.script_for(sound, "front", held=listener.usual, clip=None, seed=0)
    return np.concatenate(talking.moving(config, listener, script), 1)


def test_a_run_from_before_it_was_kept_hears_as_then(tmp_path, configured, listener):
    """Its configuration knows no level, and today's default is another one: the same bits all the same."""
    folder, _ = begun(tmp_path / "run", configured.to_dict())
    as_trained = said(listener, configured)
    path = folder.root / "config.json"
    stored = json.loads(path.read_text())
    del stored["data"]["level"]
    path.write_text(json.dumps(stored))
    np.testing.assert_array_equal(said(listener, of_another_time(folder, LOUDER)), as_trained)


def test_a_run_keeps_its_own(tmp_path, configured, listener):
    configured.update(LOUDER)
    folder, _ = begun(tmp_path / "run", configured.to_dict())
    as_trained = said(listener, configured)
    np.testing.assert_array_equal(said(listener, of_another_time(folder)), as_trained)
    assert np.abs(as_trained - said(listener, quickstart.get_config())).max() > 0.01, "the level makes a difference"


def test_no_run_goes_on_at_another_level(tmp_path, configured):
    """Refused with what to pass, and nothing is changed; at its own level it goes on without a word."""
    folder, _ = begun(tmp_path / "run", configured.to_dict())
    stored = (folder.root / "config.json").read_bytes()
    configured.update(LOUDER)
    with pytest.raises(UserError, match=r"noise -40.0, not -30.0, .*pass .*--config\.data\.level\.noise=-40\.0 "):
        begun(tmp_path / "run", configured.to_dict(), resume=True)
    assert (folder.root / "config.json").read_bytes() == stored
    del configured.data["level"]
    (folder.root / "config.json").write_text(json.dumps(configured.to_dict()))
    today = quickstart.get_config()
    with pytest.raises(UserError, match=r"background 0\.0, not 3\.0 dB.*pass --config\.data\.level\.background=0\.0,"):
        begun(tmp_path / "run", today.to_dict(), resume=True)
    today.data.level.background = 0.0
    _, warnings = begun(tmp_path / "run", today.to_dict(), resume=True)
    assert not [line for line in warnings if "level" in line]


def test_what_hears_nothing_has_no_level(tmp_path):
    folder, _ = begun(tmp_path / "run", {"seed": 0}, task="prior")
    assert folder.config() == {"seed": 0, "task": "prior"}


def test_numbers_that_another_version_knows_are_refused(configured):
    assert builders.level(configured) == replace(FIRST, background=3.0)
    configured.data.level.hum = 50.0
    with pytest.raises(UserError, match=r"config\.data\.level: hum is what only"):
        builders.level(configured)
