"""A tiny generator, a tiny clip's worth of frames and a tiny head, shared by the tests of the training steps."""

import jax
import jax.numpy as jnp
import numpy as np

from jax_talker import geometry
from jax_talker.audio.windows import WINDOW
from jax_talker.models import detail
from jax_talker.models.deformation import Blendshapes, Poses
from jax_talker.models.talker import Talker
from jax_talker.priors import GGHeadConfig, make_gghead
from jax_talker.priors import template as templates
from jax_talker.training.talking_head import Fixed, TalkingHead
from jax_talker.types import FrameBatch

SIZE = 24


def prior():
    """(prior, variables): a GGHead of a few hundred Gaussians, untrained."""
    baked = templates.bake(templates.ellipsoid(), plane_resolution=8, uv_samples=14, register=False)
    config = GGHeadConfig.for_template(
        baked, z_dim=6, w_dim=8, c_dim=0, mapping_layers=1, channel_base=64, channel_max=8, uv_samples=14, sh_degree=0,
        use_flame_to_bfm_registration=False,
    )  # fmt: skip
    made = make_gghead(config)
    return made, made.init(jax.random.key(0), baked)


def frames(indices, reach=1, seed=0):
    """Images, masks and sound that differ from frame to frame, of which there are 64."""
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
        audio=jnp.asarray(audio[(indices[:, None] + np.arange(reach)) % 64]),
        blink=jnp.asarray(indices / 64, jnp.float32),
        expression=jnp.asarray(motion[indices, :3]),
        lips=jnp.asarray(motion[indices, 3:]),
        index=jnp.asarray(indices, jnp.int32),
    )


def people(prior):
    """Rows of a prior's step: two people, each seen by two cameras."""
    seen = frames([0, 3, 7, 9])
    return {
        "z": jax.random.normal(jax.random.key(0), (2, prior.z_dim)),
        "label": seen.label.reshape(2, 2, 25),
        "image": seen.image.reshape(2, 2, SIZE, SIZE, 3),
        "alpha": jnp.ones((2, 2, SIZE, SIZE)),
    }


def head(prior):
    """A talker with blendshapes on top of the prior."""
    talker = Talker(prior.num_ws, prior.w_dim, expressions=3, lips=4, audio_features=6, hidden=(8,))
    return TalkingHead(prior, talker, Blendshapes(prior.num_gaussians, 3, 4))


def fixed(prior, variables):
    poses = Poses(jnp.asarray(geometry.make_label(geometry.orbit(0, 0)), jnp.float32), jnp.full(3, 0.4))
    return Fixed(variables, detail.as_they_are(prior.num_gaussians), poses)
