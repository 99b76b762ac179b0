"""What a prior alone knows of people whom it never saw: one front picture of each is inverted, and held against the
truth from the front and from further round.

    python -m benchmarks strangers --pack HEADS --prior human --prior small --sheet strangers.png
    python -m benchmarks strangers --clip data/may --clip data/katie --prior human --sheet real.png

Synthetic people come from seeds that no corpus holds, in the middle of saying something; of a prepared clip the
training frame is taken that looks straight ahead most, with open eyes and the mouth at rest. PSNR in dB: ``front`` and
``yaw N`` of whole pictures, ``face`` of the face's pixels from the front, ``LPIPS`` where its weights are given.
"""

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from benchmarks import harness
from configs import quickstart
from jax_talker import geometry, priors
from jax_talker.app import builders
from jax_talker.app.inverting import Inverter, Portrait
from jax_talker.data.batches.expression_units import is_upper
from jax_talker.data.batches.motion_features import motion_space, resting_frames
from jax_talker.data.clip.clip import open_clip
from jax_talker.metrics import psnr
from jax_talker.networks import lpips
from jax_talker.people import filming
from jax_talker.people.pack import Pack

FIRST = 200_000  # seed of people that no corpus, no film and no benchmark holds
YAWS = (0.0, 30.0)
TURNS = (0.0, 30.0, -30.0)  # of a clip's person, whose sides nobody knows


@dataclass(frozen=True)
class Sitter:
    """Someone to be inverted: the portrait, and their true pictures [V, S, S, 3] from ``labels`` where known."""

    name: str
    portrait: Portrait
    face: np.ndarray  # [S, S] of the portrait
    labels: np.ndarray
    truth: np.ndarray  # the portrait first; of a clip nothing more

    @property
    def filmed(self) -> np.ndarray:
        """[V, S, S]: 0 where the truth's pixels are not known."""
        known = np.ones(self.truth.shape[:3], np.float32)
        if self.portrait.valid is not None:
            known[0] = self.portrait.valid
        return known


def strangers(pack: Pack, first: int, count: int, size: int) -> Iterator[Sitter]:
    """Synthetic people of seeds ``first`` and on."""
    labels = np.stack([geometry.make_label(geometry.orbit(yaw, 0)) for yaw in YAWS])
    cameras = {str(yaw): (yaw, 0.0) for yaw in YAWS}
    for seed in range(first, first + count):
        scene = filming.make_scene(pack, seed, 2.0)
        units = scene.acting.units
        talking = int(units[:, pack.units.index("jawOpen")].argmax())
        acting = replace(scene.acting, units=units[[talking]], angles=np.zeros((1, 3)))
        shots = next(iter(filming.film(replace(scene, acting=acting), cameras, size)))
        images = np.stack([shots[name][0] for name in cameras]) / np.float32(255)
        masks = shots[str(YAWS[0])][1] / np.float32(255)
        portrait = Portrait(images[0], masks[..., 2], labels[0])
        yield Sitter(str(seed), portrait, np.maximum(masks[..., 0], masks[..., 1]), labels, images)


def of_clip(folder: str) -> Sitter:
    """The person of a prepared clip."""
    clip = open_clip(folder)
    train = builders.clip_split(quickstart.get_config(), clip).train
    resting = resting_frames(clip.arrays, motion_space(clip.arrays, train), train)
    label = np.asarray(clip.arrays["label"], np.float64)
    ahead = label[resting, 11] / np.linalg.norm(label[resting][:, [3, 7, 11]], axis=1)  # the camera's place: in front
    index = int(resting[ahead.argmax()])
    masks, valid = clip.masks(index) / np.float32(255), clip.valid(index) / np.float32(255)
    image = clip.image(index) / np.float32(255)
    labels = np.stack([label[index], *(geometry.make_label(geometry.orbit(yaw, 0)) for yaw in TURNS[1:])])
    portrait = Portrait(image, masks[..., 2], label[index], valid)
    return Sitter(Path(folder).name, portrait, np.maximum(masks[..., 0], masks[..., 1]), labels, image[None])


def scores(sitter: Sitter, seen: np.ndarray) -> dict[str, float]:
    """Of pictures [V, S, S, 3] from the sitter's labels."""
    known, whole = seen[: len(sitter.truth)], sitter.filmed
    found = np.asarray(psnr(jnp.asarray(known), jnp.asarray(sitter.truth), jnp.asarray(whole)))
    names = ["front", *(f"yaw {yaw:.0f}" for yaw in YAWS[1:])]
    measured = dict(zip(names, found.tolist(), strict=False))
    face = psnr(jnp.asarray(known[:1]), jnp.asarray(sitter.truth[:1]), jnp.asarray(whole[:1] * sitter.face[None]))
    return measured | {"face": float(np.asarray(face)[0])}


