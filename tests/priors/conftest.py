"""What tests of priors share."""

import jax
import pytest

from jax_talker.priors import GGHeadConfig, make_gghead
from jax_talker.priors import template as templates


@pytest.fixture(scope="session")
def small():
    """The least GGHead, and its variables."""
    template = templates.bake(templates.ellipsoid(), plane_resolution=8, uv_samples=6, register=False)
    config = GGHeadConfig.for_template(template, z_dim=4, w_dim=6, channel_max=5, uv_samples=6, sh_degree=0)
    prior = make_gghead(config)
    return prior, prior.init(jax.random.key(0), template)
