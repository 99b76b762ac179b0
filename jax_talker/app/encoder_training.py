"""Train the encoder of a prior on pictures that the prior draws, and score it on pictures it never saw."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from tqdm import tqdm

from jax_talker import priors
from jax_talker.app import builders
from jax_talker.app.run_folder import RunFolder
from jax_talker.metrics import psnr
from jax_talker.priors import store
from jax_talker.priors.base import Prior, Variables
from jax_talker.priors.encoder import SIZE, Encoder
from jax_talker.procedural.corpus import random_label
from jax_talker.rendering import FASTEST, Rasteriser, render
from jax_talker.training import processes
from jax_talker.training.checkpoint import Checkpoints
from jax_talker.training.encoder_step import influences, make_encoder_step
from jax_talker.training.log import Log
from jax_talker.training.loop import run
from jax_talker.training.shares import Batch, batch_of
from jax_talker.training.state import adam, create
from jax_talker.types import Latent

STAGE = "encoder"
AT_ONCE = 16  # pictures drawn together
FIELDS = {"image": ((SIZE, SIZE, 3), np.uint8), "label": ((25,), np.float32)}


@dataclass(frozen=True)
class Pictures:
    """Memory-mapped: what the prior draws, from which latents and which cameras."""

    image: np.ndarray  # [N, S, S, 3] bytes
    label: np.ndarray  # [N, 25]
    w: np.ndarray  # [N, D]


def train(config: Any, folder: RunFolder, log: Log, *, resume: bool) -> dict[str, float]:
    """Draw the pictures, train, write ``workdir/encoder.safetensors``; returns the scores on held-out pictures."""
    prior, variables = priors.load(config.prior.path, compute=config.prior.compute)
    c, devices = config.train, builders.devices(config)
    with processes.writer_first("corpus"):
        pictures = load_or_draw(folder.root / "corpus", config, prior, variables, folder.capacity())
    known = len(pictures.w) - config.corpus.held_out
    centre = np.asarray(prior.mean_latent(variables))[0]
    spread = np.maximum(np.std(pictures.w[:known], 0), 1e-3).astype(np.float32)
    encoder = Encoder(prior)
    params = encoder.init(jax.random.key(config.seed), jnp.asarray(spread))
    influence = influences(prior, variables, jnp.asarray(spread))
    count = sum(x.size for x in jax.tree.leaves(params["net"]))
    log.say(f"encoder: {count:,} parameters, {known} pictures of {SIZE}²")
    optimiser = adam(c.rate, c.steps, floor=0.01, b2=0.999)
    step = make_encoder_step(encoder, optimiser, influence, prior.background, devices.shares)
    rows = devices.deal(c.batch)

    def made(step: int) -> Batch:
        some = np.sort(np.random.default_rng((config.seed, step)).integers(known, size=c.batch))[rows]
        away = (pictures.w[some] - centre) / spread
        return batch_of({"image": pictures.image[some], "label": pictures.label[some], "away": away}, slot=rows)

    state = devices.spread(create({"net": params["net"]}, optimiser, config.seed))
    with Checkpoints(folder.checkpoints(STAGE), keep=config.log.keep) as checkpoints:
        state = checkpoints.resumed(state, resume)
        state = run(
            STAGE,
            state,
            c.steps,
            step,
            made,
            log=log,
            every=builders.every(config),
            checkpoints=checkpoints,
            config=config.to_dict(),
            devices=devices,
        )
    params = {**params, "net": state.params["net"]}
    held = {name: value[known:] for name, value in asdict(pictures).items()}
    scores = score(encoder, params, variables, held, influence)
    if processes.writes():
        store.save_encoder(folder.root, params)
        (folder.root / "scores.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    log.say(f"wrote {folder.root / store.ENCODER}: {scores}")
    return scores


def score(
    encoder: Encoder, params: Any, variables: Variables, held: dict[str, np.ndarray], influence: Array
) -> dict[str, float]:
    """Of held-out pictures: what share of the latents' influence is left unexplained, and PSNR of the pictures that
    the prior draws of what was found, beside those of its mean face."""
    prior, total = encoder.prior, len(held["w"])
    centre = prior.mean_latent(variables)
    draws = _drawing(prior, FASTEST)

    @jax.jit
    def found(image: Array, label: Array) -> Array:
        return encoder(params, variables, image, label).w

    left, whole, seen, mean = 0.0, 0.0, [], []
    for start in range(0, total - AT_ONCE + 1, AT_ONCE):
        part = {name: jnp.asarray(value[start : start + AT_ONCE]) for name, value in held.items()}
        truth = part["image"] / np.float32(255)
        w = found(truth, part["label"])
        unit, counts = params["spread"][None], influence[None]
        off, away = (w[:, 0] - part["w"]) / unit, (part["w"] - centre[:1]) / unit
        left, whole = left + float((counts * off**2).sum()), whole + float((counts * away**2).sum())
        seen.append(psnr(draws(variables, w, part["label"])[0], truth))
        still = jnp.broadcast_to(centre[None], w.shape)
        mean.append(psnr(draws(variables, still, part["label"])[0], truth))
    decibels = {"psnr": seen, "psnr_of_the_mean_face": mean}
    return {"unexplained": left / whole, **{k: float(jnp.concatenate(v).mean()) for k, v in decibels.items()}}


def load_or_draw(
    folder: Path, config: Any, prior: Prior, variables: Variables, capacity: int | None = None
) -> Pictures:
    """The pictures in ``folder``, drawn first (with a progress bar) where they are missing or of another kind; what an
    interrupted call has drawn of the same kind is kept."""
    with (store.find(config.prior.path) / store.PARAMS).open("rb") as file:
        of = hashlib.file_digest(file, "sha256").hexdigest()
    spec = {"pictures": config.corpus.pictures, "seed": config.seed, "prior": of, "size": SIZE}
    done, have = folder / "corpus.json", 0
    if done.is_file():
        stored = json.loads(done.read_text(encoding="utf-8"))
        have = stored["drawn"] if stored.get("spec") == spec else 0
    fields = FIELDS | {"w": ((prior.w_dim,), np.float32)}
    if have < spec["pictures"]:
        folder.mkdir(parents=True, exist_ok=True)
        mode = "r+" if have else "w+"
        arrays = {
            name: np.lib.format.open_memmap(folder / f"{name}.npy", mode, kind, (spec["pictures"], *shape))
            for name, (shape, kind) in fields.items()
        }
        draws = _drawing(prior, builders.rasteriser(config, capacity))
        for start in tqdm(range(have, spec["pictures"], AT_ONCE), desc="pictures"):
            part = slice(start, min(start + AT_ONCE, spec["pictures"]))
            for name, value in _some(prior, variables, draws, (config.seed, start)).items():
                arrays[name][part] = value[: part.stop - start]
            if (start // AT_ONCE) % 50 == 49 or part.stop == spec["pictures"]:
                for array in arrays.values():
                    array.flush()
                done.write_text(json.dumps({"spec": spec, "drawn": part.stop}), encoding="utf-8")
    return Pictures(**{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in fields})


Draws = Callable[[Variables, Array, Array], tuple[Array, Array]]


def _drawing(prior: Prior, rasteriser: Rasteriser) -> Draws:
    """Pictures [B, S, S, 3] in [0, 1] of latents [B, L, D] under labels, and what did not fit the rasteriser."""

    @jax.jit
    def draws(variables: Variables, w: Array, label: Array) -> tuple[Array, Array]:
        gaussians = prior.gaussians(variables, Latent(w))
        camera = prior.camera(label, SIZE)
        shown = render(gaussians, camera, size=SIZE, background=prior.background, rasteriser=rasteriser)
        return jnp.clip(shown.image, 0, 1), shown.overflow.sum()

    return draws


def _some(prior: Prior, variables: Variables, draws: Draws, seed: tuple[int, int]) -> dict[str, np.ndarray]:
    """AT_ONCE pictures, their labels and latents: random people, mostly from in front."""
    rng = np.random.default_rng(seed)
    z = jnp.asarray(rng.standard_normal((AT_ONCE, prior.z_dim)), jnp.float32)
    label = np.stack([random_label(rng, anywhere=False) for _ in range(AT_ONCE)]).astype(np.float32)
    w = prior.mapping(variables, z, jnp.asarray(label)).w
    image, lost = draws(variables, w, jnp.asarray(label))
    if int(lost):
        raise ValueError(f"the rasteriser left out {int(lost)} intersections; give it --config.render.capacity")
    return {"image": np.round(np.asarray(image) * 255).astype(np.uint8), "label": label, "w": np.asarray(w[:, 0])}
