"""What each coefficient does: the controllability sheet.

One coefficient at a time is walked to −2σ and to +2σ, where σ is its deviation over the training frames as sound leads;
everything else rests. Seen from the camera of a training frame whose face is at rest (of several that in which the head
is held most as usual), whose masks say where it moves.
"""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from jax_talker.app import builders, talking
from jax_talker.app.speaking import Speaker
from jax_talker.app.yardsticks import nearest_pose
from jax_talker.data.batches.motion_features import resting_frames
from jax_talker.data.clip.clip import Clip
from jax_talker.models.navigator import Coefficients

FAR = 2.0  # deviations
COLUMNS = 10
BAR = 14  # pixels above each column, for its words
Kind = Literal["lips", "expression"]


@dataclass(frozen=True)
class Control:
    """One coefficient."""

    kind: Kind
    number: int
    sigma: float  # typical walks
    upper: float  # mean absolute change of the upper face's pixels between −2σ and +2σ, 0 … 255
    lower: float
    pictures: UInt8[np.ndarray, "3 H W 3"]  # at −2σ, 0, +2σ


def controls(config: Any, speaker: Speaker, clip: Clip) -> list[Control]:
    """All coefficients, lips first, of each kind those first that speech moves most. ``clip`` has the cameras as the
    run corrected them."""
    frames = builders.clip_frames(config, clip, clip, speaker.reach, speaker.motion)
    heard = talking.spoken(config, speaker, frames.windows, clip.arrays["blink"], clip.boundaries)
    train = builders.clip_split(config, clip).train
    sigmas = Coefficients(*(np.asarray(c)[train].std(0) for c in heard))
    still = resting_frames(clip.arrays, speaker.motion, train)
    at = int(still[nearest_pose(speaker.usual[None], clip.arrays["label"][still])[0]])
    masks = clip.masks(at)[..., :2].astype(np.float64) / 255
    order: list[tuple[Kind, int]] = [("lips", int(k)) for k in np.argsort(-sigmas.lips)]
    order.extend(("expression", int(k)) for k in np.argsort(-sigmas.expression))
    walks = [(kind, k, side * FAR * getattr(sigmas, kind)[k]) for kind, k in order for side in (-1, 1)]
    shown = _walked(speaker, walks, clip.arrays["label"][at].astype(np.float32), clip.size)
    rest = _walked(speaker, [("lips", 0, 0.0)], clip.arrays["label"][at].astype(np.float32), clip.size)[0]
    out = []
    for place, (kind, k) in enumerate(order):
        less, more = shown[2 * place], shown[2 * place + 1]
        change = np.abs(less.astype(np.float64) - more).mean(-1)
        upper, lower = (float((change * m).sum() / max(m.sum(), 1e-9)) for m in np.moveaxis(masks, -1, 0))
        sigma = float(getattr(sigmas, kind)[k] / speaker.head.talker.gain)
        out.append(Control(kind, k, sigma, upper, lower, np.stack([less, rest, more])))
    return out


def _walked(
    speaker: Speaker, walks: list[tuple[str, int, float]], label: np.ndarray, size: int
) -> UInt8[np.ndarray, "N H W 3"]:
    rest = jax.tree.map(lambda x: np.zeros((len(walks), x.shape[1]), np.float32), speaker.rest)
    for row, (kind, k, amount) in enumerate(walks):
        getattr(rest, kind)[row, k] = amount
    labels = jnp.tile(jnp.asarray(label)[None], (speaker.batch, 1))
    found = []
    for part, own in talking.batches_of(np.arange(len(walks)), speaker.batch):
        some = jax.tree.map(lambda x, i=part: jnp.asarray(x[i]), rest)
        pictures = speaker.pictures(some, labels, labels, size)
        found.append(np.asarray(jnp.round(pictures * 255).astype(jnp.uint8))[:own])
    return np.concatenate(found)


def sheet(found: list[Control]) -> UInt8[np.ndarray, "H W 3"]:
    """A column for each coefficient: its number, σ and what it moves in the lower and the upper face; then the face at
    −2σ, 0 and +2σ."""
    height, width = found[0].pictures.shape[1:3]
    block = 3 * height + 2 * BAR
    rows = -(-len(found) // COLUMNS)
    out = np.full((rows * block, min(COLUMNS, len(found)) * width, 3), 255, np.uint8)
    for place, control in enumerate(found):
        row, column = divmod(place, COLUMNS)
        top, left = row * block, column * width
        out[top + 2 * BAR : top + block, left : left + width] = control.pictures.reshape(-1, width, 3)
        words = (f"{control.kind} {control.number}, {control.sigma:.2f}",)
        words += (f"low {control.lower:.1f} up {control.upper:.1f}",)
        for line, text in enumerate(words):
            bottom = top + (line + 1) * BAR - 4
            cv2.putText(out, text, (left + 2, bottom), cv2.FONT_HERSHEY_SIMPLEX, 0.33, (0, 0, 0), 1, cv2.LINE_AA)
    return out


def write(found: list[Control], stem: Path) -> list[Path]:
    """``stem``_lips.png, ``stem``_expression.png and ``stem``.csv."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind in ("lips", "expression"):
        some = [control for control in found if control.kind == kind]
        if not some:
            continue
        path = stem.with_name(f"{stem.name}_{kind}.png")
        done, data = cv2.imencode(".png", sheet(some)[..., ::-1])
        assert done
        path.write_bytes(data.tobytes())
        paths.append(path)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["set", "coefficient", "sigma", "lower", "upper"])
    writer.writerows([c.kind, c.number, c.sigma, c.lower, c.upper] for c in found)
    path = stem.with_name(f"{stem.name}.csv")
    path.write_text(text.getvalue(), encoding="utf-8")
    return [*paths, path]


def summary(found: list[Control]) -> str:
    """How far each set keeps to its part, over all its coefficients."""
    lines = []
    for kind, own, other in (("lips", "lower", "upper"), ("expression", "upper", "lower")):
        some = [control for control in found if control.kind == kind]
        here, there = (sum(getattr(c, part) for c in some) for part in (own, other))
        if here:
            lines.append(f"{kind}: ±2σ of each changes the {other} face by {100 * there / here:.0f} % of the {own}")
    return "\n".join(lines)
