"""Train the prior of human heads: bases from synthetic people, then a network in texture space; score on strangers."""

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import safetensors.numpy

from jax_talker import priors
from jax_talker.app import builders
from jax_talker.app.run_folder import RunFolder
from jax_talker.errors import UserError
from jax_talker.people import statistics
from jax_talker.people.corpus import Corpus, CorpusSpec, Points, load_or_make, rest_shapes, with_free_faces
from jax_talker.people.layout import CHART_NAMES
from jax_talker.people.pack import Pack
from jax_talker.priors import Morphable, MorphableConfig, store
from jax_talker.priors.base import Variables
from jax_talker.priors.morphable_config import ROWS
from jax_talker.training import processes, texture_step
from jax_talker.training.checkpoint import Checkpoints
from jax_talker.training.devices import describe
from jax_talker.training.log import Log
from jax_talker.training.loop import run
from jax_talker.training.shares import Batch, batch_of
from jax_talker.training.state import TrainState, adam
from jax_talker.types import Latent

STAGE = "texture"
STRANGERS = 100_000  # the first seed of people that no corpus holds
MILLIMETRES = 1000 / 2.76  # in a world unit, of an average head
LOOKED_AT = {"skin": 3.0, "eye_left": 3.0, "eye_right": 3.0, "teeth_upper": 1.5, "teeth_lower": 1.5}  # others 1

CARD = """# A prior of human heads

A morphable head of Gaussians (`priors/morphable.py`): {gaussians:,} Gaussians, {parameters:,} parameters,
{num_ws} × {w_dim} W+ with named coordinates ({parts}). It draws the synthetic people of `jax_talker.people`.

| | |
|---|---|
| data | {people} synthetic people × {moments} moments (shapes: {shapes} people) from a pack of CC0 heads |
| origin | MakeHuman's base mesh, targets, skins and hair, ARKit units: all CC0; no photograph of a person, no scan |
| training | bases by principal components and least squares; {network} |
| command | `python -m jax_talker.train --config configs/prior_people.py --config.corpus.pack=HEADS --workdir runs/p` |
| date, hardware | {date}; {hardware}; {hours:.1f} h |
| unseen people | {strangers} people × 2 moments at their known latents, in texture space |
| points | {position:.2f} mm from the truth on average |
| colours, PSNR | skin {skin:.1f} dB, eyes {eyes:.1f} dB, teeth {teeth:.1f} dB |
| latents | unit spread over people; `expressions.safetensors`: a W+ direction for each ARKit unit at weight 1 |
| it cannot | hair over the face, strands, glasses, hats, wrinkles of expressions, hard shadows, photographic skin |
| licence of the weights | that of this project |
"""


