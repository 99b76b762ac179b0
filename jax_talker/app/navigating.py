"""Learn to speak: walk the latent space of a personalised generator by sound. And open a head that has learnt it.

The encoders are first regressed on the motion that landmarks showed (``hear``, no rendering), then trained on pictures
together with the bases and the deformation field (``navigate``).
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_talker import priors
from jax_talker.app import builders
from jax_talker.app.head_trainer import HeadTrainer, Stage
from jax_talker.app.person import Person, load_person
from jax_talker.app.run_folder import RunFolder
from jax_talker.app.speaking import Speaker
from jax_talker.app.talking import batches_of
from jax_talker.data.batches.expression_units import units_shown
from jax_talker.data.batches.motion_features import MotionSpace
from jax_talker.errors import UserError
from jax_talker.models.navigator import blinking
from jax_talker.training.cameras import move_labels
from jax_talker.training.checkpoint import Checkpoints
from jax_talker.training.head_step import make_hearing_step
from jax_talker.training.log import Log
from jax_talker.training.loop import run
from jax_talker.training.shares import Batch, batch_of
from jax_talker.training.state import TrainState, cosine, create, direction
from jax_talker.training.talking_head import Fixed, Params
from jax_talker.types import FrameBatch

STAGE, HEARING = "navigate", "hear"
STAGES = [HEARING, STAGE]
SPEAKING = 24  # frames of the video in the log


def train(
    config: Any, folder: RunFolder, log: Log, *, resume: bool, begun: tuple[Person, HeadTrainer] | None = None
) -> Speaker:
    """Train the talker of a personalised run. ``begun`` is what ``personalize`` returned, if that was just now."""
    person, trainer = begun or _reopened(config, folder, log)
    fixed = person.fixed(trainer.prior, trainer.variables)
    split = trainer.split
    log.say(f"train: {len(split.train)} frames, {len(split.test)} held out; {trainer.loss_text}")
    params = person.params
    if not (resume and folder.steps_done(STAGE)):  # afterwards its checkpoint has what was heard
        params = {**params, "talker": _hear(trainer, params["talker"], resume)}
    c = config.train
    rates = {"talker": c.rate, "deformation": c.deformation_rate}
    stage = Stage(STAGE, c.steps, rates, hear=True, cross=builders.crossed(config))
    params = trainer.run(stage, params, fixed, resume=resume, sample=_sampler(trainer, fixed, person.motion))
    return Speaker(trainer.drawing_head, fixed, params, person.motion, folder.clip_size)


def trained(config: Any, folder: RunFolder) -> bool:
    """Whether there is nothing left to do for ``train``."""
    return folder.personalised and (folder.checkpoints(STAGE) / str(config.train.steps)).is_dir()


def open_speaker(config: Any, folder: RunFolder) -> Speaker:
    """The trained talking head of a run."""
    prior, variables = priors.load(folder.personal, compute=builders.compute(config))
    person = load_person(folder.personal)
    head = builders.talking_head(config, prior, len(person.layout.parent), person.gain)
    head = replace(head, rasteriser=builders.rasteriser(config, folder.capacity()))
    like = create(person.params, direction(), config.seed)
    with Checkpoints(folder.checkpoints(STAGE)) as checkpoints:
        state, _ = checkpoints.restore(like)
    return Speaker(head, person.fixed(prior, variables), state.params, person.motion, folder.clip_size)


def _reopened(config: Any, folder: RunFolder, log: Log) -> tuple[Person, HeadTrainer]:
    prior, variables = priors.load(folder.personal, compute=builders.compute(config))
    person, clip = load_person(folder.personal), builders.clip(config)
    split = builders.clip_split(config, clip)
    frames = builders.clip_frames(config, clip, clip, builders.reach(config), person.motion)
    count = len(person.layout.parent)
    trainer = HeadTrainer(config, folder, log, prior, variables, frames, split, num_gaussians=count, gain=person.gain)
    _check_fits(trainer, person, folder)
    return person, trainer


def _check_fits(trainer: HeadTrainer, person: Person, folder: RunFolder) -> None:
    """UserError where the configuration asks for another head than the one that the person was learnt with."""
    anchor, some = person.params["anchor"], trainer.frames.heard_only(trainer.split.train[:2])
    fresh = jax.eval_shape(trainer.head.init, jax.random.key(0), anchor, person.layout, some)
    wanted, have = (
        {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
        for tree in (fresh, person.params)
    )
    wrong = sorted(name for name in wanted.keys() | have.keys() if wanted.get(name) != have.get(name))
    if wrong:
        raise UserError(
            f"{folder.personal}: the person does not fit this configuration ({len(wrong)} arrays: {wrong[0]} is "
            f"{have.get(wrong[0])}, wanted {wanted.get(wrong[0])}); use the one it was made with, or another --workdir"
        )


def _hear(trainer: HeadTrainer, talker: Any, resume: bool) -> Any:
    """The talker's parameters with encoders that foretell from sound what landmarks show."""
    config = trainer.config
    steps, rate = config.train.hear_steps, config.train.hear_rate
    optimiser = direction()
    devices = replace(trainer.devices, accumulate=1)
    step = make_hearing_step(trainer.head, optimiser, builders.head_weights(config).sound, devices.shares)
    talker = _with_blink(trainer, talker)
    batch = config.train.hear_batch
    rows = devices.deal(batch, what="config.train.hear_batch")

    def made(step: int) -> Batch:
        rng = np.random.default_rng((config.seed, step))
        some = trainer.frames.heard_only(rng.choice(trainer.split.train, size=batch)[rows])
        return batch_of(some, np.asarray(rate * cosine(step, steps), np.float32), rows)

    with Checkpoints(trainer.folder.checkpoints(HEARING), keep=1) as checkpoints:
        state = checkpoints.resumed(devices.spread(create(talker, optimiser, config.seed)), resume)
        state = run(
            HEARING,
            state,
            steps,
            step,
            made,
            log=trainer.log,
            every=builders.every(config),
            checkpoints=checkpoints,
            config=config.to_dict(),
            devices=devices,
        )
    return state.params


