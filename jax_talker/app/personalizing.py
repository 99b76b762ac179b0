"""Personalise: choose frames, invert them, tune the generator, keep the result in the run's folder."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax_talker import priors
from jax_talker.app import builders
from jax_talker.app.run_folder import Personal, RunFolder
from jax_talker.data.batches.dataset import ClipFrames
from jax_talker.data.batches.selection import choose_frames
from jax_talker.metrics import psnr
from jax_talker.rendering import Rasteriser, render
from jax_talker.training import personalize_step as stages
from jax_talker.training.cameras import move_labels
from jax_talker.training.checkpoint import Checkpoints
from jax_talker.training.log import Log
from jax_talker.training.loop import run
from jax_talker.training.state import adam, create
from jax_talker.types import Latent

STAGES = ["invert", "tune"]


@dataclass(frozen=True)
class Cameras:
    """Refined cameras, as motions of the head (training.cameras)."""

    shared: np.ndarray  # [6] corrects every frame of the clip
    own: np.ndarray  # [K, 6] of the chosen frames


CARD = """# Personalised prior

The generator `{prior}` tuned by jax_talker to one person, from {count} frames of `{clip}` ({size}²).
Reconstruction of these frames: {psnr:.2f} dB PSNR. `anchor.safetensors` holds the person's latents.
Licence and origin are those of the prior it was tuned from and of the clip.
"""


def personalize(config: Any, folder: RunFolder, log: Log, *, resume: bool) -> Personal:
    """Run both stages and write ``folder.personal``; returns where the person is."""
    clip = builders.clip(config)
    prior, original = priors.load(config.prior.path, compute=config.prior.compute)
    frames = ClipFrames(clip, np.zeros((clip.frames, 1, 1), np.float32), reach=1)  # images only; nobody listens yet
    chosen = choose_frames(clip.arrays, builders.clip_split(config, clip).train, config.personalize.frames)
    loss, loss_text = builders.image_loss(config)
    log.say(f"personalise: {len(chosen)} frames of {clip.root} at {clip.size}²; {loss_text}")

    anchor, residual, cameras = _invert(config, folder, log, prior, original, frames, chosen, loss, resume)
    latents = anchor[None] + residual
    if cameras is not None:
        log.say(
            f"personalise: cameras moved by {_motion(cameras.shared)} in all frames, {_motion(cameras.own)} in each"
        )
        frames = _corrected(frames, chosen, cameras)
    tuned = _tune(config, folder, log, prior, original, frames, chosen, latents, loss, resume)

    score = _score(prior, tuned, latents, frames, chosen)
    card = CARD.format(prior=config.prior.path, count=len(chosen), clip=clip.root.name, size=clip.size, psnr=score)
    priors.save(folder.personal, prior, tuned, card=card, overwrite=True)
    camera = np.zeros(6, np.float32) if cameras is None else cameras.shared
    personal = Personal(np.asarray(anchor), np.asarray(latents), chosen, camera)
    folder.save_anchor(personal)
    log.say(f"personalise: chosen frames reconstructed at {score:.2f} dB; wrote {folder.personal}")
    return personal


def _batches(frames: ClipFrames, chosen: np.ndarray, batch: int, seed: int, step: int) -> Iterator[tuple]:
    """Endless batches of chosen frames with their positions among them; a function of (seed, step)."""
    batch = min(batch, len(chosen))
    while True:
        which = np.random.default_rng((seed, step)).permutation(len(chosen))[:batch]
        yield frames.frames(chosen[which]), jnp.asarray(which)
        step += 1


def _invert(config, folder, log, prior, original, frames, chosen, loss, resume):
    c = config.personalize
    spread = float(stages.latent_spread(prior, original, jax.random.key(config.seed)))
    optimiser = adam(c.invert_rate * spread, c.invert_steps, warmup=0.05, floor=0.02)
    if c.refine_cameras:
        optimiser = optax.chain(optimiser, _cameras_times(c.camera_rate / (c.invert_rate * spread)))
    weights = stages.InversionWeights(residual=c.residual, anchor=c.anchor, delta=c.delta)

    def build(rasteriser: Rasteriser):
        step = stages.make_inversion_step(prior, optimiser, loss, weights, spread=spread, rasteriser=rasteriser)
        return lambda s, batch: step(s, batch[0], *batch[1])

    params = {
        "anchor": prior.mean_latent(original),
        "residual": jnp.zeros((len(chosen), prior.num_ws, prior.w_dim)),
    }
    if c.refine_cameras:
        params["camera"] = {"shared": jnp.zeros(6), "own": jnp.zeros((len(chosen), 6))}
    state = create(params, optimiser, config.seed)
    with Checkpoints(folder.checkpoints("invert"), keep=config.log.keep) as checkpoints:
        state = checkpoints.resumed(state, resume)
        state = run(
            "invert",
            state,
            c.invert_steps,
            builders.growing_step(config, prior, frames.clip.size, build),
            ((original, b) for b in _batches(frames, chosen, c.batch, config.seed, int(state.step))),
            log=log,
            every=builders.every(config),
            checkpoints=checkpoints,
            config=config.to_dict(),
        )
    # The anchor is the person's mean; residuals are what is left of each frame.
    shift = state.params["residual"].mean(0)
    cameras = None
    if c.refine_cameras:
        own = np.asarray(state.params["camera"]["own"])  # their mean belongs to all frames, too
        cameras = Cameras(np.asarray(state.params["camera"]["shared"]) + own.mean(0), own - own.mean(0))
    return state.params["anchor"] + shift, state.params["residual"] - shift[None], cameras


def _cameras_times(factor: float) -> optax.GradientTransformation:
    """Cameras at a rate of their own: Adam's steps do not depend on a gradient's unit, so scaling them is enough."""

    def scale(updates: Any, _: Any) -> Any:
        return {**updates, "camera": jax.tree.map(lambda x: factor * x, updates["camera"])}

    return optax.stateless(scale)


def _corrected(frames: ClipFrames, chosen: np.ndarray, cameras: Cameras) -> ClipFrames:
    """The same frames under corrected labels: all by the shared motion, the chosen ones by their own as well."""
    motion = np.tile(cameras.shared, (frames.clip.frames, 1))
    motion[chosen] += cameras.own
    label = np.asarray(move_labels(jnp.asarray(frames.clip.arrays["label"]), jnp.asarray(motion)))
    clip = replace(frames.clip, arrays={**frames.clip.arrays, "label": label})
    return ClipFrames(clip, np.zeros((clip.frames, 1, 1), np.float32), reach=1)


def _motion(motion: np.ndarray) -> str:
    """Root mean squares, for people."""
    turn, shift = (np.sqrt((part**2).sum(-1).mean()) for part in (motion[..., :3], motion[..., 3:]))
    return f"{np.degrees(turn):.2f}° and {shift:.4f} units"


def _tune(config, folder, log, prior, original, frames, chosen, latents, loss, resume):
    c = config.personalize
    optimiser = adam(c.tune_rate, c.tune_steps, warmup=0.05, floor=0.02)
    weights = stages.TuningWeights(locality=c.locality)

    def build(rasteriser: Rasteriser):
        step = stages.make_tuning_step(prior, optimiser, loss, weights, rasteriser=rasteriser)
        return lambda s, batch: step(s, batch[0], batch[1], *batch[2])

    state = create(original["params"], optimiser, config.seed)
    with Checkpoints(folder.checkpoints("tune"), keep=config.log.keep) as checkpoints:
        state = checkpoints.resumed(state, resume)
        state = run(
            "tune",
            state,
            c.tune_steps,
            builders.growing_step(config, prior, frames.clip.size, build),
            ((original, latents, b) for b in _batches(frames, chosen, c.batch, config.seed, int(state.step))),
            log=log,
            every=builders.every(config),
            checkpoints=checkpoints,
            config=config.to_dict(),
        )
    return {**original, "params": state.params}


def _score(prior, variables, latents, frames: ClipFrames, chosen: np.ndarray) -> float:
    """Mean PSNR of the chosen frames, reconstructed at their own latents."""

    @jax.jit
    def one(variables, w, batch):
        size = batch.image.shape[1]
        gaussians = prior.gaussians(variables, Latent(w))
        seen = render(gaussians, prior.camera(batch.label, size), size=size, background=prior.background)
        return psnr(jnp.clip(seen.image, 0, 1), batch.image)

    scores = [one(variables, latents[k : k + 1], frames.frames(chosen[k : k + 1])) for k in range(len(chosen))]
    return float(np.mean(scores))