def train(config: Any, folder: RunFolder, log: Log, *, resume: bool) -> dict[str, float]:
    """Make the corpus, find the bases, train, write ``workdir/prior`` with its card; returns the scores."""
    if not config.corpus.pack:
        raise UserError("give the folder of the pack of human heads: --config.corpus.pack=…/heads")
    started, pack = time.time(), Pack(config.corpus.pack)
    spec = CorpusSpec(config.corpus.people, config.corpus.moments, config.corpus.size, config.corpus.shell)
    other = dataclasses.replace(spec, people=config.corpus.strangers, moments=2, first=STRANGERS)
    devices = builders.devices(config)
    builders.compute(config)  # refused before a corpus is made
    with processes.writer_first("corpus"):
        corpus = load_or_make(folder.root / "corpus", pack, spec)
        strangers = load_or_make(folder.root / "strangers", pack, other)
    points = Points(pack, spec.size, spec.shell)
    corpus, strangers = with_free_faces(points, corpus), with_free_faces(points, strangers)
    with processes.writer_first("bases"):
        arrays = bases(config, folder.root, points, corpus)
    prior, variables = build(config, points, arrays)
    count = sum(x.size for x in jax.tree.leaves(variables["params"]))
    log.say(f"prior: {count:,} parameters, {prior.num_gaussians} Gaussians, on {describe(devices)}")
    exact = dataclasses.replace(prior, compute="float32")  # as it is loaded where nothing else is asked for
    log.say(f"the bases alone: {score(exact, variables, points, arrays, strangers)}")
    c = config.train
    weights = texture_step.TextureWeights(**config.loss.to_dict())
    optimiser = optax.chain(adam(c.rate, c.steps, warmup=0.02, floor=0.02), texture_step.slower())
    state = texture_step.state_of(variables, optimiser, config.seed)
    if c.steps:
        with Checkpoints(folder.checkpoints(STAGE), keep=config.log.keep) as checkpoints:
            state = checkpoints.resumed(devices.spread(state), resume)
            state = run(
                STAGE,
                state,
                c.steps,
                texture_step.make_texture_step(prior, optimiser, weights, devices.shares),
                _batch(points, arrays, corpus, c.batch, config.seed, devices.deal(c.batch)),
                log=log,
                every=builders.every(config),
                checkpoints=checkpoints,
                config=config.to_dict(),
                devices=devices,
            )
    variables = kept(state)
    scores = score(exact, variables, points, arrays, strangers)
    card = CARD.format(
        gaussians=prior.num_gaussians,
        parameters=count,
        num_ws=prior.num_ws,
        w_dim=prior.w_dim,
        parts=", ".join(f"{getattr(prior.config, name)} {name}" for name in prior.config.parts),
        network=f"a network in texture space, {c.steps} steps of {c.batch}" if c.steps else "no network is trained",
        date=time.strftime("%Y-%m-%d"),
        hardware=describe(),
        hours=(time.time() - started) / 3600,
        shapes=config.corpus.shapes,
        strangers=len(strangers.codes),
        **asdict(spec) | {"people": len(corpus.codes)},
        **scores,
    )
    if processes.writes():
        write(folder.root / "prior", prior, variables, pack.units, card)
        (folder.root / "scores.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    log.say(f"wrote {folder.root / 'prior'}: {scores}")
    return scores


def bases(config: Any, root: Path, points: Points, corpus: Corpus) -> statistics.Arrays:
    """The arrays of ``people.statistics``, kept in the run's folder; found anew for other people or other sizes."""
    path, done = root / "statistics.npz", root / "statistics.json"
    spec = {"corpus": config.corpus.to_dict(), "basis": config.basis.to_dict()}
    if done.is_file() and json.loads(done.read_text(encoding="utf-8")) == spec:
        with np.load(path) as stored:
            return {name: stored[name] for name in stored.files}
    sizes = statistics.Sizes(**config.basis.to_dict())
    arrays = statistics.statistics(points, corpus, rest_shapes(points, range(config.corpus.shapes)), sizes)
    done.unlink(missing_ok=True)  # while the file beside it is of no one's
    np.savez(path, **dict[str, Any](arrays))
    done.write_text(json.dumps(spec), encoding="utf-8")
    return arrays


def build(config: Any, points: Points, arrays: statistics.Arrays) -> tuple[Morphable, Variables]:
    """The generator with its bases and a network that adds nothing yet."""
    prior = Morphable(
        MorphableConfig(
            vertices=len(points.vertices),
            on_head=points.on_head,
            on_shell=len(points) - points.on_head,
            backing=len(arrays["backing"]),
            people=len(arrays["people"]),
            units=len(points.pack.units),
            **config.basis.to_dict(),
            **config.network.to_dict(),
        ),
        builders.compute(config),
    )
    fresh = prior.init(jax.random.key(config.seed))
    groups = {name: dict(fresh[name]) for name in ("params", "buffers")}
    for name, array in arrays.items():
        if name in statistics.NOT_DRAWN:
            continue
        group = groups["params" if name in groups["params"] else "buffers"]
        if group[name].shape != array.shape:
            raise UserError(f"{name} is {array.shape}, the generator asks for {group[name].shape}; begin a new workdir")
        group[name] = jnp.asarray(array)
    return prior, groups


def kept(state: TrainState) -> Variables:
    """The generator's variables, averaged."""
    return texture_step.joined(state.params["ema"], state.params["buffers"])


def write(folder: Path, prior: Morphable, variables: Variables, units: tuple[str, ...], card: str) -> None:
    """A prior's folder, and in it the shortest direction of W+ that leads to each ARKit unit at weight 1."""
    priors.save(folder, prior, variables, card=card, dtype="float16", overwrite=True)
    where = prior.config.parts["units"]
    spread = np.asarray(variables["buffers"]["units_spread"])
    rows = [prior.layer_names.index("units"), *range(len(ROWS), prior.num_ws)]  # its own basis, and the network
    directions: dict[str, np.ndarray] = {}
    for k, name in enumerate(units):
        one = np.zeros((prior.num_ws, prior.w_dim), np.float32)
        one[rows, where.start + k] = 1 / spread[k]
        directions[name] = one.astype(np.float16)
    written = folder / store.EXPRESSIONS
    safetensors.numpy.save_file(directions, written)
    written.chmod((folder / "config.json").stat().st_mode)  # safetensors' own is for the owner alone


def vectors(arrays: statistics.Arrays, corpus: Corpus) -> np.ndarray:
    """[P, M, D]: the known style vectors of a corpus's moments."""
    people = statistics.identity(arrays, corpus)
    moments = range(corpus.units.shape[1])
    each = [statistics.coordinates(arrays, people, corpus.units[:, m], np.asarray(corpus.light[:, m])) for m in moments]
    return np.stack(each, 1)


def score(
    prior: Morphable, variables: Variables, points: Points, arrays: statistics.Arrays, strangers: Corpus
) -> dict[str, float]:
    """Unseen people at their known latents, in texture space: mm and dB over all their moments."""
    chart = points.read(points.space.layout.chart)
    parts = {
        "skin": ("skin",),
        "eyes": ("eye_left", "eye_right"),
        "teeth": ("teeth_upper", "teeth_lower"),
        "neck": ("neck",),
    }
    inside = {name: np.isin(chart, [CHART_NAMES.index(c) for c in charts]) for name, charts in parts.items()}
    made = jax.jit(lambda v, w: prior.points(v, Latent(jnp.repeat(w[:, None], prior.num_ws, 1))))
    apart, errors = [], {name: [] for name in parts} | {"hair": []}
    known = vectors(arrays, strangers)
    for p, m in np.ndindex(*known.shape[:2]):
        position, color, _ = (np.asarray(x)[0] for x in made(variables, known[p, m][None]))
        truth = points.at(np.asarray(strangers.position[p, m], np.float32))
        apart.append(np.linalg.norm(position[: points.on_head] - truth, axis=-1).mean())
        error = (color[: points.on_head] - strangers.color[p, m] / 255.0) ** 2
        for name, which in inside.items():
            errors[name].append(error[which].mean())
        alpha = np.asarray(strangers.hair[p, :, 3], np.float32)
        if alpha.sum() > 1:
            off = (color[points.on_head :] - strangers.hair_color[p, m] / 255.0) ** 2
            errors["hair"].append((off.mean(-1) * alpha).sum() / alpha.sum())
    decibels = {name: float(-10 * np.log10(np.mean(e))) for name, e in errors.items() if e}
    return {"position": float(np.mean(apart)) * MILLIMETRES, **decibels}


def _batch(
    points: Points, arrays: statistics.Arrays, corpus: Corpus, size: int, seed: int, rows: np.ndarray
) -> Callable[[int], Batch]:
    """A function from a step to the ``rows`` of its batch: random moments of random people."""
    known = vectors(arrays, corpus)
    chart = points.read(points.space.layout.chart)
    weight = np.array([LOOKED_AT.get(name, 1.0) for name in CHART_NAMES], np.float32)[chart]

    def made(step: int) -> Batch:
        rng = np.random.default_rng((seed, step))
        p, m = rng.integers(known.shape[0], size=size)[rows], rng.integers(known.shape[1], size=size)[rows]
        some = {
            "w": known[p, m],
            "position": np.stack([points.at(x) for x in corpus.position[p, m].astype(np.float32)]),
            "color": np.asarray(corpus.color[p, m]),
            "hair_color": np.asarray(corpus.hair_color[p, m]),
            "hair": corpus.hair[p, :, 3].astype(np.float32),
        }
        return batch_of(some, weight, rows)

    return made
