"""Sliders → coefficients → pictures."""

from dataclasses import replace

import jax
import numpy as np
import pytest
import viewing_clip

from jax_talker import geometry
from jax_talker.app import builders
from jax_talker.app.viewing import puppet
from jax_talker.app.viewing.drawing import Drawer
from jax_talker.models.navigator import Coefficients

LABEL = geometry.make_label(geometry.orbit(0, 0))


@pytest.fixture(scope="module")
def moved(config, speaker):
    """(puppet, coefficients [T, ·] of its clip): lips that are what the mouth's opening is along one direction."""
    clip = viewing_clip.opening_mouth()
    opening = viewing_clip.apart(clip)
    opening = (opening - opening.mean()) / opening.std()
    rng = np.random.default_rng(0)
    lips = opening[:, None] * np.array([1.0, -2.0, 0.5, 0.0]) + np.array([0, 0, 0, 0.3]) * rng.normal(
        size=(len(opening), 1)
    )
    of_clip = Coefficients(rng.normal(size=(len(opening), 3)) * [1, 2, 3], lips)
    return puppet.make_puppet(config, speaker, of_clip, clip), of_clip, clip


def test_sliders_are_in_deviations_over_the_training_frames(config, moved):
    made, of_clip, clip = moved
    train = builders.clip_split(config, clip).train
    assert 0 < len(train) < clip.frames  # the test's own premise: held-out frames say nothing
    np.testing.assert_allclose(made.spread.lips, of_clip.lips[train].std(0))
    pulled = replace(made.rest, expression=np.array([0, -2.0, 0]), lips=np.array([0, 0, 1.5, 0]))
    got = made.coefficients(pulled)
    np.testing.assert_allclose(got.expression[0], [0, -2 * of_clip.expression[train, 1].std(), 0], rtol=1e-5)
    np.testing.assert_allclose(got.lips[0], [0, 0, 1.5 * of_clip.lips[train, 2].std(), 0], rtol=1e-5, atol=1e-7)


def test_jaw_is_the_direction_in_which_the_mouth_opens(config, moved):
    made, _, clip = moved
    train = builders.clip_split(config, clip).train
    opening = viewing_clip.apart(clip)
    unit = opening[train].std() / opening.std()  # coefficients were made in units of all frames
    np.testing.assert_allclose(made.jaw.lips[:3], unit * np.array([1.0, -2.0, 0.5]), rtol=1e-6)
    assert abs(made.jaw.lips[3]) < 0.15  # noise that has nothing to do with it
    got = made.coefficients(replace(made.rest, jaw=2.0))
    np.testing.assert_allclose(got.lips[0], 2 * made.jaw.lips, rtol=1e-5)


def test_a_blink_is_what_the_head_hears_of_one(speaker, moved):
    made = moved[0]
    at = lambda blink: np.asarray(made.coefficients(replace(made.rest, blink=blink)).expression[0])  # noqa: E731
    assert not at(0.0).any()
    assert np.abs(at(1.0)).max() > 0.01
    np.testing.assert_allclose(at(1.0), made.blinks.expression[-1], rtol=1e-5)
    between = np.stack([made.blinks.expression[k] for k in (3, 4)]).mean(0)
    np.testing.assert_allclose(at(3.5 / 7), between, rtol=1e-4, atol=1e-6)


def test_what_is_pulled_is_added_to_what_is_said(moved):
    made = moved[0]
    spoken = Coefficients(np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 3.0, 4.0]))
    pulled = replace(made.rest, lips=np.array([1.0, 0, 0, 0]), blink=0.4)
    alone, both = made.coefficients(pulled), made.coefficients(pulled, spoken)
    for part in range(2):
        np.testing.assert_allclose(both[part][0] - alone[part][0], spoken[part], rtol=1e-5)


def test_without_a_clip_the_unit_is_a_guess_and_no_jaw_is_offered(config, speaker):
    made = puppet.make_puppet(config, speaker, None, None)
    assert (made.measured, made.jaw) == (False, None)
    assert made.spread.lips.shape == (4,)
    np.testing.assert_allclose(made.spread.lips, speaker.head.talker.gain / 3, rtol=1e-6)


def test_every_slider_changes_the_picture(speaker, moved):
    made, drawer = moved[0], Drawer(speaker, 24)
    still = drawer.picture(made.coefficients(made.rest), LABEL)
    np.testing.assert_array_equal(still, drawer.picture(made.coefficients(made.rest), LABEL))
    pulls = [replace(made.rest, jaw=3.0), replace(made.rest, blink=1.0)]
    pulls += [replace(made.rest, expression=2 * row) for row in np.eye(3)]
    pulls += [replace(made.rest, lips=2 * row) for row in np.eye(4)]
    seen = [drawer.picture(made.coefficients(pull), LABEL) for pull in pulls]
    for picture in seen:
        assert np.abs(picture.astype(int) - still).max() > 5
    assert len({picture.tobytes() for picture in seen}) == len(seen)


def test_splats_follow_as_well(speaker, moved):
    made, drawer = moved[0], Drawer(speaker, 24)
    still, pulled = (
        jax.tree.map(np.asarray, drawer.splats(made.coefficients(pull)))
        for pull in (made.rest, replace(made.rest, jaw=3.0))
    )
    assert len(still.centers) == drawer.gaussians
    assert max(np.abs(a - b).max() for a, b in zip(still, pulled, strict=True)) > 0.01