def perceptual(weights: str | None) -> Callable[[Sitter, np.ndarray], dict[str, float]]:
    """LPIPS of the front and of the first side that is known; nothing without weights."""
    if weights is None:
        return lambda sitter, seen: {}
    net, arrays = lpips.load(weights)
    far = jax.jit(functools.partial(lpips.distance_map, net))

    def unlike(sitter: Sitter, seen: np.ndarray) -> dict[str, float]:
        off = sitter.filmed[..., None] * (seen[: len(sitter.truth)] - sitter.truth)  # what is unknown has no error
        found = np.asarray(far(arrays, jnp.asarray(sitter.truth + off), jnp.asarray(sitter.truth)).mean((1, 2)))
        return dict(zip(["LPIPS", *(f"LPIPS yaw {yaw:.0f}" for yaw in YAWS[1:])], found.tolist(), strict=False))

    return unlike


def measure(args: argparse.Namespace) -> tuple[list[dict[str, Any]], np.ndarray]:
    """A row of scores for each sitter and prior, and the sheet: a column each, truth above what each prior makes."""
    sitters = [of_clip(folder) for folder in args.clip] or list(
        strangers(Pack(args.pack), args.first, args.people, args.size)
    )
    loss, _, _ = builders.image_loss(quickstart.get_config())
    unlike = perceptual(args.lpips)
    rows, made = [], []
    for name in args.prior:
        prior, variables = priors.load(name)
        # Units of the upper face, too, would turn lids inside out where a face is unlike any that the prior knows.
        mouth = {unit: along for unit, along in priors.expressions(name, prior).items() if not is_upper(unit)}
        inverters: dict[int, Inverter] = {}
        for sitter in sitters:
            size = sitter.truth.shape[1]
            if size not in inverters:
                how = {"size": size, "steps": args.steps, "expressions": mouth}
                how |= {"encoder": None if args.from_mean else name}
                inverters[size] = Inverter(prior, variables, loss, **how)
            started = time.perf_counter()
            seen = inverters[size].pictures(inverters[size](sitter.portrait), sitter.labels)
            row = {"prior": name, "who": sitter.name, **scores(sitter, seen), **unlike(sitter, seen)}
            row["s"] = time.perf_counter() - started
            rows.append(row)
            made.append((sitter, seen))
            print(line(row), flush=True)
    return rows, _sheet(sitters, made, len(args.prior))


def line(row: dict[str, Any]) -> str:
    """A row for people to read."""
    numbers = (f"{key} {value:.2f}" for key, value in row.items() if isinstance(value, float))
    return f"{row['prior']:8} {row['who']:20} " + "  ".join(numbers)


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """Mean and worst of each prior: the lowest PSNR, the highest LPIPS."""
    lines = []
    for name in dict.fromkeys(row["prior"] for row in rows):
        own = [row for row in rows if row["prior"] == name]
        keys = [key for key in own[0] if isinstance(own[0][key], float) and key != "s"]
        each = (
            f"{k} {np.mean(values):.2f} (worst {(max if k.startswith('LPIPS') else min)(values):.2f})"
            for k in keys
            for values in [[row[k] for row in own]]
        )
        lines.append(f"{name}, {len(own)} people: " + ", ".join(each))
    return lines


def _sheet(sitters: list[Sitter], made: list[tuple[Sitter, np.ndarray]], count: int) -> np.ndarray:
    size = max(s.truth.shape[1] for s in sitters)

    def column(pictures: np.ndarray, views: int) -> np.ndarray:
        blank = np.ones((views - len(pictures), size, size, 3), np.float32)
        fitted = [np.pad(p, ((0, size - len(p)), (0, size - len(p)), (0, 0)), constant_values=1) for p in pictures]
        return np.concatenate([*fitted, *blank], 0)

    views, known = len(sitters[0].labels), len(sitters[0].truth)
    rows = [np.concatenate([column(s.truth, known) for s in sitters], 1)]
    for k in range(count):
        part = made[k * len(sitters) : (k + 1) * len(sitters)]
        rows.append(np.concatenate([column(seen, views) for _, seen in part], 1))
    return (np.concatenate(rows, 0) * 255 + 0.5).astype(np.uint8)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks strangers", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--prior", action="append", help="a bundled prior's name or a folder; may be given repeatedly")
    parser.add_argument("--pack", help="folder of the pack of human heads")
    parser.add_argument("--clip", action="append", default=[], help="a prepared clip, in place of synthetic people")
    parser.add_argument("--people", type=int, default=10)
    parser.add_argument("--first", type=int, default=FIRST, help="seed of the first of them")
    parser.add_argument("--size", type=int, default=256, help="pixels, of synthetic people")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--from-mean", action="store_true", help="start at the mean face, not where the encoder says")
    parser.add_argument("--lpips", help="LPIPS weights: a folder of python -m converters lpips, or a .safetensors file")
    parser.add_argument("--sheet", help="a picture to write")
    parser.add_argument("--json", help="a file to write the numbers to")
    args = parser.parse_args(argv)
    args.prior = args.prior or ["human"]
    if not args.clip and not args.pack:
        parser.error("give --pack, the folder of the pack of human heads, or --clip, a prepared clip")
    rows, sheet = measure(args)
    print("\n".join(summary(rows)))
    if args.sheet:
        Image.fromarray(sheet).save(args.sheet)
    if args.json:
        Path(args.json).write_text(
            json.dumps({"device": harness.device(), "rows": rows}, indent=1) + "\n", encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
