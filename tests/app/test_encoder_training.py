"""An encoder learns from what its prior draws, goes on where it was stopped, and inversion starts where it points."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from configs import encoder as encoder_config
from jax_talker import priors
from jax_talker.app import encoder_training, inverting
from jax_talker.app.encoder_training import Drawing
from jax_talker.app.run_folder import RunFolder
from jax_talker.errors import UserError
from jax_talker.geometry import make_label, orbit
from jax_talker.priors.encoder import SIZE, Encoder
from jax_talker.rendering import Rasteriser
from jax_talker.training.encoder_step import CUT, influences, worse
from jax_talker.training.log import Log
from jax_talker.training.objective import ImageLoss
from jax_talker.types import Latent


def tiny(**changes):
    config = encoder_config.get_config()
    config.prior.path = "small"
    config.corpus.update({"pictures": 48, "held_out": 16, **changes})
    config.train.update({"steps": 25, "batch": 16, "rate": 3e-3})
    return config


def trained(root, config, *, resume=False):
    with Log(root) as log:
        return encoder_training.train(config, RunFolder(root), log, resume=resume)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("encoder")
    return root, trained(root, tiny())


def test_it_learns_something_of_pictures_that_it_never_saw(run):
    """In 25 steps, of 32 pictures: little, but more than nothing."""
    root, scores = run
    assert scores["unexplained"] < 0.97
    assert scores["psnr"] > scores["psnr_of_the_mean_face"]
    assert json.loads((root / "scores.json").read_text()) == scores


def test_the_corpus_holds_what_the_prior_draws(run):
    prior, variables = priors.load("small")
    image, label, w = (np.load(run[0] / "corpus" / f"{name}.npy") for name in ("image", "label", "w"))
    assert image.shape == (48, SIZE, SIZE, 3)
    assert len(np.unique(w[:, 0])) == 48
    rows = jnp.repeat(jnp.asarray(w[20:36])[:, None], prior.num_ws, 1)
    drawn = Drawing(prior, variables)(rows, jnp.asarray(label[20:36]))
    np.testing.assert_allclose(drawn * 255, image[20:36], atol=0.6)  # bytes


def test_pictures_get_the_room_they_need(small_prior):
    ample, tight = Drawing(*small_prior), Drawing(*small_prior, Rasteriser("xla", capacity=64))
    np.testing.assert_allclose(tight.random((0, 0))["image"], ample.random((0, 0))["image"], atol=1)
    assert tight.rasteriser.capacity > 64


def test_what_was_drawn_before_an_interruption_is_kept(tmp_path, small_prior, monkeypatch):
    prior, variables = small_prior
    config, calls = tiny(), []
    real = Drawing.random
    monkeypatch.setattr(Drawing, "random", lambda self, seed: calls.append(seed) or real(self, seed))
    draw = lambda: encoder_training.load_or_draw(tmp_path / "corpus", config, prior, variables)  # noqa: E731
    whole = np.array(draw().image)
    state = tmp_path / "corpus" / "corpus.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"drawn": 32}))
    calls.clear()
    np.testing.assert_array_equal(draw().image, whole)
    assert calls == [(0, 32)]
    calls.clear()
    config.seed = 1
    assert (np.array(draw().image) != whole).any()
    assert len(calls) == 3, "of another seed, nothing is kept"
    calls.clear()
    config.seed, interrupted = 2, Drawing.random
    monkeypatch.setattr(Drawing, "random", lambda self, seed: interrupted(self, seed) if not calls else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        draw()
    config.seed = 1
    monkeypatch.setattr(Drawing, "random", interrupted)
    calls.clear()
    assert np.array(draw().image).any((1, 2, 3)).all()
    assert len(calls) == 3, "what was begun to be written over is no longer vouched for"


def test_the_bundled_encoder_finds_whom_its_prior_draws():
    """Far better than the mean face; 22.0 and 15.0 dB of 496."""
    prior, variables = priors.load("human")
    some = Drawing(prior, variables).random((123, 456))
    encoder, params = priors.load_encoder("human", prior)
    count = jnp.ones(prior.w_dim)
    scores = encoder_training.score(encoder, params, variables, some, count)
    assert scores["psnr"] > scores["psnr_of_the_mean_face"] + 4


@pytest.mark.parametrize("held_out", [0, 48])
def test_some_pictures_must_be_held_back_and_some_learnt_from(tmp_path, held_out):
    with pytest.raises(UserError, match=f"held_out: {held_out} of 48"):
        trained(tmp_path, tiny(held_out=held_out))
    assert not (tmp_path / "corpus").exists()


def test_a_picture_that_a_matte_has_cut_is_white_below():
    picture = jnp.zeros((SIZE, SIZE, 3))
    made = np.asarray(jax.vmap(lambda k: worse(k, picture, (1.0, 1.0, 1.0)))(jax.random.split(jax.random.key(0), 64)))
    white = (made.min((2, 3)) > 0.8).sum(1) / SIZE
    assert white.max() > 0.15
    assert white.min() == 0
    assert white.max() < 1 - CUT[0] + 0.05
    assert made[:, : SIZE // 2].max() < 0.2, "noise alone"


def test_what_changes_nothing_counts_little(small_prior):
    prior, variables = small_prior
    count = prior.w_dim

    class Half(type(prior)):
        """Blind to the second half of w."""

        def gaussians(self, variables, latent):
            known = jnp.arange(count) < count // 2
            return super().gaussians(variables, Latent(latent.w * known[None, None]))

    found = np.asarray(influences(Half(prior.config, prior.compute), variables, jnp.ones(count)))
    assert found.shape == (count,)
    assert found[: count // 2].min() > found[count // 2 :].max()
    np.testing.assert_allclose(found[count // 2 :], found[-1])
    assert found[-1] > 0


class TestFirstGuess:
    @pytest.fixture
    def folder(self, small_prior, tmp_path):
        """A small prior with an encoder that finds the same latent in all pictures."""
        priors.save(tmp_path / "p", *small_prior, card="")
        params = Encoder(small_prior[0]).init(jax.random.key(0), jnp.ones(small_prior[0].w_dim))
        params["net"]["latent"]["bias"] = params["net"]["latent"]["bias"] + 0.5
        priors.store.save_encoder(tmp_path / "p", params)
        return tmp_path / "p"

    def test_inversion_starts_there(self, small_prior, folder):
        prior, variables = small_prior
        label = make_label(orbit(0, 0))
        portrait = inverting.Portrait(np.ones((32, 32, 3), np.float32), np.ones((32, 32), np.float32), label)
        still = {"size": 32, "steps": 1, "rate": 1e-9}
        led = inverting.Inverter(prior, variables, ImageLoss(), **still, encoder=str(folder))(portrait)
        np.testing.assert_allclose(led, prior.mean_latent(variables) + 0.5, atol=1e-3)
        mean = inverting.Inverter(prior, variables, ImageLoss(), **still)(portrait)
        np.testing.assert_allclose(mean, prior.mean_latent(variables), atol=1e-3)

    def test_one_frame_of_three_does_not_turn_it(self, small_prior, make_frames, monkeypatch):
        """As where hair lies over a face, or a mask is wrong."""
        prior, variables = small_prior
        label = make_frames([0, 1]).label

        def mostly(self, params, variables, image, label):
            row = jnp.where(image.mean((1, 2, 3)) > 0.9, 100.0, 1.0)
            return Latent(row[:, None, None] * jnp.ones((1, prior.num_ws, prior.w_dim)))

        monkeypatch.setattr(Encoder, "__call__", mostly)
        guess = inverting.FirstGuess(
            Encoder(prior), {}, variables, np.zeros((0, prior.num_ws, prior.w_dim), np.float32)
        )
        frames = make_frames([0, 1])
        dark = replace(frames, image=0 * frames.image, valid=jnp.ones_like(frames.valid), label=label)
        light = replace(dark, image=jnp.stack([dark.image[0], 1 + 0 * dark.image[1]]))
        np.testing.assert_array_equal(guess([dark, light]), 1)

    def test_eyes_stay_open(self, small_prior, folder, make_frames):
        """What is found along units of the upper face is the mean's; along those of the lower face it stays."""
        prior, variables = small_prior
        blink, jaw = np.zeros((2, prior.num_ws, prior.w_dim), np.float32)
        blink[0, :2], jaw[0, 2:4] = (1, 2), (3, 1)
        safetensors.numpy.save_file({"eyeBlinkLeft": blink, "jawOpen": jaw}, folder / priors.store.EXPRESSIONS)
        away = inverting.FirstGuess.of(str(folder), prior, variables)([make_frames([0, 1])])
        away = away - np.asarray(prior.mean_latent(variables))
        assert abs((away * blink).sum()) < 1e-4
        np.testing.assert_allclose((away * jaw).sum(), 0.5 * 4, rtol=1e-2)  # stored in float16
        np.testing.assert_allclose(away[1:], 0.5, rtol=1e-2)

    def test_priors_without_an_encoder_have_none(self, small_prior):
        assert inverting.FirstGuess.of("small", *small_prior) is None

    def test_what_was_not_filmed_does_not_count(self, small_prior, folder, make_frames, monkeypatch):
        seen = []
        real = Encoder.__call__

        def watched(self, params, variables, image, label):
            jax.debug.callback(lambda x: seen.append(np.asarray(x)), image)
            return real(self, params, variables, image, label)

        monkeypatch.setattr(Encoder, "__call__", watched)
        frames = make_frames([0, 1])
        frames = replace(frames, image=jnp.zeros_like(frames.image), valid=frames.valid.at[:, :3].set(0))
        guess = inverting.FirstGuess.of(str(folder), *small_prior)([frames])
        assert guess.shape == (small_prior[0].num_ws, small_prior[0].w_dim)
        jax.effects_barrier()
        np.testing.assert_array_equal(seen[0][:, :3], 1)
        np.testing.assert_array_equal(seen[0][:, 3:], 0)
