"""A tiny generator and a tiny clip's worth of frames, shared by the tests of the training steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker import geometry
from jax_talker.audio.windows import WINDOW
from jax_talker.priors import GGHeadConfig, make_gghead
from jax_talker.priors import template as templates
from jax_talker.types import FrameBatch

SIZE = 24


@pytest.fixture(scope="session")
def small_prior():
    """(prior, variables): a GGHead of a few hundred Gaussians, untrained."""
    baked = templates.bake(templates.ellipsoid(), plane_resolution=8, uv_samples=14, register=False)
    config = GGHeadConfig.for_template(
        baked, z_dim=6, w_dim=8, c_dim=0, mapping_layers=1, channel_base=64, channel_max=8, uv_samples=14, sh_degree=0,
        use_flame_to_bfm_registration=False,
    )  # fmt: skip
    prior = make_gghead(config)
    return prior, prior.init(jax.random.key(0), baked)


@pytest.fixture(scope="session")
def make_frames():
    """frames(indices, reach, seed): images, masks and sound that differ from frame to frame."""

    def frames(indices, reach=1, seed=0):
        indices = np.asarray(indices)
        size = (len(indices), SIZE, SIZE)
        rng = np.random.default_rng(seed)
        pool = rng.random((64, SIZE, SIZE, 3)).astype(np.float32)
        audio = rng.random((64, WINDOW, 5)).astype(np.float32)  # as LogMel's: 0 is silence
        motion = rng.standard_normal((64, 7)).astype(np.float32)
        upper, lower = np.zeros(size, np.float32), np.zeros(size, np.float32)
        upper[:, 2:10, 4:20] = 1
        lower[:, 12:20, 6:18] = 1
        labels = geometry.make_label(np.stack([geometry.orbit(2.0 * i, 0.5 * i) for i in indices]))
        return FrameBatch(
            image=jnp.asarray(pool[indices]),
            upper=jnp.asarray(upper),
            lower=jnp.asarray(lower),
            head=jnp.ones(size),
            valid=jnp.ones(size),
            label=jnp.asarray(labels),
            audio=jnp.asarray(audio[indices[:, None] + np.arange(reach)]),
            blink=jnp.asarray(indices / 64, jnp.float32),
            expression=jnp.asarray(motion[indices, :3]),
            lips=jnp.asarray(motion[indices, 3:]),
            index=jnp.asarray(indices, jnp.int32),
        )

    return frames
