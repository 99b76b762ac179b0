"""A tiny head that moves with whatever pulls it: untrained, but nothing in it is zero."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from motions import no_motion

from configs import quickstart
from jax_talker import geometry
from jax_talker.app import builders
from jax_talker.app.speaking import Speaker
from jax_talker.audio.hearing import hear
from jax_talker.data.clip.clip import FPS, SAMPLE_RATE
from jax_talker.models import detail
from jax_talker.models.deformation import Poses
from jax_talker.models.talker import Talker
from jax_talker.training.talking_head import Fixed, TalkingHead

SIZE = 24


@pytest.fixture(scope="session")
def config():
    return quickstart.get_config()


@pytest.fixture(scope="session")
def speaker(config, small_prior, make_frames):
    prior, variables = small_prior
    talker = Talker(prior.num_ws, prior.w_dim, expressions=3, lips=4, audio_features=6, hidden=(8,))
    poses = Poses(jnp.asarray(geometry.make_label(geometry.orbit(0, 0)), jnp.float32), jnp.full(3, 0.4))
    head, fixed = TalkingHead(prior, talker), Fixed(variables, detail.as_they_are(prior.num_gaussians), poses)
    windows = hear(builders.extractor(config), builders.level(config), np.zeros(SAMPLE_RATE, np.float32), FPS)
    some = make_frames([4, 5], talker.reach)
    some = replace(some, audio=jnp.zeros((2, talker.reach, *windows.shape[1:])))
    anchor = jax.jit(prior.mean_latent)(variables)
    params = jax.jit(head.init)(jax.random.key(0), anchor, fixed.layout, some)  # op by op it takes twelve seconds
    rng = np.random.default_rng(1)
    moving = jax.tree.map(lambda x: x + jnp.asarray(0.5 * rng.standard_normal(x.shape), x.dtype), params["talker"])
    return Speaker(head, fixed, {**params, "talker": moving}, no_motion())
