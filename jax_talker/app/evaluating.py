"""Score a run on frames it never saw, from its own camera and from true further cameras, beside three yardsticks
(yardsticks.py): ``anchor_only`` (the still anchor), ``mean_frame`` and ``nearest_pose``.
"""

import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.figure
import numpy as np

from jax_talker.app import builders
from jax_talker.app.leakage import leakage
from jax_talker.app.speaking import Speaker
from jax_talker.app.talking import batches_of, spoken
from jax_talker.app.yardsticks import mean_frame, nearest_pose
from jax_talker.data.batches.dataset import ClipFrames
from jax_talker.data.clip.clip import Clip
from jax_talker.metrics import psnr, ssim
from jax_talker.training.log import progress, read_scalars
from jax_talker.types import FrameBatch

YARDSTICKS = ("model", "anchor_only", "mean_frame", "nearest_pose")
REGIONS = ("whole", "face", "lower", "upper")
TRAINING_FRAMES = 64  # evenly spread, for the score on what was learnt from
Scores = dict[str, dict[str, dict[str, float]]]  # yardstick → region → psnr, ssim


def evaluate(config: Any, speaker: Speaker, clip: Clip) -> dict[str, Any]:
    """Scores by yardstick and region (psnr in dB, ssim) of the held-out frames; ``views`` has those of further cameras,
    ``training`` the model's of frames that it learnt from, ``leakage`` how far lips move the upper face and expression
    the lower one. What is not known (Clip.valid) does not count.
    """
    split = builders.clip_split(config, clip)
    own = speaker.with_corrected_cameras(clip)
    frames = builders.clip_frames(config, own, clip, speaker.reach, speaker.motion)
    pictures = _Pictures(config, speaker, frames, split.train)
    views: dict[str, Scores] = {}
    for name in clip.view_names:
        view = speaker.with_corrected_cameras(clip.view(name))
        shown = builders.clip_frames(config, view, clip, speaker.reach, speaker.motion)
        views[name] = pictures.score(shown, split.test, name)
    some = split.train[np.linspace(0, len(split.train) - 1, min(TRAINING_FRAMES, len(split.train))).astype(int)]
    return {
        **pictures.score(frames, split.test, "evaluate"),
        "views": views,
        "training": pictures.score(frames, some, "training frames")["model"],
        "leakage": leakage(speaker, frames, some, pictures.coefficients),
        "frames": len(split.test),
        "training_frames": len(split.train),
        "size": clip.size,
        "clip": clip.root.name,
    }


@jax.jit
def _compared(image: jax.Array, batch: FrameBatch) -> dict[str, dict[str, jax.Array]]:
    """PSNR and SSIM [B] of pictures in each region; no window sees what is not known."""
    image = batch.image + batch.valid[..., None] * (image - batch.image)
    face = jnp.maximum(batch.upper, batch.lower)
    regions = {"whole": batch.valid, "face": face, "lower": batch.lower, "upper": batch.upper}
    masks = {name: region * batch.valid for name, region in regions.items()}
    return {
        name: {"psnr": psnr(image, batch.image, mask), "ssim": ssim(image, batch.image, mask)}
        for name, mask in masks.items()
    }


