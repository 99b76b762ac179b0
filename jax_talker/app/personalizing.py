"""Personalise: find a person in the prior's latent space, then learn what no latent says of them.

Both stages see all training frames, led by the motion that landmarks show. ``invert`` moves the anchor and finds
directions of W+ that this motion follows. ``tune`` adds the person's own detail and the deformation field, and tunes
the generator's weights where ``config.personalize.tune_rate`` says so.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jax_talker import priors
from jax_talker.app import builders
from jax_talker.app.head_trainer import HeadTrainer, Stage, typical_walk
from jax_talker.app.inverting import FirstGuess
from jax_talker.app.person import Person
from jax_talker.app.run_folder import RunFolder
from jax_talker.app.speaking import Speaker
from jax_talker.data.batches.dataset import ClipFrames
from jax_talker.data.batches.expression_units import is_upper, units_of_features, units_shown
from jax_talker.data.batches.motion_features import MotionSpace, motion_space, resting_frames
from jax_talker.errors import check_writable
from jax_talker.metrics import psnr
from jax_talker.models import detail
from jax_talker.models.deformation import poses_of
from jax_talker.models.detail import Layout, add_detail, nothing
from jax_talker.models.navigator import led_along
from jax_talker.priors.base import Prior, Variables, draw
from jax_talker.training import processes
from jax_talker.training.cameras import move_labels
from jax_talker.training.colouring import carried_on
from jax_talker.training.drawn import DrawnFrames
from jax_talker.training.head_step import latent_spread
from jax_talker.training.log import Log
from jax_talker.training.neighbours import neighboured, unlike_each_other
from jax_talker.training.talking_head import Fixed
from jax_talker.training.visibility import layout_seen
from jax_talker.types import FrameBatch, Gaussians, Latent

STAGES = ["invert", "tune"]
LOOKED_AT = 32  # training frames, evenly spread, that say what is seen
FACES = 5  # training frames, as unlike as can be, in all of which neighbours are near
FACE = 0.3  # share of a Gaussian's pixels in the face's masks from which on it is the face's, and may be divided

CARD = """# Personalised prior

