"""From a configuration to objects. The configuration is opened here and in the programs, and nowhere deeper."""

import functools
from collections.abc import Callable
from typing import Any

from jax_talker.data.batches.dataset import ClipFrames, Split, split
from jax_talker.data.clip.clip import Clip, open_clip
from jax_talker.data.read.audio import FeatureExtractor, LogMel, frame_windows
from jax_talker.errors import UserError
from jax_talker.models.deformation import DeformationField
from jax_talker.models.talker import Talker
from jax_talker.networks import lpips
from jax_talker.priors.base import Prior
from jax_talker.rendering import Rasteriser
from jax_talker.training.growing import GrowingStep
from jax_talker.training.loop import Every
from jax_talker.training.navigate_step import TalkingHead
from jax_talker.training.objective import ImageLoss

AUDIO_WINDOW = 16  # feature steps that one frame hears (data.read.audio.frame_windows)
EXTRACTORS = {"logmel": LogMel}


def extractor(config: Any) -> FeatureExtractor:
    """The audio features that a run uses."""
    name = config.data.features
    if name not in EXTRACTORS:
        raise UserError(f"config.data.features: no extractor {name!r}; choose from {sorted(EXTRACTORS)}")
    return EXTRACTORS[name]()


def clip(config: Any) -> Clip:
    """The clip that a run is trained on."""
    if not config.data.clip:
        raise UserError(
            "config.data.clip is not set; pass --config.data.clip=FOLDER made by python -m jax_talker.prepare"
        )
    return open_clip(config.data.clip)


def clip_split(config: Any, of: Clip) -> Split:
    """Frames to train on and the held-out tail."""
    return split(of.frames, config.data.test_fraction, of.boundaries)


def clip_frames(config: Any, of: Clip, sound_of: Clip, reach: int) -> ClipFrames:
    """Frames of one camera with the clip's audio windows."""
    windows = frame_windows(extractor(config)(sound_of.audio()), of.frames, of.boundaries)
    return ClipFrames(of, windows, reach)


def image_loss(config: Any) -> tuple[ImageLoss, str]:
    """The image loss, and a line that says what it is made of."""
    weights = config.loss
    text = f"loss: {weights.l1:g}·L1 + {weights.ssim:g}·(1 − SSIM)"
    if not weights.lpips_weights:
        if weights.lpips:
            raise UserError(
                "config.loss.lpips: LPIPS needs config.loss.lpips_weights, a folder of python -m converters lpips; "
                "set the weight to 0 to train with L1 and SSIM"
            )
        return ImageLoss(weights.l1, weights.ssim), f"{text}, no LPIPS weights given"
    if not weights.lpips:
        raise UserError("config.loss.lpips is 0, so config.loss.lpips_weights is unused; set one or unset the other")
    net, arrays = lpips.load(weights.lpips_weights)
    network = functools.partial(lpips.distance_map, net, arrays)
    return ImageLoss(weights.l1, weights.ssim, weights.lpips, network), f"{text} + {weights.lpips:g}·LPIPS ({net})"


def talking_head(config: Any, prior: Prior, gain: float) -> TalkingHead:
    """The talker on top of a prior."""
    m = config.model
    talker = Talker(
        prior.num_ws,
        prior.w_dim,
        m.expressions,
        m.lips,
        m.audio_features,
        m.attention,
        m.smoothing,
        tuple(m.hidden),
        gain,
    )
    return TalkingHead(prior, talker, DeformationField() if m.deformation else None, rasteriser(config))


def rasteriser(config: Any) -> Rasteriser:
    """The rasteriser's options."""
    return Rasteriser(config.render.implementation, config.render.capacity)


def growing_step(config: Any, prior: Prior, size: int, build: Callable[[Rasteriser], Callable]) -> GrowingStep:
    """A training step at ``size``² whose rasteriser grows when something did not fit."""
    return GrowingStep(build, rasteriser(config), num_gaussians=prior.num_gaussians, size=size)


def every(config: Any) -> Every:
    """How often a run speaks and saves."""
    return Every(config.log.scalars, config.log.images, config.log.checkpoint)
