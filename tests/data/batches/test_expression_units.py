"""Which expression units motion features stand for."""

from dataclasses import replace

import numpy as np
import pytest

from jax_talker.data.batches.expression_units import is_upper, units_of_features, units_shown
from jax_talker.data.clip.checksums import Checksums
from jax_talker.data.clip.clip import Clip


@pytest.fixture
def clip(tmp_path):
    """Ten frames of which a landmark model scored two units."""
    rng = np.random.default_rng(0)
    arrays = {"blink": rng.random(10), "expression": rng.random((10, 2)), "motion": rng.random((10, 3))}
    source = {"expression_names": ["jawOpen", "eyeBlinkLeft"]}
    return Clip(tmp_path, 32, 10, arrays, Checksums(tmp_path, {}), source)


def test_units_are_those_that_were_scored_and_the_clips_own_blink(clip):
    shown = units_shown(clip)
    assert set(shown) == {"jawOpen", "eyeBlinkLeft", "eyeBlinkRight"}  # nobody named the columns of motion
    np.testing.assert_array_equal(shown["jawOpen"], clip.arrays["expression"][:, 0])
    np.testing.assert_array_equal(shown["eyeBlinkLeft"], clip.arrays["blink"])


def test_a_made_up_person_moved_as_they_say(clip):
    shown = units_shown(replace(clip, source={"motion": ["jawOpen", "mouthPucker", "browInnerUp"]}))
    assert set(shown) == {"jawOpen", "mouthPucker", "browInnerUp", "eyeBlinkLeft", "eyeBlinkRight"}
    np.testing.assert_array_equal(shown["browInnerUp"], clip.arrays["motion"][:, 2])


def test_a_clip_that_knows_no_units_has_its_blink(clip):
    assert set(units_shown(replace(clip, source={}))) == {"eyeBlinkLeft", "eyeBlinkRight"}


def test_units_follow_features_as_they_did():
    """Weights that are linear in features, at any level, are found; the ridge of 1 % keeps 99 % of them."""
    rng = np.random.default_rng(1)
    features = rng.standard_normal((500, 3)).astype(np.float32)
    slope = np.array([[0.3, 0], [0, -0.2], [0.1, 0.1]])
    weights = 0.4 + features @ slope
    found = units_of_features({"a": weights[:, 0], "b": weights[:, 1]}, features, ["a", "b"])
    np.testing.assert_allclose(found, slope, atol=0.01)


def test_a_feature_that_never_moves_stands_for_nothing():
    features = np.stack([np.linspace(-1, 1, 50), np.zeros(50)], 1).astype(np.float32)
    found = units_of_features({"a": features[:, 0]}, features, ["a"])
    assert np.isfinite(found).all()
    assert found[1] == 0


@pytest.mark.parametrize(
    ("unit", "upper"), [("eyeBlinkLeft", True), ("browInnerUp", True), ("jawOpen", False), ("noseSneerLeft", False)]
)
def test_lids_and_brows_are_upper(unit, upper):
    assert is_upper(unit) == upper
