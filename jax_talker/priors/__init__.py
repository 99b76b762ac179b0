"""Pretrained Gaussian GANs behind one interface (:class:`Prior`): latent → 3D Gaussian head."""

from jax_talker.priors.base import Prior, Variables
from jax_talker.priors.gghead import GGHead, GGHeadConfig, make_gghead
from jax_talker.priors.gsgan import GSGAN, make_gsgan
from jax_talker.priors.gsgan_config import GSGANConfig
from jax_talker.priors.morphable import Morphable
from jax_talker.priors.morphable_config import MorphableConfig
from jax_talker.priors.store import check_target, expressions, load, load_encoder, save

__all__ = [
    "GSGAN",
    "GGHead",
    "GGHeadConfig",
    "GSGANConfig",
    "Morphable",
    "MorphableConfig",
    "Prior",
    "Variables",
    "check_target",
    "expressions",
    "load",
    "load_encoder",
    "make_gghead",
    "make_gsgan",
    "save",
]
