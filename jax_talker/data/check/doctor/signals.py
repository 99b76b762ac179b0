"""What the doctor looks at: curves over time, read off a clip folder or worked out from what it holds."""

import itertools
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from jax_talker import geometry
from jax_talker.data.camera.pose import euler_angles
from jax_talker.data.clip.clip import FPS, Clip
from jax_talker.data.cut.picture_stats import STAT_NAMES, picture_stats
from jax_talker.data.track.landmarks import LandmarkScheme, scheme_of

STAT = "stat_"  # what the arrays of picture_stats are called in a clip
FIT_SIZE = 512  # px; fit errors are said at this size, whatever the clip's


@dataclass(frozen=True)
class Signals:
    """A clip's curves; None where the clip does not know. All lengths are T but the sound's."""

    frames: int
    size: int  # px of the clip
    pose: Float[np.ndarray, "T 3"]  # degrees: yaw, pitch, roll
    blink: Float[np.ndarray, " T"]  # 0 open … 1 closed
    mouth: Float[np.ndarray, " T"]  # gap between the inner lips, in distances from the eyes to the nose's base
    jaw: Float[np.ndarray, " T"]  # from the nose's base to the chin, in the same unit
    stats: Mapping[str, Float[np.ndarray, " T"]]  # picture_stats.STAT_NAMES
    place: Float[np.ndarray, "T 2"]  # of eyes and nose in the source, in sides of the crop
    moved: Float[np.ndarray, " T"]  # mean motion of landmarks since the frame before, same unit; NaN where none is
    face: Float[np.ndarray, " T"]  # distance from the eyes to the nose's base, px of the clip
    sound: Float[np.ndarray, " samples"] | None = None  # 16 kHz; None for a further camera
    crop: Float[np.ndarray, "T 3"] | None = None  # centre x, y and side, px of the source
    source_size: tuple[int, int] | None = None  # px, width and height
    source_fps: float | None = None
    found: Float[np.ndarray, " T"] | None = None  # the landmarker's confidence; 0 where it was interpolated
    fit: Float[np.ndarray, " T"] | None = None  # px at FIT_SIZE between rigid landmarks and the pose's projection
    boundaries: Sequence[int] = ()  # frames with which another recording begins

    @property
    def seconds(self) -> float:
        return self.frames / FPS


def read_signals(clip: Clip, *, sound: bool = True) -> Signals:
    """Everything the checks need. Pictures are read only where the clip holds no ``stat_`` arrays."""
    arrays = clip.arrays
    points = arrays["landmarks"]
    scheme = scheme_of(points.shape[1])
    mouth, jaw = mouth_and_jaw(points, scheme)
    crop = arrays.get("crop")
    fit = arrays.get("fit_error")
    found = arrays.get("confidence")
    boundaries = clip.boundaries
    seen = _in_source(points, scheme, clip.size, crop)
    moved = np.full(clip.frames, np.nan)
    moved[1:] = np.abs(np.diff(seen, axis=0)).mean((1, 2))
    moved[list(boundaries)] = np.nan
    return Signals(
        frames=clip.frames,
        size=clip.size,
        pose=_pose(arrays),
        blink=arrays["blink"].astype(np.float64),
        mouth=mouth,
        jaw=jaw,
        stats=_stats(clip, scheme),
        place=seen[:, :3].mean(1),
        moved=moved,
        face=_face_size(points, scheme),
        sound=clip.audio() if sound else None,
        crop=None if crop is None else crop.astype(np.float64),
        source_size=_size(clip.source.get("size")),
        source_fps=_number(clip.source.get("fps")),
        found=None if found is None else found.astype(np.float64),
        fit=None if fit is None else fit.astype(np.float64) * (FIT_SIZE / clip.size),
        boundaries=boundaries,
    )


def mouth_and_jaw(
    points: Float[np.ndarray, "T P 2"], scheme: LandmarkScheme
) -> tuple[Float[np.ndarray, " T"], Float[np.ndarray, " T"]]:
    """How far the lips are apart and how far down the chin is, in distances from the eyes to the nose's base.

    Both are measured along the face's own vertical. The unit is the clip's median, so that its noise does not enter;
    the head's size in the crop is constant anyway.
    """
    nose, eyes = scheme.named(points, "nose_base"), scheme.anchors(points)[:, :2].mean(1)
    length = np.linalg.norm(nose - eyes, axis=-1)
    down = (nose - eyes) / np.maximum(length, 1e-6)[:, None]
    unit = max(float(np.median(length)), 1e-6)
    inner = points[:, list(scheme.eyes_and_lips[-1])]
    count = inner.shape[1]
    one, other = np.arange(1, count // 2), count - np.arange(1, count // 2)  # the contour begins in a corner
    gap = np.einsum("tkd,td->tk", inner[:, one] - inner[:, other], down).mean(1)
    gap = gap if gap.sum() >= 0 else -gap  # schemes go around the lips either way
    jaw = np.einsum("td,td->t", scheme.named(points, "chin") - nose, down)
    return gap / unit, jaw / unit


# ---------------------------------------------------------------------------------------------------------------------


def _face_size(points: np.ndarray, scheme: LandmarkScheme) -> np.ndarray:
    return np.linalg.norm(scheme.named(points, "nose_base") - scheme.anchors(points)[:, :2].mean(1), axis=-1)


def _in_source(points: np.ndarray, scheme: LandmarkScheme, size: int, crop: np.ndarray | None) -> np.ndarray:
    """Eyes, nose tip and what else shows motion [T, K, 2], in sides of the crop, where the camera saw it: the crop
    follows the head, the source does not."""
    some = list(dict.fromkeys([*scheme.rigid, *scheme.eyes_and_lips[-1], *scheme.eyes_and_lips[-2]]))
    seen = np.concatenate([scheme.anchors(points)[:, :3], points[:, some]], 1).astype(np.float64) / size
    if crop is None:
        return seen
    side = crop[:, 2].astype(np.float64)
    usual = float(np.median(side))
    return (seen - 0.5) * (side / usual)[:, None, None] + crop[:, None, :2] / usual


def _pose(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    if "pose" in arrays:
        return arrays["pose"].astype(np.float64)
    world_from_cam = geometry.split_label(arrays["label"].astype(np.float64))[0][:, :3, :3]
    return euler_angles(world_from_cam.swapaxes(1, 2))


def _stats(clip: Clip, scheme: LandmarkScheme) -> dict[str, np.ndarray]:
    if all(STAT + name in clip.arrays for name in STAT_NAMES):
        return {name: clip.arrays[STAT + name].astype(np.float64) for name in STAT_NAMES}

    def look(index: int) -> dict[str, float]:
        return picture_stats(clip.image(index), clip.arrays["landmarks"][index].astype(np.float64), scheme)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        rows = list(itertools.chain.from_iterable(pool.map(look, chunk) for chunk in _chunks(clip.frames)))
    return {name: np.array([row[name] for row in rows]) for name in STAT_NAMES}


def _chunks(frames: int, length: int = 256):
    """Ranges that cover ``frames``: a pool takes in everything at once that it is given."""
    return (range(first, min(first + length, frames)) for first in range(0, frames, length))


def _size(stored: object) -> tuple[int, int] | None:
    if isinstance(stored, list | tuple) and len(stored) == 2 and all(isinstance(n, int) and n > 0 for n in stored):
        return (int(stored[0]), int(stored[1]))
    return None


def _number(stored: object) -> float | None:
    return float(stored) if isinstance(stored, int | float) and stored > 0 else None
