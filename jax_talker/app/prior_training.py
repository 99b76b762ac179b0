"""Train the small prior on procedural people, and score how well it inverts people it never saw."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax_talker import geometry, priors
from jax_talker.app import builders
from jax_talker.app.inverting import STEPS, Inverter, Portrait
from jax_talker.app.run_folder import RunFolder
from jax_talker.metrics import psnr
from jax_talker.priors import GGHeadConfig, make_gghead
from jax_talker.priors import template as templates
from jax_talker.priors.base import Prior, Variables
from jax_talker.procedural.corpus import Corpus, CorpusSpec, load_or_make
from jax_talker.procedural.head import Head, picture
from jax_talker.procedural.identity import Z_SIZE, Identity, Motion, random_identity
from jax_talker.procedural.template import template
from jax_talker.rendering import render
from jax_talker.training import prior_step as stage
from jax_talker.training import processes
from jax_talker.training.checkpoint import Checkpoints
from jax_talker.training.devices import describe
from jax_talker.training.log import Log
from jax_talker.training.loop import run
from jax_talker.training.objective import ImageLoss
from jax_talker.training.shares import Batch, batch_of
from jax_talker.training.state import TrainState, adam
from jax_talker.types import Latent

STAGE = "prior"
STRANGERS_SEED = 20_261_122  # people no corpus holds: another random stream
SIDE_YAW = 30.0

CARD = """# The small prior

A generator of the GGHead architecture ({parameters:,} parameters, {gaussians} Gaussians, {resolution}² planes,
{num_ws} × {w_dim} W+) for the procedural heads of `jax_talker.procedural`. It knows nothing of real people: on a
video of a real person it is a starting point that personalisation has to carry a long way.

