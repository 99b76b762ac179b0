"""A trained head: room for what it draws, and smoothness in time."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from motions import no_motion

from jax_talker import geometry
from jax_talker.app import builders, speaking
from jax_talker.app.head_trainer import HeadTrainer
from jax_talker.app.run_folder import RunFolder
from jax_talker.errors import UserError
from jax_talker.models import detail
from jax_talker.models.deformation import Poses
from jax_talker.models.navigator import Coefficients
from jax_talker.models.talker import Talker
from jax_talker.priors import make_gghead
from jax_talker.rendering import Rasteriser
from jax_talker.training.head_step import Control, HeadWeights, make_head_step
from jax_talker.training.objective import ImageLoss
from jax_talker.training.shares import batch_of
from jax_talker.training.state import create, direction
from jax_talker.training.talking_head import Fixed, TalkingHead

POSES = Poses(jnp.asarray(geometry.make_label(geometry.orbit(0, 0)), jnp.float32), jnp.full(3, 0.4))

SIZE = 24
LABEL = jnp.asarray(np.tile(geometry.make_label(geometry.orbit(10, 0)), (speaking.Speaker.batch, 1)), jnp.float32)


@pytest.fixture(scope="module")
def speaker(small_prior, make_frames):
    prior, variables = small_prior
    talker = Talker(prior.num_ws, prior.w_dim, expressions=3, lips=4, audio_features=6, hidden=(8,))
    head, fixed = TalkingHead(prior, talker), Fixed(variables, detail.as_they_are(prior.num_gaussians), POSES)
    some = make_frames([4, 5], talker.reach)
    params = head.init(jax.random.key(0), prior.mean_latent(variables), fixed.layout, some)
    return speaking.Speaker(head, fixed, params, no_motion())


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


def test_gaussians_are_as_wide_in_a_larger_picture_as_in_those_they_were_learnt_from(speaker):
    """Another's pictures of that size are those of a filter of one pixel."""
    learnt = replace(speaker, learnt=SIZE)
    shown = [np.asarray(s.pictures(s.rest, LABEL, LABEL, 3 * SIZE)) for s in (learnt, speaker)]
    head = replace(speaker.head, rasteriser=Rasteriser(pixel=3.0))
    wide = speaking._shown(head, speaker.params, speaker.fixed, speaker.rest, LABEL, LABEL, 3 * SIZE)
    np.testing.assert_array_equal(shown[0], np.clip(wide.image, 0, 1))
    assert np.abs(shown[0] - shown[1]).max() > 0.01
    for size in (SIZE, SIZE // 2):  # nothing may be narrower than a pixel
        np.testing.assert_array_equal(
            learnt.pictures(speaker.rest, LABEL, LABEL, size), speaker.pictures(speaker.rest, LABEL, LABEL, size)
        )


def test_room_has_an_end(speaker, monkeypatch):
    monkeypatch.setattr(speaking, "GROWTHS", 1)
    small = with_room(speaker, 64)
    with pytest.raises(UserError, match="needs more room"):
        small.pictures(small.rest, LABEL, LABEL, SIZE)


def test_a_head_with_numbers_that_are_none_is_not_drawn_without_them(speaker):
    """Diverged, or a damaged file: the rasteriser leaves such Gaussians out, and a hole would pass for a picture."""
    own = speaker.params["detail"]
    bad = {**own, "mean": own["mean"].at[:2].set(jnp.nan)}
    spoilt = replace(speaker, params={**speaker.params, "detail": bad})
    with pytest.raises(UserError, match="2 of the head's Gaussians are not finite"):
        spoilt.pictures(spoilt.rest, LABEL, LABEL, SIZE)


def test_another_persons_weights_are_no_other_program(speaker, small_prior, make_frames):
    """Weights are arguments: as constants each person would be compiled anew, a large generator with all of itself."""
    prior, variables = small_prior
    other_prior = make_gghead(prior.config)
    other = jax.tree.map(lambda x: x + 1 if x.dtype.kind == "f" else x, (variables, speaker.params))
    others = Fixed(other[0], speaker.fixed.layout, POSES)

    def text(program, head, *given):
        leaves, tree = jax.tree.flatten(given)
        return jax.jit(lambda *leaves: program(head, *tree.unflatten(leaves))).lower(*leaves).as_text()

    def show(head, params, fixed):
        return head.show(params, fixed, speaker.rest, LABEL, LABEL, SIZE)

    def step(head, state, fixed, frames):
        control = Control({name: jnp.float32(1) for name in state.params}, *[jnp.float32(1)] * 3)
        loss = ImageLoss(1.0, 0.2, 0.1, lambda weights, a, b: weights * jnp.abs(a - b).mean(-1))
        own = make_head_step(head, direction(), loss, HeadWeights(), spread=1.0, cross=1)
        return own(state, batch_of((frames, frames, None), (fixed, control)))

    frames = make_frames([4, 5], speaker.reach)
    ours, others = (replace(x, perceptual=jnp.float32(n)) for n, x in enumerate((speaker.fixed, others), 1))
    people = (speaker.head, speaker.params, ours), (replace(speaker.head, prior=other_prior), other[1], others)
    shown = [text(show, *person) for person in people]
    stepped = [text(step, head, create(params, direction(), 0), fixed, frames) for head, params, fixed in people]
    assert shown[0] == shown[1]
    assert stepped[0] == stepped[1]


def test_a_stage_begins_with_the_room_that_was_needed_before(tmp_path, speaker):
    config = ConfigDict({"render": {"implementation": "xla", "capacity": None}})
    folder = RunFolder(tmp_path)
    folder.save_capacity(4096)
    step = builders.growing_step(config, 100, SIZE, lambda rasteriser: lambda state, batch: (state, {}), folder)
    step.begin("tune", 0)
    assert step.rasteriser == Rasteriser("xla", 4096)
    assert step.grow(5000, 7) > 4096
    assert folder.capacity() == step.rasteriser.capacity
    trainer = object.__new__(HeadTrainer)
    trainer.head, trainer._steps = with_room(speaker, 64).head, {0: step}
    assert trainer.drawing_head.rasteriser == Rasteriser("xla", folder.capacity())  # what personalising is scored with


def test_nothing_is_smoothed_across_recordings():
    values = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    smooth = lambda x, *boundaries: speaking.smoothed(Coefficients(x, x), 1.0, *boundaries).lips  # noqa: E731
    apart = np.concatenate([smooth(values[:8]), smooth(values[8:])])
    np.testing.assert_allclose(smooth(values, (8,)), apart, atol=1e-6)
    assert np.abs(smooth(values) - apart)[7:9].max() > 1e-2
    np.testing.assert_allclose(smooth(np.ones((20, 2), np.float32)), 1, atol=1e-6)
    assert speaking.smoothed(Coefficients(values, values), 0.0).lips is values
