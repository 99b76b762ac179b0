"""What is wrong or notable in a clip folder, with time codes: ``examine``. Every check is a small function on arrays.

    python -m jax_talker.prepare --check CLIP

Thresholds carry the reason beside them; "the real clips" are May_5s, WDA_KatieHill_000 and expressive_30fps at 256².
What a clip folder does not hold is not guessed: a note says which checks were left out.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from jax_talker.data.clip import Clip
from jax_talker.data.doctor.coverage import check_blinks, check_length, check_mouth, check_rotation
from jax_talker.data.doctor.hearing import check_hearing, listen
from jax_talker.data.doctor.pictures import (
    check_brightness,
    check_exposure,
    check_occlusion,
    check_repeats,
    check_sharpness,
    tones,
)
from jax_talker.data.doctor.signals import Signals, read_signals
from jax_talker.data.doctor.spans import whole
from jax_talker.data.doctor.sync import check_sync, find_lag, loudness, mouth_curve
from jax_talker.data.doctor.tracking import check_crop, check_fit, check_found, check_jumps
from jax_talker.data.findings import Finding, Severity
from jax_talker.data.landmarks import scheme_of

__all__ = ["Signals", "examine", "examine_signals", "find_lag", "listen", "loudness", "mouth_curve", "read_signals"]

ORDER = (Severity.ERROR, Severity.WARNING, Severity.NOTE)
VISIBLE = "view {name!r}: {message}"


def examine(clip: Clip) -> tuple[Finding, ...]:
    """Everything the doctor finds in a clip and its further views, worst first, then by time.

    Times are seconds of the source (``clip.source["start"]`` plus the clip's own time). Pictures are read only where
    the clip's arrays hold no ``stat_`` numbers.
    """
    start = clip.source.get("start")
    offset = float(start) if isinstance(start, int | float) else 0.0
    found = examine_signals(read_signals(clip))
    for name in clip.view_names:
        further = examine_signals(read_signals(clip.view(name), sound=False))
        found += [replace(f, message=VISIBLE.format(name=name, message=f.message)) for f in further]
    shifted = (replace(f, begin=f.begin + offset, end=f.end + offset) for f in found)
    return in_order(shifted)


def examine_signals(signals: Signals) -> list[Finding]:
    """Every check on one camera's curves, in seconds of the clip. Without sound: the checks of a further view."""
    s = signals
    found = [
        *check_rotation(s.pose),
        *check_jumps(s.pose, _place(s), tones(s.stats), s.joins),
        *check_sharpness(s.stats["sharpness"]),
        *check_exposure(s.stats["over_exposed"], s.stats["under_exposed"]),
        *check_brightness(s.stats["brightness"], s.joins),
        *check_repeats(_moved(s), s.source_fps),
        *check_occlusion(s.stats, s.pose[:, 0]),
    ]
    left_out = []
    if s.found is None:
        left_out.append("lost frames (no confidence)")
    else:
        found += check_found(s.found)
    if s.fit is None:
        left_out.append("fit of the landmarks (no fit_error)")
    else:
        found += check_fit(s.fit)
    if s.crop is None or s.source_size is None:
        left_out.append("crop beyond the picture, enlarged crop, change of size (no crop or size of the source)")
    else:
        found += check_crop(s.crop, s.source_size, s.size)
    if s.sound is not None:
        found += [*check_length(s.frames), *check_blinks(s.blink), *check_mouth(s.mouth)]
        heard = check_hearing(s.sound, s.frames)
        found += heard
        if any(f.kind in ("no_sound", "no_speech") for f in heard):
            left_out.append("sync of sound and mouth (no speech)")
        else:
            found += check_sync(mouth_curve(s.mouth, s.jaw), s.sound)
    if left_out:
        message = "not examined, for the clip does not hold what it takes: " + "; ".join(left_out)
        found.append(whole(s.frames, "not_examined", Severity.NOTE, message))
    return found


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Worst first, then by time."""
    return tuple(sorted(findings, key=lambda f: (ORDER.index(f.severity), f.begin, f.kind)))


# ---------------------------------------------------------------------------------------------------------------------


def _in_source(signals: Signals) -> Float[np.ndarray, "T P 2"]:
    """Landmarks in sides of the crop, where the camera saw them: the crop follows the head, the source does not."""
    points = signals.landmarks / signals.size
    if signals.crop is None:
        return points
    side = signals.crop[:, 2]
    usual = float(np.median(side))
    return (points - 0.5) * (side / usual)[:, None, None] + signals.crop[:, None, :2] / usual


def _place(signals: Signals) -> Float[np.ndarray, "T 2"]:
    points = _in_source(signals)
    return scheme_of(points.shape[1]).anchors(points)[:, :3].mean(1)


def _moved(signals: Signals) -> Float[np.ndarray, " T"]:
    points = _in_source(signals)
    moved = np.full(len(points), np.nan)
    moved[1:] = np.abs(np.diff(points, axis=0)).mean((1, 2))
    moved[list(signals.joins)] = np.nan
    return moved
