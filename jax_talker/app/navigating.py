"""Train a talker on a personalised run, and open a trained one."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_talker import priors
from jax_talker.app import builders
from jax_talker.app.run_folder import Personal, RunFolder
from jax_talker.data.batches.dataset import ClipFrames
from jax_talker.models.navigator import Coefficients
from jax_talker.priors.base import Variables
from jax_talker.rendering import Rasteriser
from jax_talker.training import navigate_step as stage
from jax_talker.training.checkpoint import Checkpoints
from jax_talker.training.log import Log
from jax_talker.training.loop import run
from jax_talker.training.state import TrainState, adam, create
from jax_talker.types import Latent

STAGE = "navigate"


@dataclass(frozen=True)
class Speaker:
    """A trained talking head with all its arrays: sound and cameras in, pictures out."""

    head: stage.TalkingHead
    variables: Variables
    personal: Personal
    params: Any

    @property
    def anchor(self) -> Float[Array, "L D"]:
        return jnp.asarray(self.personal.anchor)

    @property
    def reach(self) -> int:
        """Neighbouring frames whose audio windows one frame needs."""
        return self.head.talker.reach

    def __call__(
        self, audio: Float[Array, "B A T F"], blink: Float[Array, "B"], label: Float[Array, "B 25"], size: int
    ) -> Float[Array, "B H W 3"]:
        """Frames in [0, 1] that hear ``audio`` and blink, seen from their cameras."""
        latent, coefficients = self.head.latents(self.params, self.anchor, audio, blink, audio)
        seen = self.head.show(self.params, self.variables, latent, coefficients, label, size)
        return jnp.clip(seen.image, 0, 1)

    def still(self, label: Float[Array, "B 25"], size: int) -> Float[Array, "B H W 3"]:
        """The anchor without motion, seen from cameras."""
        batch, talker = len(label), self.head.talker
        latent = Latent(jnp.broadcast_to(self.anchor, (batch, *self.anchor.shape)))
        rest = Coefficients(jnp.zeros((batch, talker.expressions)), jnp.zeros((batch, talker.lips)))
        return jnp.clip(self.head.show(self.params, self.variables, latent, rest, label, size).image, 0, 1)


def walk_length(personal: Personal) -> float:
    """How far the chosen frames' latents lie from the anchor: the unit in which coefficients are learnt."""
    away = np.linalg.norm((personal.latents - personal.anchor).reshape(len(personal.latents), -1), axis=1)
    return max(float(np.median(away)), 1e-3)


def train(config: Any, folder: RunFolder, log: Log, *, resume: bool) -> Speaker:
    """Train the talker; the run must have been personalised."""
    prior, variables = priors.load(folder.personal, compute=config.prior.compute)
    personal = folder.load_anchor()
    clip = personal.placed(builders.clip(config))
    head = builders.talking_head(config, prior, walk_length(personal))
    frames = builders.clip_frames(config, clip, clip, head.talker.reach)
    indices = builders.clip_split(config, clip)
    loss, loss_text = builders.image_loss(config)
    log.say(f"train: {len(indices.train)} frames, {len(indices.test)} held out; {loss_text}")

    c = config.train
    optimiser = adam(c.rate, c.steps)
    weights = stage.NavigationWeights(c.upper, c.lower, c.outside, c.smooth, c.size)

    def build(rasteriser: Rasteriser):
        step = stage.make_navigation_step(replace(head, rasteriser=rasteriser), optimiser, loss, weights)
        return lambda s, batch: step(s, *batch)

    step = builders.growing_step(config, prior, clip.size, build)
    anchor = jnp.asarray(personal.anchor)
    state = _initial(head, frames, optimiser, config.seed)
    sample = _sampler(head, variables, personal, frames, indices)
    with Checkpoints(folder.checkpoints(STAGE), keep=config.log.keep) as checkpoints:
        state = checkpoints.resumed(state, resume)
        pairs = frames.pairs(indices.train, c.batch, c.swap, config.seed, int(state.step))
        state = run(
            STAGE,
            state,
            c.steps,
            step,
            ((variables, anchor, i, j) for i, j in pairs),
            log=log,
            every=builders.every(config),
            checkpoints=checkpoints,
            config=config.to_dict(),
            sample=sample,
        )
    return Speaker(replace(head, rasteriser=step.rasteriser), variables, personal, state.params)


def open_speaker(config: Any, folder: RunFolder) -> Speaker:
    """The trained talking head of a run."""
    prior, variables = priors.load(folder.personal, compute=config.prior.compute)
    personal = folder.load_anchor()
    head = builders.talking_head(config, prior, walk_length(personal))
    features = builders.extractor(config).num_features
    silence = jnp.zeros((1, head.talker.reach, builders.AUDIO_WINDOW, features))
    like = create(head.init(jax.random.key(0), silence), adam(config.train.rate, config.train.steps), config.seed)
    with Checkpoints(folder.checkpoints(STAGE)) as checkpoints:
        state, _ = checkpoints.restore(like)
    return Speaker(head, variables, personal, state.params)


def _initial(head: stage.TalkingHead, frames: ClipFrames, optimiser, seed: int) -> TrainState:
    audio = frames.frames(np.array([0])).audio
    return create(head.init(jax.random.key(seed), audio), optimiser, seed)


def _sampler(head: stage.TalkingHead, variables: Variables, personal: Personal, frames: ClipFrames, indices):
    """Pictures of held-out frames beside what the talker makes of their sound."""
    shown = indices.test[np.linspace(0, len(indices.test) - 1, 4).astype(int)]
    batch = frames.frames(shown)
    size = frames.clip.size

    @jax.jit
    def speak(params):
        return Speaker(head, variables, personal, params)(batch.audio, batch.blink, batch.label, size)

    def sample(state: TrainState) -> dict[str, np.ndarray]:
        rows = [np.concatenate(list(np.asarray(images)), 1) for images in (batch.image, speak(state.params))]
        return {"truth_and_model": np.concatenate(rows, 0)}

    return sample