The generator `{prior}` for one person, learnt by jax_talker from {count} frames of `{clip}` ({size}²);
its weights were {tuned}. Reconstruction of training frames: {psnr:.2f} dB PSNR. `person.safetensors` holds the
person's anchor, detail, motion and deformation field. Licence and origin are those of the prior and of the clip.
"""


def personalize(config: Any, folder: RunFolder, log: Log, *, resume: bool) -> tuple[Person, HeadTrainer]:
    """Run both stages and write ``folder.personal``; returns the person, and the trainer to go on with."""
    c = config.personalize
    check_writable(priors.check_target(folder.personal, overwrite=True), folder.personal)  # before work is done
    clip = builders.clip(config)
    prior, original = priors.load(config.prior.path, compute=builders.compute(config))
    split = builders.clip_split(config, clip)
    spread = float(jax.jit(latent_spread, static_argnums=0)(prior, original, jax.random.key(config.seed)))
    motion = motion_space(clip.arrays, split.train)
    frames = builders.clip_frames(config, clip, clip, builders.reach(config), motion)
    anchor = prior.mean_latent(original)
    layout = _first_layout(config, folder, prior, original, anchor, frames, split.train)
    trainer = HeadTrainer(
        config,
        folder,
        log,
        prior,
        original,
        frames,
        split,
        num_gaussians=len(layout.parent),
        gain=typical_walk(prior, spread),
    )
    log.say(
        f"personalise: {len(split.train)} frames of {clip.root} at {clip.size}², {len(layout.parent)} Gaussians; "
        f"{trainer.loss_text}"
    )
    if c.encode:
        anchor = _first_guess(config, prior, original, frames, motion, split.train, log)
    params = trainer.init(anchor, layout)
    if c.units and (directions := priors.expressions(config.prior.path, prior)):
        params["talker"], led = led_by_units(params["talker"], directions, frames, split.train, trainer.gain)
        log.say(f"personalise: motion starts along {led} expression units of the prior")
    tuned = {"generator": original["params"]} if c.tune_rate else {}
    invert, tune = stages(config, spread)
    poses = poses_of(jnp.asarray(clip.arrays["label"][split.train]))
    held = config.model.walk == "face"  # whether the anchor answers for all that is not face
    rest = draw(prior, original, Latent(anchor[None])) if held else None  # where all walk still, so one program serves
    params = trainer.run(invert, params, Fixed(original, layout, poses, rest), resume=resume)
    shown = DrawnFrames(trainer.head, params, Fixed(original, layout, poses))
    layout = _seen_layout(config, folder, prior, shown, layout, frames, split.train)
    if held:
        layout = replace(layout, walks=detail.of_the_face(layout))
    layout = _neighboured(layout, shown, frames, split.train)
    fixed = Person(params, layout, poses, motion, trainer.gain).fixed(prior, original)
    params = trainer.run(tune, params | tuned, fixed, resume=resume)

    variables = {**original, "params": params.pop("generator", original["params"])}
    at_rest = add_detail(draw(prior, variables, Latent(params["anchor"][None])), layout, nothing(len(layout.parent)))
    layout = carried_on(layout, at_rest, params["detail"])
    person = Person(params, layout, poses, motion, trainer.gain)
    speaker = Speaker(trainer.drawing_head, person.fixed(prior, variables), params, motion)
    shown = split.train[np.linspace(0, len(split.train) - 1, min(LOOKED_AT, len(split.train))).astype(int)]
    score = _score(speaker, frames, shown)
    card = CARD.format(
        prior=config.prior.path,
        count=len(split.train),
        clip=clip.root.name,
        size=clip.size,
        tuned="tuned" if c.tune_rate else "left alone",
        psnr=score,
    )
    if processes.writes():
        priors.save(folder.personal, prior, variables, card=card, overwrite=True)
        person.save(folder.personal)
    processes.meet("personalised")
    log.say(f"personalise: training frames reconstructed at {score:.2f} dB; wrote {folder.personal}")
    trainer.variables = variables
    return person, trainer


def _first_guess(
    config: Any,
    prior: Prior,
    variables: Variables,
    frames: ClipFrames,
    motion: MotionSpace,
    train: np.ndarray,
    log: Log,
) -> Array:
    """Where the prior's encoder finds the person at rest; the mean face of priors that have none."""
    guess = FirstGuess.of(config.prior.path, prior, variables)
    if guess is None:
        log.say("personalise: the prior has no encoder; starts at its mean face")
        return prior.mean_latent(variables)
    resting = resting_frames(frames.clip.arrays, motion, train)
    shown = resting[np.linspace(0, len(resting) - 1, LOOKED_AT).astype(int)]
    log.say(f"personalise: starts where the prior's encoder finds the person in {len(set(shown))} frames at rest")
    return jnp.asarray(guess(map(frames.frames, np.split(shown, LOOKED_AT // 4))))


def led_by_units(
    talker: Any, directions: Mapping[str, np.ndarray], frames: ClipFrames, train: np.ndarray, gain: float
) -> tuple[Any, int]:
    """The talker's parameters with motion features that lead along the prior's units, and how many units they move.
    Features of a half of the face of which the clip tells no unit stay as they are."""
    shown = units_shown(frames.clip)
    names = [name for name in directions if name in shown]
    nowhere, led = np.zeros((0, *next(iter(directions.values())).shape), np.float32), {}
    for features, upper in ((frames.motion.expression, True), (frames.motion.lips, False)):
        part = [name for name in names if is_upper(name) == upper]
        weights = units_of_features({n: shown[n][train] for n in part}, features[train], part)
        along = np.stack([directions[name] for name in part]) if part else nowhere
        led[upper] = jnp.asarray(np.einsum("cu,uld->cld", weights, along))
    return {**talker, "navigator": led_along(talker["navigator"], led[True], led[False], gain)}, len(names)


def stages(config: Any, spread: float) -> tuple[Stage, Stage]:
    """``invert`` and ``tune``; ``spread`` is the prior's unit of distance."""
    c = config.personalize
    rates = {"anchor": c.invert_rate * spread, "talker": c.motion_rate, "camera": c.camera_rate}
    # What landmarks show of the upper and of the lower face is apart already, so whole frames teach twice as much.
    invert = Stage("invert", c.invert_steps, rates, hear=False, cross=0, focus=False)
    rates = {
        # A generator that is not tuned need not draw a frame twice (Stage.draws_once).
        "talker": c.motion_rate if c.tune_rate else 0.0,
        "camera": c.camera_rate,
        "detail": c.detail_rate,
        "deformation": c.deformation_rate,
        "generator": c.tune_rate,
    }
    return invert, Stage("tune", c.tune_steps, rates, hear=False, cross=0)


def _first_layout(
    config: Any,
    folder: RunFolder,
    prior: Prior,
    variables: Variables,
    anchor: Array,
    frames: ClipFrames,
    train: np.ndarray,
) -> Layout:
    """The prior's Gaussians; those of the face divided in four where ``config.personalize.divide`` asks for it."""
    layout = detail.as_they_are(prior.num_gaussians)
    if not config.personalize.divide:
        return layout
    mean = draw(prior, variables, Latent(anchor[None]))
    layout = _seen_layout(config, folder, prior, lambda batch: mean, layout, frames, train)
    of_the_face = (layout.seen > 0.5) & (jnp.maximum(layout.upper, layout.lower) > FACE)
    return detail.divided(layout, mean.scale[0], jnp.flatnonzero(of_the_face))


def _seen_layout(
    config: Any,
    folder: RunFolder,
    prior: Prior,
    drawn: Callable[[FrameBatch], Gaussians],
    layout: Layout,
    frames: ClipFrames,
    train: np.ndarray,
) -> Layout:
    shown = train[np.linspace(0, len(train) - 1, LOOKED_AT).astype(int)]
    batches = (frames.frames(part) for part in np.split(shown, LOOKED_AT // 4))
    rasteriser = builders.rasteriser(config, folder.capacity())
    layout, used = layout_seen(prior, drawn, layout, batches, rasteriser)
    if used != rasteriser:
        folder.save_capacity(used.capacity or 0)
    return layout


def _neighboured(
    layout: Layout, drawn: Callable[[FrameBatch], Gaussians], frames: ClipFrames, train: np.ndarray
) -> Layout:
    motion = np.concatenate([frames.motion.expression[train], frames.motion.lips[train]], 1)
    batches = (frames.frames(train[[index]]) for index in unlike_each_other(motion, FACES))
    bare = (
        add_detail(jax.tree.map(jnp.asarray, drawn(batch)), layout, nothing(len(layout.parent))) for batch in batches
    )
    return neighboured(layout, [one.mean[0] for one in bare])


def _score(speaker: Speaker, frames: ClipFrames, shown: np.ndarray) -> float:
    """Mean PSNR of training frames, led by the motion that is seen in them."""
    scores = []
    for start in range(0, len(shown), speaker.batch):
        batch = frames.frames(np.resize(shown[start : start + speaker.batch], speaker.batch))
        coefficients = speaker.seen(batch.expression, batch.lips)
        label = move_labels(batch.label, speaker.params["camera"])
        image = speaker.pictures(coefficients, label, label, batch.image.shape[1])
        scores.append(np.asarray(psnr(image, batch.image, batch.valid)))
    return float(np.concatenate(scores).mean())
