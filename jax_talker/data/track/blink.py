"""How far the eyes are closed: from eyelid landmarks, or from OpenFace's AU45."""

import logging
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Float64

from jax_talker.data.track.landmarks import LandmarkScheme
from jax_talker.data.track.openface import first_person, read_table
from jax_talker.errors import UserError

OPEN_PERCENTILE = 80  # of a clip's lid gaps: people's eyes are open most of the time
CLOSED_PERCENTILE = 1
CLOSED_AT_MOST = 0.4  # of the open gap; a clip without a blink must not stretch its noise to a full range
LOWERED = 0.7  # of the open gap; below this an eye says nothing about how far the open one opens
CALIBRATION_ROUNDS = 8
PITCH_UNIT, YAW_UNIT = 20.0, 30.0  # degrees
POSE_PRIOR = 0.1  # squared ratio of the open gap's scatter (10 %) to what a pose unit may change it by (30 %)
AU45_FULL = 2.0  # ER-NeRF and its successors clip AU45's intensity to [0, 2] and halve it
ROUNDED_STAMPS = 1e-3  # s; OpenFace writes milliseconds
LONGEST_GAP = 1.0  # s without an answer of OpenFace; a longer one may hide blinks

log = logging.getLogger(__name__)


def eye_openness(
    points: Float64[np.ndarray, "T P 2"],
    scheme: LandmarkScheme,
    side: Float64[np.ndarray, " T"],
    pitch: Float64[np.ndarray, " T"],
    *,
    up: Float64[np.ndarray, "T 2"] | None = None,
) -> Float64[np.ndarray, " T"]:
    """Mean gap between the lids of both eyes, as a share of the crop's ``side``, as seen from straight ahead.

    Unlike the eye aspect ratio it is divided by the size of the head, not by the width of the eye, which a turn of the
    head shortens; the gap itself is foreshortened by ``pitch`` (degrees) only. With ``up`` (the head's up direction in
    the picture, y down) gaps are measured along it, so that noise across it does not keep a closed eye open.
    """
    pairs = np.array([*scheme.left_lids, *scheme.right_lids])
    between = points[:, pairs[:, 0]] - points[:, pairs[:, 1]]
    if up is None:
        gaps = np.linalg.norm(between, axis=-1)
    else:
        gaps = np.einsum("tpi,ti->tp", between, up / np.linalg.norm(up, axis=1, keepdims=True))
    return gaps.mean(1) / side / np.cos(np.radians(pitch))


def blink_from_openness(
    openness: Float64[np.ndarray, " T"], pose: Float[np.ndarray, "T D"] | None = None
) -> Float32[np.ndarray, " T"]:
    """0 open … 1 closed, relative to this person in this clip.

    With ``pose`` (degrees: yaw, pitch, …) what a pose does to the gap of open eyes, lids that follow a lowered gaze
    included, is found in the clip and taken out first.
    """
    if pose is not None:
        openness = openness / _open_at(openness, pose)
    open_gap = np.percentile(openness, OPEN_PERCENTILE)
    closed_gap = min(float(np.percentile(openness, CLOSED_PERCENTILE)), CLOSED_AT_MOST * float(open_gap))
    return np.clip((open_gap - openness) / (open_gap - closed_gap), 0, 1).astype(np.float32)


def _open_at(openness: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """The open eyes' gap at each frame's pose [T], relative to that at the clip's mean pose.

    Linear in pitch and in the squares of pitch and yaw; frames with lowered lids drop out in a few rounds.
    """
    yaw, pitch = pose[:, 0] / YAW_UNIT, pose[:, 1] / PITCH_UNIT
    terms = np.stack([pitch, pitch**2, yaw**2], 1)
    terms -= terms.mean(0)
    level, change = float(np.percentile(openness, OPEN_PERCENTILE)), np.zeros(3)
    for _ in range(CALIBRATION_ROUNDS):
        expected = np.maximum(1 + terms @ change, 0.5)
        kept = openness > LOWERED * level * expected
        if not kept.any():
            return np.ones(len(openness))
        rows, relative = terms[kept], openness[kept] / level - 1
        change = np.linalg.solve(rows.T @ rows + POSE_PRIOR * np.eye(3), rows.T @ relative)
        level *= 1 + float(np.median(relative - rows @ change))
    return np.maximum(1 + terms @ change, 0.5)


def count_blinks(blink: Float[np.ndarray, " T"]) -> int:
    """Closures beyond one half, each counted once until the eye has opened again."""
    closed = blink > 0.5
    return int((closed[1:] & ~closed[:-1]).sum() + closed[:1].sum())


def read_openface_blink(
    path: str | Path, frames: int, *, fps: int, start: float = 0.0
) -> Float32[np.ndarray, " frames"]:
    """Blink of each frame from OpenFace's CSV: AU45_r clipped to [0, 2] and halved.

    Rows are found by their time stamp (frame i is at ``start + i/fps`` s of the video that OpenFace saw). A table
    without time stamps must have exactly one row per frame. Of several people (``face_id``) the first is used, and
    rows in which OpenFace failed are interpolated; both are logged. UserError where that leaves more than LONGEST_GAP
    without an answer, or the table is not one (openface.py says which are understood).
    """
    path = Path(path)
    table = first_person(read_table(path))
    times, intensity = table.times, table.intensity
    if times is None:
        if len(intensity) != frames:
            raise UserError(
                f"{path}: {len(intensity)} rows without time stamps, but the clip has {frames} frames at {fps} fps"
            )
        times, wanted = np.arange(frames) / fps, np.arange(frames) / fps
    else:
        wanted = start + np.arange(frames) / fps
        last = times[-1] + (np.median(np.diff(times)) if len(times) > 1 else 0)
        if times[0] > wanted[0] + ROUNDED_STAMPS or wanted[-1] > last + 1 / fps:
            raise UserError(
                f"{path}: covers {times[0]:.2f}–{last:.2f} s, but the clip needs {wanted[0]:.2f}–{wanted[-1]:.2f} s"
            )
    row = np.searchsorted(times, wanted + ROUNDED_STAMPS, side="right") - 1
    used = slice(row[0], row[-1] + 1)
    intensity[used] = _without_gaps(path, times[used], intensity[used])
    return (np.clip(intensity[row], 0, AU45_FULL) / AU45_FULL).astype(np.float32)


def _without_gaps(path: Path, times: np.ndarray, intensity: np.ndarray) -> np.ndarray:
    """Rows without an answer (NaN) interpolated; UserError where too many of them follow each other."""
    known = np.isfinite(intensity)
    if known.all():
        return intensity
    if not known.any():
        raise UserError(f"{path}: OpenFace found no eyes in any row; leave out --blink")
    ends = np.concatenate([times[:1], times[known], times[-1:]])
    longest = int(np.argmax(np.diff(ends)))
    if ends[longest + 1] - ends[longest] > LONGEST_GAP:
        raise UserError(
            f"{path}: OpenFace found no eyes from {ends[longest]:.2f} to {ends[longest + 1]:.2f} s; leave out --blink, "
            "or choose another part of the video"
        )
    log.warning("%s: OpenFace failed in %d of %d rows; their blinks are interpolated", path, (~known).sum(), len(known))
    return np.interp(times, times[known], intensity[known])
