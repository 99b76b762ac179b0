"""A trained head: room for what it draws, and smoothness in time."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker import geometry
from jax_talker.app import speaking
from jax_talker.errors import UserError
from jax_talker.models import detail
from jax_talker.models.navigator import Coefficients
from jax_talker.models.talker import Talker
from jax_talker.rendering import Rasteriser
from jax_talker.training.talking_head import Fixed, TalkingHead

SIZE = 24
LABEL = jnp.asarray(np.tile(geometry.make_label(geometry.orbit(10, 0)), (speaking.Speaker.batch, 1)), jnp.float32)


@pytest.fixture(scope="module")
def speaker(small_prior, make_frames):
    prior, variables = small_prior
    talker = Talker(prior.num_ws, prior.w_dim, expressions=3, lips=4, audio_features=6, hidden=(8,))
    head, fixed = TalkingHead(prior, talker), Fixed(variables, detail.as_they_are(prior.num_gaussians))
    some = make_frames([4, 5], talker.reach)
    params = head.init(jax.random.key(0), prior.mean_latent(variables), fixed.layout, some)
    return speaking.Speaker(head, fixed, params)


def with_room(speaker, capacity):
    return replace(speaker, head=replace(speaker.head, rasteriser=Rasteriser("xla", capacity)))


def test_a_picture_gets_the_room_it_needs(speaker):
    small, large = with_room(speaker, 64), with_room(speaker, 1 << 16)
    cut_short = speaking._shown(small.head, small.params, small.fixed, small.rest, LABEL, LABEL, SIZE)
    assert cut_short.overflow.max() > 0  # the test's own premise
    shown = [np.asarray(s.pictures(s.rest, LABEL, LABEL, SIZE)) for s in (small, large)]
    np.testing.assert_array_equal(*shown)
    assert small.head.rasteriser.capacity > 64  # kept for the next picture
    assert np.abs(np.clip(cut_short.image, 0, 1) - shown[1]).max() > 0.01


def test_room_has_an_end(speaker, monkeypatch):
    monkeypatch.setattr(speaking, "GROWTHS", 1)
    small = with_room(speaker, 64)
    with pytest.raises(UserError, match="needs more room"):
        small.pictures(small.rest, LABEL, LABEL, SIZE)


def test_nothing_is_smoothed_across_recordings():
    values = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    smooth = lambda x, *boundaries: speaking.smoothed(Coefficients(x, x), 1.0, *boundaries).lips  # noqa: E731
    apart = np.concatenate([smooth(values[:8]), smooth(values[8:])])
    np.testing.assert_allclose(smooth(values, (8,)), apart, atol=1e-6)
    assert np.abs(smooth(values) - apart)[7:9].max() > 1e-2
    np.testing.assert_allclose(smooth(np.ones((20, 2), np.float32)), 1, atol=1e-6)
    assert speaking.smoothed(Coefficients(values, values), 0.0).lips is values
