"""Score a run on frames it never saw, from its own camera and from true further cameras, beside two yardsticks.

``anchor_only`` is the same head without motion; ``mean_frame`` is the mean of the training frames of that camera (for
further cameras a generous yardstick: the model was never shown them).
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import matplotlib.figure
import numpy as np

from jax_talker.app import builders
from jax_talker.app.navigating import Speaker
from jax_talker.data.batches.dataset import ClipFrames, batches
from jax_talker.data.clip.clip import Clip
from jax_talker.metrics import psnr, ssim
from jax_talker.training.log import progress, read_scalars
from jax_talker.types import FrameBatch

BATCH = 8
YARDSTICKS = ("model", "anchor_only", "mean_frame")
Score = Callable[[FrameBatch, np.ndarray], dict[str, dict[str, jax.Array]]]


def evaluate(config: Any, speaker: Speaker, clip: Clip) -> dict[str, Any]:
    """Scores of the model and both yardsticks: psnr, ssim, psnr_mouth (inside the lower-face mask), and ``views``."""
    test = builders.clip_split(config, clip).test
    placed = speaker.personal.placed
    score = _scorer(speaker)
    scores: dict[str, Any] = _camera(config, score, speaker.reach, placed(clip), clip)
    for name in clip.view_names:
        for yardstick, values in _camera(config, score, speaker.reach, placed(clip.view(name)), clip).items():
            scores[yardstick].setdefault("views", {})[name] = values
    return {**scores, "frames": len(test), "size": clip.size, "clip": clip.root.name}


def _scorer(speaker: Speaker) -> Score:
    """Scores [B] of a batch for the model and both yardsticks; compiled once for all cameras."""

    @jax.jit
    def score(batch, mean):
        size = batch.image.shape[1]
        shown = {
            "model": speaker(batch.audio, batch.blink, batch.label, size),
            "anchor_only": speaker.still(batch.label, size),
            "mean_frame": jax.numpy.broadcast_to(mean, batch.image.shape),
        }
        return {
            name: {
                "psnr": psnr(image, batch.image),
                "ssim": ssim(image, batch.image),
                "psnr_mouth": psnr(image, batch.image, batch.lower),
            }
            for name, image in shown.items()
        }

    return score


def _camera(config: Any, score: Score, reach: int, seen: Clip, clip: Clip) -> dict[str, dict[str, float]]:
    frames = builders.clip_frames(config, seen, clip, reach)
    indices = builders.clip_split(config, clip)
    mean = _mean_frame(frames, indices.train)
    found: list[dict] = []
    total = -(-len(indices.test) // BATCH)
    for batch, count in progress(batches(frames, indices.test, BATCH), total=total, desc="evaluate", unit="batch"):
        found.append(jax.tree.map(lambda x, count=count: np.asarray(x[:count]), score(batch, mean)))
    return jax.tree.map(_mean, *found)


def _mean(*parts: np.ndarray) -> float:
    """Of what there is: a frame whose mouth the camera does not see has no mouth score."""
    values = np.concatenate(parts)
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def _mean_frame(frames: ClipFrames, indices: np.ndarray) -> np.ndarray:
    total = np.zeros((frames.clip.size, frames.clip.size, 3))
    for start in range(0, len(indices), 64):
        total += frames.store.images(indices[start : start + 64]).astype(np.float64).sum(0)
    return (total / len(indices) / 255).astype(np.float32)


def write_metrics(path: str | Path, scores: dict[str, Any]) -> None:
    """Scores as JSON; null where there is none, as of a mouth that a camera never sees."""
    Path(path).write_text(json.dumps(_without_nan(scores), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def table(scores: dict[str, Any]) -> str:
    """Scores for people, a line for each yardstick and camera."""
    lines = [f"{'':24}{'PSNR':>8}{'SSIM':>8}{'PSNR mouth':>12}"]
    cameras = {"own camera": None} | {name: name for name in scores["model"].get("views", {})}
    for title, view in cameras.items():
        for name in YARDSTICKS:
            values = scores[name] if view is None else scores[name]["views"][view]
            numbers = f"{values['psnr']:8.2f}{values['ssim']:8.3f}{values['psnr_mouth']:12.2f}"
            lines.append(f"{title:12}{name:12}{numbers}")
    return "\n".join(lines)


def draw_curves(workdir: str | Path, path: str | Path) -> None:
    """Losses and PSNR of every stage of a run as one picture."""
    stages = read_scalars(workdir)
    columns = max(1, len(stages))
    figure = matplotlib.figure.Figure(figsize=(5 * columns, 3.6))  # no pyplot: no screen, no global state
    axes = figure.subplots(1, columns, squeeze=False)
    for axis, (stage, scalars) in zip(axes[0], stages.items(), strict=False):
        right = axis.twinx()
        for name, (steps, values) in scalars.items():
            if name in ("loss", "image", "upper", "lower", "locality"):
                axis.semilogy(steps, np.maximum(values, 1e-9), label=name)
            elif name.startswith("psnr"):
                right.plot(steps, values, "k--", label=name)
        axis.set(title=stage, xlabel="step", ylabel="loss")
        right.set_ylabel("PSNR, dB")
        lines = [*axis.get_lines(), *right.get_lines()]
        axis.legend(lines, [line.get_label() for line in lines], fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
