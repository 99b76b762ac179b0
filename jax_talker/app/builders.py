"""From a configuration to objects. The configuration is opened here and in the programs, and nowhere deeper."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

from jax_talker.app.run_folder import RunFolder
from jax_talker.audio import hearing
from jax_talker.audio.choice import bands, choose
from jax_talker.audio.extractor import Extractor
from jax_talker.audio.level import Level
from jax_talker.data.batches.dataset import ClipFrames, Split, split
from jax_talker.data.batches.motion_features import MotionSpace, motion_features
from jax_talker.data.clip.clip import Clip, open_clip
from jax_talker.errors import UserError
from jax_talker.models.deformation import Blendshapes, DeformationField, Follows
from jax_talker.models.talker import Talker
from jax_talker.networks import lpips
from jax_talker.priors.base import Prior
from jax_talker.priors.layers import COMPUTE
from jax_talker.rendering import Rasteriser
from jax_talker.training import processes
from jax_talker.training.devices import Devices
from jax_talker.training.devices import choose as choose_devices
from jax_talker.training.growing import GrowingStep
from jax_talker.training.head_step import HeadWeights
from jax_talker.training.loop import Every
from jax_talker.training.objective import ImageLoss
from jax_talker.training.shares import even
from jax_talker.training.sound_variation import Variation
from jax_talker.training.talking_head import TalkingHead

LPIPS_WEIGHT = 0.1  # where config.loss.lpips leaves it open


def extractor(config: Any) -> Extractor:
    """The audio features that a run uses."""
    return choose(config.data.features, config.data.features_weights)


def level(config: Any) -> Level:
    """The level at which a run hears speech."""
    try:
        return Level(**config.data.level)
    except TypeError:
        known, given = ({*names} for names in (Level.__dataclass_fields__, config.data.level))
        raise UserError(
            f"config.data.level: {', '.join(sorted(given ^ known))} is what only this version or only that of the run "
            "knows, so the run would be heard otherwise than it was trained; use the version that made it"
        ) from None


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


def clip_frames(config: Any, of: Clip, sound_of: Clip, reach: int, motion: MotionSpace) -> ClipFrames:
    """Frames of one camera with the clip's audio windows and the motion that its own camera saw, in the person's space
    of it. Audio features are kept in the clip's folder."""
    sound, keep = sound_of.audio(), sound_of.root / hearing.FOLDER
    with processes.writer_first("features"):
        windows = hearing.hear(extractor(config), level(config), sound, of.frames, of.boundaries, keep=keep)
    return ClipFrames(of, windows, reach, motion_features(sound_of.arrays, motion))


def image_loss(config: Any) -> tuple[ImageLoss, Any, str]:
    """The image loss, its LPIPS network's weights (None without one), and a line that says what it is made of."""
    weights = config.loss
    text = f"loss: {weights.l1:g}·L1 + {weights.ssim:g}·(1 − SSIM)"
    if not weights.lpips_weights:
        if weights.lpips:
            raise UserError(
                "config.loss.lpips: LPIPS needs config.loss.lpips_weights, a folder of python -m converters lpips; "
                "set the weight to 0 to train with L1 and SSIM"
            )
        return ImageLoss(weights.l1, weights.ssim), None, f"{text}, no LPIPS weights given"
    weight = LPIPS_WEIGHT if weights.lpips is None else weights.lpips
    if not weight:
        return ImageLoss(weights.l1, weights.ssim), None, f"{text}, LPIPS is switched off"
    net, arrays = lpips.load(weights.lpips_weights)
    loss = ImageLoss(weights.l1, weights.ssim, weight, functools.partial(lpips.distance_map, net))
    return loss, arrays, f"{text} + {weight:g}·LPIPS ({net})"


def compute(config: Any) -> str:
    """How the generator's heavy products are computed: float32 where a configuration is older than the choice."""
    chosen = config.get("prior", {}).get("compute", "float32")
    if chosen not in COMPUTE:
        raise UserError(f"config.prior.compute: {chosen!r} is none of {', '.join(COMPUTE)}")
    return chosen