| | |
|---|---|
| data | {people} procedural people × {motions} motions × {views} views, {size}², on white; no photograph, no scan |
| training | regression from known parameters to pictures: L1 + SSIM, {steps} steps of {batch} people |
| command | `python -m jax_talker.train --config configs/prior.py --workdir runs/prior` |
| date, hardware | {date}; {hardware}; {hours:.1f} h |
| unseen people | {strangers}, each inverted from one front view at {size}² |
| front view | {front:.2f} dB PSNR (lowest {front_low:.2f}) |
| {side_yaw:.0f}° yaw, never shown | {side:.2f} dB PSNR (lowest {side_low:.2f}) |
| latent z | {z_dim} numbers; the first {meaningful} are the parameters of `procedural.identity` |
| licence | that of this project; no third-party data |
"""


def train(config: Any, folder: RunFolder, log: Log, *, resume: bool) -> dict[str, float]:
    """Film the corpus, train, write ``workdir/prior`` with its card; returns the inversion scores."""
    devices = builders.devices(config)
    builders.compute(config)  # refused before a corpus is made
    spec = CorpusSpec(**config.corpus.to_dict(), seed=config.seed)
    with processes.writer_first("corpus"):
        corpus = load_or_make(folder.root / "corpus", spec)
    prior, variables = build(config)
    count = sum(x.size for x in jax.tree.leaves(variables["params"]))
    log.say(f"prior: {count:,} parameters, {prior.num_gaussians} Gaussians, on {describe(devices)}")
    loss = ImageLoss(config.loss.l1, config.loss.ssim)
    c = config.train
    optimiser = optax.chain(adam(c.rate, c.steps, warmup=0.01, floor=0.02), stage.faster_mapping(c.mapping_rate))
    weights = stage.PriorWeights(c.alpha, c.position)
    step = builders.growing_step(
        config,
        prior.num_gaussians,
        spec.size,
        lambda rasteriser: stage.make_prior_step(
            prior, optimiser, loss, weights, size=spec.size, rasteriser=rasteriser, shares=devices.shares
        ),
        folder,
    )
    state = devices.spread(stage.initial_state(variables, optimiser, config.seed))
    started = time.time()
    with Checkpoints(folder.checkpoints(STAGE), keep=config.log.keep) as checkpoints:
        state = checkpoints.resumed(state, resume)
        state = run(
            STAGE,
            state,
            c.steps,
            step,
            _batch(corpus, c.batch, config.seed, devices.deal(c.batch)),
            log=log,
            every=builders.every(config),
            checkpoints=checkpoints,
            config=config.to_dict(),
            sample=_sampler(prior, corpus),
            devices=devices,
        )
    variables = stage.averaged(state.params)
    exact = replace(prior, compute="float32")  # as it is loaded where nothing else is asked for
    scores = score_inversion(exact, variables, loss, strangers(), size=spec.size, log=log)
    card = CARD.format(
        parameters=count,
        gaussians=prior.num_gaussians,
        resolution=config.prior.plane_resolution,
        num_ws=prior.num_ws,
        w_dim=prior.w_dim,
        steps=c.steps,
        batch=c.batch,
        date=time.strftime("%Y-%m-%d"),
        hardware=describe(),
        hours=(time.time() - started) / 3600,
        z_dim=Z_SIZE,
        meaningful=Z_SIZE - 4,
        side_yaw=SIDE_YAW,
        **asdict(spec),
        **scores,
    )
    if processes.writes():
        priors.save(folder.root / "prior", prior, variables, card=card, dtype="float16", overwrite=True)
        (folder.root / "scores.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    log.say(f"wrote {folder.root / 'prior'}: {scores}")
    return scores


def build(config: Any) -> tuple[Any, Variables]:
    """The generator of a configuration with fresh variables, around our own template."""
    chosen = config.prior.to_dict()
    chosen.pop("compute", None)  # is no part of the generator: whoever loads it chooses anew
    vertices, uv, faces = template()
    baked = templates.bake(
        templates.Mesh(vertices, uv, faces, faces),
        plane_resolution=chosen["plane_resolution"],
        uv_samples=chosen["uv_samples"],
        register=False,
    )
    options = GGHeadConfig.for_template(baked, z_dim=Z_SIZE, c_dim=0, use_flame_to_bfm_registration=False, **chosen)
    prior = make_gghead(options, compute=builders.compute(config))
    return prior, prior.init(jax.random.key(config.seed), baked)


def _batch(corpus: Corpus, people: int, seed: int, rows: np.ndarray) -> Callable[[int], Batch]:
    """A function from a step to the ``rows`` of its batch."""
    return lambda step: batch_of(corpus.batch(np.random.default_rng((seed, step)), people, rows), slot=rows)


def _sampler(prior: Prior, corpus: Corpus):
    """Four people of the corpus beside what the averaged generator makes of their latents."""
    batch = corpus.batch(np.random.default_rng(0), 4)
    size = batch["image"].shape[2]
    label = jnp.asarray(batch["label"].reshape(-1, 25))
    truth = np.concatenate(list(batch["image"].reshape(-1, size, size, 3) / np.float32(255)), 1)

    @jax.jit
    def speak(variables):
        latent = prior.mapping(variables, jnp.asarray(batch["z"]), jnp.zeros((4, 25)))
        each = Latent(jnp.repeat(latent.w, batch["label"].shape[1], 0))
        gaussians = prior.gaussians(variables, each)
        return render(gaussians, prior.camera(label, size), size=size, background=prior.background).image

    def sample(state: TrainState) -> dict[str, np.ndarray]:
        made = np.asarray(speak(stage.averaged(state.params)))
        return {"truth_and_prior": np.concatenate([truth, np.concatenate(list(made), 1)], 0)}

    return sample


def strangers(count: int = 10) -> list[tuple[Identity, Motion]]:
    """People that no corpus holds, in the middle of saying something."""
    rng = np.random.default_rng(STRANGERS_SEED)
    found = []
    for _ in range(count):
        motion = Motion(jaw=float(rng.uniform(0, 0.8)), lip_width=float(rng.uniform(-1, 1)))
        found.append((random_identity(rng), motion))
    return found


def score_inversion(
    prior: Prior,
    variables: Variables,
    loss: ImageLoss,
    people: list[tuple[Identity, Motion]],
    *,
    size: int,
    log: Log,
    steps: int = STEPS,
) -> dict[str, float]:
    """Invert ``people`` from one front view each, in W+; PSNR there and at 30° yaw, which was never shown."""
    invert = Inverter(prior, variables, loss, size=size, steps=steps)
    labels = np.stack([geometry.make_label(geometry.orbit(yaw, 0)) for yaw in (0.0, SIDE_YAW)])
    found = []
    for identity, motion in people:
        mesh = Head(identity).mesh(motion)
        shots = [picture(mesh, label, size) for label in labels]
        images = np.stack([image for image, _ in shots]) / np.float32(255)
        portrait = Portrait(images[0], shots[0][1][..., 2] / np.float32(255), labels[0])
        seen = invert.pictures(invert(portrait), labels)
        found.append(np.asarray(psnr(jnp.asarray(seen), jnp.asarray(images))))
        log.say(f"  person {len(found)}: front {found[-1][0]:.2f} dB, {SIDE_YAW:.0f}° {found[-1][1]:.2f} dB")
    scores = np.array(found)
    return {
        "strangers": len(people),
        "front": float(scores[:, 0].mean()),
        "front_low": float(scores[:, 0].min()),
        "side": float(scores[:, 1].mean()),
        "side_low": float(scores[:, 1].min()),
    }
