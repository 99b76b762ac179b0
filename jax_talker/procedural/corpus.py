"""Many procedural people, as training data for a prior: pictures with their latents and cameras, cached on disk.

A corpus folder holds ``images.npy`` [P, M, V, H, W, 4] uint8 (sRGB on white, coverage), ``z.npy`` [P, M, Z],
``labels.npy`` [P, M, V, 25] and ``corpus.json``: P people, M motions of each, V views of each motion.
"""

import json
import multiprocessing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from jax_talker import geometry
from jax_talker.procedural.head import Head
from jax_talker.procedural.identity import Z_SIZE, from_z, with_other_motion
from jax_talker.procedural.render import render


@dataclass(frozen=True)
class CorpusSpec:
    """What a corpus holds; equal specs give equal corpora."""

    people: int = 8000
    motions: int = 3
    views: int = 2
    size: int = 128
    seed: int = 0
    head: int = 2  # which edition of the procedural head; raise it when heads change, so that old corpora are refilmed


@dataclass(frozen=True)
class Corpus:
    """A corpus on disk; images are memory-mapped."""

    images: np.ndarray
    z: np.ndarray
    labels: np.ndarray

    def batch(self, rng: np.random.Generator, people: int, rows: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """One random motion of each of ``people`` random people: z [B, Z], label [B, V, 25], and as bytes image
        [B, V, H, W, 3] and alpha. ``rows`` are those of the batch's rows that are made (None: all)."""
        chosen = slice(None) if rows is None else rows
        person = rng.integers(len(self.z), size=people)[chosen]
        motion = rng.integers(self.z.shape[1], size=people)[chosen]
        pixels = np.asarray(self.images[person, motion])
        return {
            "z": self.z[person, motion],
            "label": self.labels[person, motion],
            "image": pixels[..., :3],
            "alpha": pixels[..., 3],
        }


def random_label(rng: np.random.Generator, *, anywhere: bool) -> np.ndarray:
    """An EG3D label [25] of a camera around the head: mostly from the front, or (``anywhere``) from any side."""
    if anywhere:
        yaw, pitch = rng.uniform(-180, 180), rng.uniform(-30, 35)
    else:
        yaw, pitch = np.clip(rng.standard_normal(2) * [24, 12], [-60, -30], [60, 30])
    pivot = np.asarray(geometry.PIVOT) + rng.uniform(-0.03, 0.03, 3)
    world_from_cam = geometry.orbit(yaw, pitch, radius=geometry.RADIUS * rng.uniform(0.97, 1.03), pivot=tuple(pivot))
    roll = np.radians(rng.normal(0, 4))
    turn = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    world_from_cam[:3, :3] = world_from_cam[:3, :3] @ turn
    return geometry.make_label(world_from_cam)


def shoot(task: tuple[CorpusSpec, int]) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """One person's pictures [M, V, H, W, 4], latents [M, Z] and labels [M, V, 25]."""
    spec, index = task
    rng = np.random.default_rng((spec.seed, index))
    z = rng.standard_normal(Z_SIZE)
    z *= np.sqrt(Z_SIZE) / np.linalg.norm(z)
    head = Head(from_z(z)[0])
    images = np.empty((spec.motions, spec.views, spec.size, spec.size, 4), np.uint8)
    latents = np.empty((spec.motions, Z_SIZE), np.float32)
    labels = np.empty((spec.motions, spec.views, 25), np.float32)
    for m in range(spec.motions):
        latents[m] = z
        mesh = head.mesh(from_z(z)[1])
        for v in range(spec.views):
            labels[m, v] = random_label(rng, anywhere=v % 2 == 1)
            values, hit = render(mesh, labels[m, v], spec.size)
            image = np.concatenate([values[..., :3] + (1 - hit[..., None]), hit[..., None]], -1)
            images[m, v] = (image.clip(0, 1) * 255 + 0.5).astype(np.uint8)
        z = with_other_motion(z, rng)
    return index, images, latents, labels


def load_or_make(folder: str | Path, spec: CorpusSpec, *, workers: int | None = None) -> Corpus:
    """The corpus in ``folder``, made first (with a progress bar) when it is missing, partial or of another spec."""
    folder = Path(folder)
    done = folder / "corpus.json"
    if not done.is_file() or json.loads(done.read_text(encoding="utf-8")) != asdict(spec):
        folder.mkdir(parents=True, exist_ok=True)
        done.unlink(missing_ok=True)
        _make(folder, spec, workers or multiprocessing.cpu_count())
        done.write_text(json.dumps(asdict(spec)), encoding="utf-8")
    return Corpus(
        np.load(folder / "images.npy", mmap_mode="r"), np.load(folder / "z.npy"), np.load(folder / "labels.npy")
    )


def _make(folder: Path, spec: CorpusSpec, workers: int) -> None:
    shape = (spec.people, spec.motions)
    images = np.lib.format.open_memmap(
        folder / "images.npy", "w+", np.uint8, (*shape, spec.views, spec.size, spec.size, 4)
    )
    z, labels = np.empty((*shape, Z_SIZE), np.float32), np.empty((*shape, spec.views, 25), np.float32)
    tasks = [(spec, i) for i in range(spec.people)]
    # Spawned, not forked: the parent may hold JAX's threads.
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for i, *shot in tqdm(pool.imap_unordered(shoot, tasks, chunksize=8), total=spec.people, desc="people"):
            images[i], z[i], labels[i] = shot
    images.flush()
    np.save(folder / "z.npy", z)
    np.save(folder / "labels.npy", labels)
