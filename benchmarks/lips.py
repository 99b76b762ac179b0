"""How far lips and jaw open in videos of a talking face, beside how loud they are: what a tracker sees of a rendered
head, or of a film.

    python -m benchmarks lips --landmark-model face_landmarker.task radio.mp4 silence.mp4 clip.mp4

``gap`` is how far the inner lips are apart and ``jaw`` how far the chin is below the nose, both in distances from the
eyes to the nose's base: the mean, and the 5th and 95th percentile over frames. ``loudness`` is each one's correlation
with the sound's level (dB of the 80 ms around each frame); – where nothing sounds or nothing moves.
"""

import argparse
import functools
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from benchmarks.sounds import loudness
from jax_talker.app.judging.face_finder import FaceFinder
from jax_talker.data.check.doctor.signals import mouth_and_jaw
from jax_talker.data.read.audio import load_sound
from jax_talker.data.read.video import probe, read_frames
from jax_talker.data.track.landmarkers import make_landmarker
from jax_talker.data.track.landmarks import scheme_of
from jax_talker.errors import UserError

STILL = 1e-3  # of the unit: a deviation that is rounding, or the landmarker's noise


class Curve(NamedTuple):
    """Of what opens, over a video's frames."""

    mean: float
    least: float  # 5th percentile
    most: float  # 95th
    loudness: float | None  # correlation with the sound's level


class Lips(NamedTuple):
    frames: int
    missed: int  # frames without a face
    gap: Curve
    jaw: Curve


def measured(points: Float[np.ndarray, "T P 2"], loud: Float[np.ndarray, " T"] | None, *, missed: int = 0) -> Lips:
    """Of T frames' landmarks and their sound's level; ``missed`` frames besides have none."""
    gap, jaw = mouth_and_jaw(points, scheme_of(points.shape[1]))
    return Lips(len(points) + missed, missed, _curve(gap, loud), _curve(jaw, loud))


def _curve(opening: np.ndarray, loud: np.ndarray | None) -> Curve:
    follows = None
    if loud is not None and np.ptp(loud) and opening.std() > STILL:
        follows = float(np.corrcoef(opening, loud)[0, 1])
    return Curve(float(opening.mean()), *map(float, np.percentile(opening, [5, 95])), follows)


def of_video(path: Path, finder: FaceFinder) -> Lips:
    """Of a video; UserError where no face is found in it."""
    found = [finder(picture[None])[0][0] for picture in read_frames(path)]
    seen = np.array([face is not None for face in found])
    if not seen.any():
        raise UserError(f"{path}: no face is found in any of its {len(found)} frames")
    loud = loudness(load_sound(path), len(found))[seen] if probe(path).has_sound else None
    points = np.stack([np.asarray(face.points, np.float64) for face in found if face is not None])
    return measured(points, loud, missed=int((~seen).sum()))


def row(name: str, lips: Lips) -> str:
    """Of the printed table."""
    missed = f", {lips.missed} without a face" if lips.missed else ""
    cells = [name, f"{lips.frames}{missed}"]
    for curve in (lips.gap, lips.jaw):
        cells.append(f"{curve.mean:.3f} ({curve.least:.3f} to {curve.most:.3f})")
        cells.append("–" if curve.loudness is None else f"{curve.loudness:.2f}")
    return f"| {' | '.join(cells)} |"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks lips", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO")
    parser.add_argument(
        "--landmark-model", type=Path, help="MediaPipe's face_landmarker.task, or face-alignment's folder"
    )
    given = parser.parse_args(argv)
    print("| video | frames | gap | loudness | jaw | loudness |\n|---|---|---|---|---|---|")
    try:
        for path in given.videos:
            with FaceFinder(functools.partial(make_landmarker, model=given.landmark_model), 1) as finder:
                print(row(path.name, of_video(path, finder)), flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
