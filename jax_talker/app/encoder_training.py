"""Train the encoder of a prior on pictures that the prior draws, and score it on pictures it never saw."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from tqdm import tqdm

from jax_talker import priors
from jax_talker.app import builders
from jax_talker.app.run_folder import RunFolder
from jax_talker.app.run_inputs import prior_input
from jax_talker.app.talking import batches_of
from jax_talker.errors import UserError
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
    prior, variables = priors.load(config.prior.path, compute=builders.compute(config))
    c, devices = config.train, builders.devices(config)
    if not 0 < config.corpus.held_out < config.corpus.pictures:
        raise UserError(
            f"config.corpus.held_out: {config.corpus.held_out} of {config.corpus.pictures} pictures; hold back one at "
            "least, and leave some to learn from"
        )
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
    if processes.writes():
        store.save_encoder(folder.root, params)
    scores = score(encoder, params, variables, held, influence)
    if processes.writes():
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
    draws = Drawing(prior, variables)

    @jax.jit
    def found(params: Any, variables: Variables, image: Array, label: Array) -> Array:
        return encoder(params, variables, image, label).w

    left, whole, seen, mean = 0.0, 0.0, [], []
    for some, count in batches_of(np.arange(total), AT_ONCE):
        part = {name: jnp.asarray(value[some]) for name, value in held.items()}
        truth = part["image"] / np.float32(255)
        w = found(params, variables, truth, part["label"])
        unit, counts = params["spread"][None], influence[None]
        off, away = (w[:, 0] - part["w"]) / unit, (part["w"] - centre[:1]) / unit
        left += float((counts * off**2)[:count].sum())
        whole += float((counts * away**2)[:count].sum())
        seen.append(psnr(draws(w, part["label"]), truth)[:count])
        still = jnp.broadcast_to(centre[None], w.shape)
        mean.append(psnr(draws(still, part["label"]), truth)[:count])
    decibels = {"psnr": seen, "psnr_of_the_mean_face": mean}
    return {"unexplained": left / whole, **{k: float(jnp.concatenate(v).mean()) for k, v in decibels.items()}}


def load_or_draw(
    folder: Path, config: Any, prior: Prior, variables: Variables, capacity: int | None = None
) -> Pictures:
    """The pictures in ``folder``, drawn first (with a progress bar) where they are missing or of another kind; what an
    interrupted call has drawn of the same kind is kept."""
    of = prior_input(config.prior.path, beside=False).sha256
    spec = {"pictures": config.corpus.pictures, "seed": config.seed, "prior": of, "size": SIZE}
    done, have = folder / "corpus.json", 0
    if done.is_file():
        stored = json.loads(done.read_text(encoding="utf-8"))
        have = stored["drawn"] if stored.get("spec") == spec else 0
    fields = FIELDS | {"w": ((prior.w_dim,), np.float32)}
    if have < spec["pictures"]:
        folder.mkdir(parents=True, exist_ok=True)
        mode = "r+" if have else "w+"
        if not have:
            done.unlink(missing_ok=True)  # before what it stands for is written over
        arrays = {
            name: np.lib.format.open_memmap(folder / f"{name}.npy", mode, kind, (spec["pictures"], *shape))
            for name, (shape, kind) in fields.items()
        }
        draws = Drawing(prior, variables, builders.rasteriser(config, capacity))
        for start in tqdm(range(have, spec["pictures"], AT_ONCE), desc="pictures"):
            part = slice(start, min(start + AT_ONCE, spec["pictures"]))
            for name, value in draws.random((config.seed, start)).items():
                arrays[name][part] = value[: part.stop - start]
            if (start // AT_ONCE) % 50 == 49 or part.stop == spec["pictures"]:
                for array in arrays.values():
                    array.flush()
                beside = done.with_suffix(".partial")
                beside.write_text(json.dumps({"spec": spec, "drawn": part.stop}), encoding="utf-8")
                beside.replace(done)
    return Pictures(**{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in fields})


class Drawing:
    """Draws pictures; the rasteriser gets more room where one needs it."""

    def __init__(self, prior: Prior, variables: Variables, rasteriser: Rasteriser = FASTEST):
        self.prior, self.variables, self.rasteriser = prior, variables, rasteriser
        self._draws = self._compiled()

    def __call__(self, w: Float[Array, "B L D"], label: Float[Array, "B 25"]) -> Float[Array, "B S S 3"]:
        """Pictures in [0, 1] of latents under labels."""
        while True:  # room at least doubles each time
            image, lost = self._draws(self.variables, w, label)
            if not int(lost):
                return image
            self.rasteriser = self.rasteriser.grown(self.prior.num_gaussians, SIZE, int(lost))
            self._draws = self._compiled()

    def random(self, seed: tuple[int, int]) -> dict[str, np.ndarray]:
        """AT_ONCE pictures, their labels and latents: random people, mostly from in front."""
        rng = np.random.default_rng(seed)
        z = jnp.asarray(rng.standard_normal((AT_ONCE, self.prior.z_dim)), jnp.float32)
        label = np.stack([random_label(rng, anywhere=False) for _ in range(AT_ONCE)]).astype(np.float32)
        w = self.prior.mapping(self.variables, z, jnp.asarray(label)).w
        image = np.asarray(self(w, jnp.asarray(label)))
        return {"image": np.round(image * 255).astype(np.uint8), "label": label, "w": np.asarray(w[:, 0])}

    def _compiled(self) -> Callable[[Variables, Array, Array], tuple[Array, Array]]:
        prior, rasteriser = self.prior, self.rasteriser

        @jax.jit
        def draws(variables: Variables, w: Array, label: Array) -> tuple[Array, Array]:
            gaussians, camera = prior.gaussians(variables, Latent(w)), prior.camera(label, SIZE)
            shown = render(gaussians, camera, size=SIZE, background=prior.background, rasteriser=rasteriser)
            return jnp.clip(shown.image, 0, 1), shown.overflow.max()

        return draws
