"""The ceiling: coefficients that are fitted to pictures whose coefficients are known."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from app.judging.fakes import FakeClip, FakeSpeaker
from motions import no_motion
from training.conftest import make_frames, small_prior

from jax_talker import geometry
from jax_talker.app.judging import ceilings, driven
from jax_talker.app.judging.head import Head
from jax_talker.app.judging.score import Score
from jax_talker.app.judging.tables import Row
from jax_talker.app.judging.weights import Weights
from jax_talker.app.speaking import Speaker
from jax_talker.models import detail
from jax_talker.models.deformation import Poses
from jax_talker.models.navigator import Coefficients
from jax_talker.models.talker import Talker
from jax_talker.rendering import Rasteriser
from jax_talker.training.talking_head import Fixed, TalkingHead

__all__ = ["make_frames", "small_prior"]
SIZE = 24


@pytest.fixture(scope="module")
def speaker(small_prior, make_frames):
    prior, variables = small_prior
    talker = Talker(prior.num_ws, prior.w_dim, expressions=2, lips=2, audio_features=6, hidden=(8,), gain=3.0)
    poses = Poses(jnp.asarray(geometry.make_label(geometry.orbit(0, 0)), jnp.float32), jnp.full(3, 0.4))
    head = TalkingHead(prior, talker, rasteriser=Rasteriser("xla", 64))  # too little: it has to grow
    fixed = Fixed(variables, detail.as_they_are(prior.num_gaussians), poses)
    params = head.init(jax.random.key(0), prior.mean_latent(variables), fixed.layout, make_frames([4, 5], talker.reach))
    return Speaker(head, fixed, params, no_motion())


def test_what_was_shown_is_found_again(speaker, make_frames, monkeypatch):
    monkeypatch.setattr(driven, "STEPS", 25)
    rng = np.random.default_rng(0)
    true = Coefficients(*(jnp.asarray(rng.normal(0, 2.0, (8, 2)), jnp.float32) for _ in range(2)))
    label = jnp.asarray(np.tile(geometry.make_label(geometry.orbit(0, 0)), (8, 1)), jnp.float32)
    batch = make_frames(np.arange(8), speaker.reach)
    batch = batch.replace(image=speaker.pictures(true, label, label, SIZE), label=label)
    start = Coefficients(jnp.zeros((8, 2)), jnp.zeros((8, 2)))
    wrong = Coefficients(jnp.full((8, 2), 50.0), jnp.full((8, 2), 50.0))
    found = driven._fitted(speaker, [wrong, start], batch)
    off = lambda c: np.asarray(driven._look(speaker.head, speaker.params, speaker.fixed, batch, c)[0])  # noqa: E731
    assert (off(found) < 0.5 * off(start)).all()
    assert speaker.head.rasteriser.capacity > 64


def test_no_frame_gets_worse_than_it_began(speaker, make_frames, monkeypatch):
    """Steps that lead nowhere leave each frame at the better of its two starts."""
    monkeypatch.setattr(driven, "RATE", 1e4)
    monkeypatch.setattr(driven, "STEPS", 2)
    batch = make_frames(np.arange(8), speaker.reach)
    rng = np.random.default_rng(1)
    starts = [Coefficients(*(jnp.asarray(rng.normal(0, 3, (8, 2)), jnp.float32) for _ in range(2))) for _ in range(2)]
    off = lambda c: np.asarray(driven._look(speaker.head, speaker.params, speaker.fixed, batch, c)[0])  # noqa: E731
    found = driven._fitted(speaker, starts, batch)
    assert (off(found) <= np.minimum(*map(off, starts)) + 1e-7).all()
    assert (off(starts[0]) < off(starts[1])).any()
    assert (off(starts[0]) > off(starts[1])).any()


def headed(ceiling):
    return Head("may", None, FakeSpeaker(), FakeClip(), Weights(Path("none")), ceiling=ceiling)


@pytest.mark.parametrize(
    ("every", "words"), [(1, "every test frame"), (2, "every 2nd"), (13, "every 13th"), (3, "3rd")]
)
def test_rows_say_what_was_fitted(every, words):
    assert words in ceilings.driven_name(headed(every))


def test_single_frames_keep_their_places():
    spread = ceilings._spread(Score("psnr", "PSNR", 31.0, per_frame=np.array([30.0, 32.0])), np.array([0, 3]), 5)
    assert isinstance(spread, Score)
    np.testing.assert_array_equal(spread.per_frame, [30, np.nan, np.nan, 32, np.nan])


def test_a_head_is_held_against_its_ceiling_on_the_same_frames():
    head = headed(2)
    own = Score("psnr", "PSNR", 0.0, "dB", "higher", np.array([30.0, 0.0, 31.0, 0.0]), digits=2)
    rows = [Row("may", {"": [own]}), Row(ceilings.driven_name(head), {"": [own]})]
    assert ceilings.same_frames([head], rows) == ["may on the frames of its ceiling: PSNR 30.50"]
    assert ceilings.same_frames([headed(1)], rows) == []
