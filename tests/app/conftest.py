"""The tiny generator and frames of the training steps' tests, a tiny Whisper, a head that listens, a run's folder."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from motions import no_motion
from training.conftest import make_frames, small_prior

from audio.conftest import tiny_deepspeech, tiny_whisper
from jax_talker import geometry
from jax_talker.app.run_folder import RunFolder
from jax_talker.app.speaking import Speaker
from jax_talker.audio.logmel import LogMel
from jax_talker.models import detail
from jax_talker.models.deformation import Poses
from jax_talker.models.talker import Talker
from jax_talker.training.talking_head import Fixed, TalkingHead

__all__ = ["make_frames", "small_prior", "tiny_deepspeech", "tiny_whisper"]
POSES = Poses(jnp.asarray(geometry.make_label(geometry.orbit(0, 0)), jnp.float32), jnp.full(3, 0.4))


@pytest.fixture(scope="module")
def listener(listener_of):
    """A head whose mouth follows log-mel, by chance."""
    return listener_of(LogMel.num_features)


@pytest.fixture(scope="module")
def listener_of(small_prior, make_frames):
    """Heads whose mouths follow so many audio features, by chance."""
    return lambda num_features: _listener(*small_prior, make_frames, num_features)


def _listener(prior, variables, make_frames, num_features):
    talker = Talker(prior.num_ws, prior.w_dim, expressions=3, lips=4, audio_features=6, hidden=(8,))
    head, fixed = TalkingHead(prior, talker), Fixed(variables, detail.as_they_are(prior.num_gaussians), POSES)
    some = make_frames([4, 5], talker.reach)
    some = replace(some, audio=jnp.zeros((*some.audio.shape[:3], num_features)))
    params = head.init(jax.random.key(0), prior.mean_latent(variables), fixed.layout, some)
    rng = np.random.default_rng(1)  # fresh encoders end at zero: nothing would move
    params["talker"] = jax.tree.map(
        lambda x: x + 0.3 * rng.standard_normal(x.shape).astype(np.float32), params["talker"]
    )
    return Speaker(head, fixed, params, no_motion())


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")