class _Pictures:
    """What the model and the yardsticks show of frames of a clip."""

    def __init__(self, config: Any, speaker: Speaker, own: ClipFrames, train: np.ndarray):
        self._speaker, self._own, self._train = speaker, own, train
        clip = own.clip
        self.coefficients = spoken(config, speaker, own.windows, clip.arrays["blink"], clip.boundaries)

    def score(self, seen: ClipFrames, indices: np.ndarray, title: str) -> Scores:
        """Scores of the frames ``indices`` of a camera's frames ``seen``."""
        speaker, size = self._speaker, seen.clip.size
        mean = mean_frame(seen.store, self._train)
        learnt = self._own.clip.arrays["label"][self._train]
        nearest = self._train[nearest_pose(seen.clip.arrays["label"][indices], learnt)]
        copies = dict(zip(indices.tolist(), nearest.tolist(), strict=True))
        found: list[dict] = []
        total = -(-len(indices) // speaker.batch)
        for part, count in progress(batches_of(indices, speaker.batch), total=total, desc=title, unit="batch"):
            batch = seen.frames(part)
            held = jnp.asarray(self._own.clip.arrays["label"][part], jnp.float32)
            said = jax.tree.map(lambda x, p=part: jnp.asarray(x[p]), self.coefficients)
            copied = self._own.store.images(np.array([copies[i] for i in part.tolist()]))
            shown = {
                "model": speaker.pictures(said, held, batch.label, size),
                "anchor_only": speaker.pictures(speaker.rest, held, batch.label, size),
                "mean_frame": jnp.broadcast_to(mean, batch.image.shape),
                "nearest_pose": jnp.asarray(copied.astype(np.float32) / 255),
            }
            scores = {name: _compared(image, batch) for name, image in shown.items()}
            found.append(jax.tree.map(lambda x, n=count: np.asarray(x[:n]), scores))
        return jax.tree.map(_mean, *found)


def _mean(*parts: np.ndarray) -> float:
    """Of what there is: a frame whose mouth the camera does not see has no mouth score."""
    values = np.concatenate(parts)
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def write_metrics(path: str | Path, scores: dict[str, Any]) -> None:
    """Scores as JSON; null where there is none, as of a mouth that a camera never sees."""
    text = json.dumps(_without_nan(scores), indent=1, allow_nan=False) + "\n"
    Path(path).write_text(text, encoding="utf-8")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def table(scores: dict[str, Any]) -> str:
    """Scores for people: PSNR and SSIM by region, a line for each yardstick and camera."""
    lines = [
        f"{scores['frames']} held-out frames, {scores['training_frames']} training frames, {scores['size']}²; "
        "PSNR in dB / SSIM",
        f"{'':26}" + "".join(f"{region:>16}" for region in REGIONS),
    ]

    def line(camera: str, name: str, values: dict) -> str:
        numbers = (f"{values[r]['psnr']:.2f} / {values[r]['ssim']:.3f}" for r in REGIONS)
        return f"{camera:12}{name:14}" + "".join(f"{n:>16}" for n in numbers)

    for camera, found in {"own camera": scores, **scores["views"]}.items():
        lines += [line(camera, name, found[name]) for name in YARDSTICKS]
    leaked = scores["leakage"]
    return "\n".join(
        [
            *lines,
            line("training", "model", scores["training"]),
            f"lips move the upper face by {leaked['lips_in_upper_percent']:.1f} % of what they move the lower one, "
            f"expression the lower by {leaked['expression_in_lower_percent']:.1f} % of the upper",
        ]
    )


def draw_curves(workdir: str | Path, path: str | Path) -> None:
    """Losses and PSNR of every stage of a run as one picture."""
    stages = read_scalars(workdir)
    columns = max(1, len(stages))
    figure = matplotlib.figure.Figure(figsize=(5 * columns, 3.6))  # no pyplot: no screen, no global state
    axes = figure.subplots(1, columns, squeeze=False)
    for axis, (stage, scalars) in zip(axes[0], stages.items(), strict=False):
        right = axis.twinx()
        for name, (steps, values) in scalars.items():
            if name in ("loss", "image", "detail", "locality", "expression", "lips"):
                axis.semilogy(steps, np.maximum(values, 1e-9), label=name)
            elif name.startswith("psnr"):
                right.plot(steps, values, "k-" if name == "psnr" else "k--", label=name)
        axis.set(title=stage, xlabel="step", ylabel="loss")
        right.set_ylabel("PSNR, dB")
        lines = [*axis.get_lines(), *right.get_lines()]
        axis.legend(lines, [line.get_label() for line in lines], fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