def talking_head(config: Any, prior: Prior, num_gaussians: int, gain: float) -> TalkingHead:
    """The talker on top of a prior, for a person of so many Gaussians."""
    m = config.model
    forms = {
        "blendshapes": lambda: Blendshapes(num_gaussians, m.expression_shapes, m.lip_shapes, m.pose),
        "field": DeformationField,
        "none": lambda: None,
    }
    if m.deformation not in forms:
        raise UserError(f"config.model.deformation: no form {m.deformation!r}; choose from {sorted(forms)}")
    if m.walk not in ("face", "all"):
        raise UserError(f"config.model.walk: {m.walk!r} is neither face nor all")
    if not m.expressions and m.deformation != "none":
        raise UserError(
            "config.model.expressions: 0 is one joint set for the whole face, and a deformation field keeps two sets "
            'apart; set config.model.deformation to "none"'
        )
    if m.pose not in get_args(Follows):
        raise UserError(f"config.model.pose: {m.pose!r} is none of {', '.join(get_args(Follows))}")
    return TalkingHead(
        prior, _talker(config, prior.num_ws, prior.w_dim, gain), forms[m.deformation](), rasteriser(config)
    )


def _talker(config: Any, num_ws: int, w_dim: int, gain: float) -> Talker:
    m = config.model
    hidden = tuple(m.hidden)
    return Talker(num_ws, w_dim, m.expressions, m.lips, m.audio_features, m.attention, m.smoothing, hidden, gain)


def reach(config: Any) -> int:
    """Neighbouring frames whose audio windows one frame needs."""
    return _talker(config, 1, 1, 1.0).reach


def head_weights(config: Any) -> HeadWeights:
    """The loss of personalising and navigating."""
    p, t = config.personalize, config.train
    return HeadWeights(
        lower=t.lower,
        upper=t.upper,
        detail=p.detail,
        anchor=p.anchor,
        rough=p.rough,
        delta=p.delta,
        smooth=t.smooth,
        size=t.size,
        locality=p.locality,
        sound=sound_variation(config),
        any_background=_any_background(t.background),
    )


def _any_background(name: str) -> bool:
    if name not in ("any", "white"):
        raise UserError(f"config.train.background: {name!r} is neither any nor white")
    return name == "any"


def check_background(config: Any, prior: Prior) -> None:
    """UserError where heads should stand before any colour and the prior draws what is behind them itself."""
    if _any_background(config.train.background) and prior.background != (1.0, 1.0, 1.0):
        raise UserError(
            'config.train.background: "any" needs a prior that is drawn on white (a GSGAN: convert it with '
            '--foreground-only); set it to "white"'
        )


def sound_variation(config: Any) -> Variation:
    """How training varies sound."""
    s = config.train.sound
    return Variation(bands(config.data.features), s.level, s.voice, s.tilt, s.telephone, s.room)


def crossed(config: Any) -> int:
    """Couples of a batch whose lips follow another frame than the upper face."""
    if config.train.swap and not config.model.expressions:
        raise UserError(
            "config.train.swap: one joint set (config.model.expressions = 0) cannot be crossed; set it to 0"
        )
    couples = config.train.batch // 2
    return min(couples, round(config.train.swap * couples))


def rasteriser(config: Any, capacity: int | None = None) -> Rasteriser:
    """The rasteriser's options; ``capacity`` is what a run has found to be needed."""
    return Rasteriser(config.render.implementation, max(config.render.capacity or 0, capacity or 0) or None)


def growing_step(
    config: Any, num_gaussians: int, size: int, build: Callable[[Rasteriser], Callable], folder: RunFolder
) -> GrowingStep:
    """A training step at ``size``² whose rasteriser has the room that the run has needed so far, and grows."""
    how = {"remember": folder.save_capacity, "known": lambda stage, step: folder.capacity((stage, step))}
    return GrowingStep(build, rasteriser(config), num_gaussians=num_gaussians, size=size, **how)


def devices(config: Any, fits: Callable[[int], bool] | None = None) -> Devices:
    """The devices that train a prior; ``fits`` says whether so many can be dealt a batch (None: of config.train)."""
    d, batch = config.devices, config.train.batch
    found = choose_devices(d.mode, d.count, d.accumulate, fits or (lambda count: even(batch, count * d.accumulate)))
    if fits is None:
        found.deal(batch)
    return found


def head_devices(config: Any) -> Devices:
    """The devices that train a head; UserError, before any work, where its batches cannot be dealt out to them."""
    batch, hearing, cross = config.train.batch, config.train.hear_batch, crossed(config)
    parts = config.devices.accumulate
    found = devices(config, lambda count: even(batch, count * parts, together=2, apart=cross) and even(hearing, count))
    found.deal(batch, together=2, apart=cross)
    replace(found, accumulate=1).deal(hearing, what="config.train.hear_batch")
    return found


def every(config: Any) -> Every:
    """How often a run speaks and saves."""
    return Every(config.log.scalars, config.log.images, config.log.checkpoint)