def _with_blink(trainer: HeadTrainer, talker: Any) -> Any:
    """The talker's parameters with lids that follow the blink as they are seen to in training frames."""
    frames = jax.tree.map(jnp.asarray, trainer.frames.heard_only(trainer.split.train))
    seen = trainer.head.seen({"talker": talker}, frames.expression, frames.lips).expression
    shown = units_shown(trainer.frames.clip)
    brows = [shown[name][trainer.split.train] for name in shown if name.startswith("brow")]
    besides = jnp.asarray(np.stack(brows, 1), jnp.float32) if brows else None
    return {**talker, "navigator": blinking(talker["navigator"], frames.blink, seen, trainer.gain, besides)}


def _sampler(trainer: HeadTrainer, fixed: Fixed, motion: MotionSpace):
    """Pictures of held-out frames beside what the head makes of their sound: some, and a video of the first ones."""
    test = trainer.split.test
    shown = test[np.linspace(0, len(test) - 1, Speaker.batch).astype(int)]
    batch = trainer.frames.frames(shown)

    def made(state: TrainState, batch: FrameBatch) -> np.ndarray:
        params: Params = state.params
        speaker = Speaker(trainer.drawing_head, fixed, params, motion)
        coefficients = speaker.heard(batch.audio, batch.blink)
        label = move_labels(batch.label, params["camera"])
        return np.asarray(speaker.pictures(coefficients, label, label, batch.image.shape[1]))

    def sample(state: TrainState) -> dict[str, np.ndarray]:
        rows = [np.concatenate(list(images), 1) for images in (np.asarray(batch.image), made(state, batch))]
        video = []
        for part, count in batches_of(test[:SPEAKING], Speaker.batch):
            frames = trainer.frames.frames(part)
            video.append(np.concatenate([np.asarray(frames.image), made(state, frames)], 2)[:count])
        return {"truth_and_model": np.concatenate(rows, 0), "speaking": np.concatenate(video)}

    return sample
