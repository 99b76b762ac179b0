"""What is wrong or notable in a clip folder, with time codes: ``examine``. Every check is a small function on arrays.

    python -m jax_talker.prepare --check CLIP

Thresholds carry the reason beside them; "the real clips" are May_5s, WDA_KatieHill_000 and expressive_30fps at 256².
What a clip folder does not hold is not guessed: a note says which checks were left out.
"""

from collections.abc import Iterable
from dataclasses import replace

from jax_talker.data.check.doctor.coverage import check_blinks, check_length, check_mouth, check_rotation
from jax_talker.data.check.doctor.hearing import check_hearing, listen
from jax_talker.data.check.doctor.pictures import (
    check_brightness,
    check_exposure,
    check_occlusion,
    check_repeats,
    check_sharpness,
    tones,
)
from jax_talker.data.check.doctor.signals import Signals, read_signals
from jax_talker.data.check.doctor.spans import whole
from jax_talker.data.check.doctor.sync import check_sync, find_lag, loudness, mouth_curve
from jax_talker.data.check.doctor.tracking import check_crop, check_fit, check_found, check_jumps
from jax_talker.data.clip.clip import Clip
from jax_talker.data.clip.findings import Finding, Severity

__all__ = [
    "ORDER",
    "Signals",
    "examine",
    "examine_signals",
    "find_lag",
    "in_order",
    "listen",
    "loudness",
    "mouth_curve",
    "read_signals",
    "start_of",
]

ORDER = (Severity.ERROR, Severity.WARNING, Severity.NOTE)
OF_VIEW = "view {name!r}: {message}"


def examine(clip: Clip, signals: Signals | None = None) -> tuple[Finding, ...]:
    """Everything the doctor finds in a clip and its further views, worst first, then by time.

    Times are seconds of the source (``clip.source["start"]`` plus the clip's own time). Pictures are read only where
    the clip's arrays hold no ``stat_`` numbers; ``signals`` saves reading them again (``read_signals(clip)``).
    """
    start = start_of(clip)
    found = examine_signals(signals or read_signals(clip))
    for name in clip.view_names:
        further = examine_signals(read_signals(clip.view(name), sound=False))
        found += [replace(f, message=OF_VIEW.format(name=name, message=f.message)) for f in further]
    return in_order(replace(f, begin=f.begin + start, end=f.end + start) for f in found)


def examine_signals(signals: Signals) -> list[Finding]:
    """Every check on one camera's curves, in seconds of the clip. Without sound: the checks of a further view."""
    s = signals
    found = [
        *check_rotation(s.pose),
        *check_jumps(s.pose, s.place, tones(s.stats), s.boundaries),
        *check_sharpness(s.stats["sharpness"], s.blink),
        *check_exposure(s.stats["over_exposed"], s.stats["under_exposed"], s.stats["brightness"]),
        *check_brightness(s.stats["brightness"], s.boundaries),
        *check_repeats(s.moved, s.source_fps),
        *check_occlusion(s.stats, s.pose, s.mouth, s.jaw),
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
        found += check_crop(s.crop, s.source_size, s.size, s.boundaries)
    if s.sound is not None:
        found += [*check_length(s.frames), *check_blinks(s.blink), *check_mouth(s.mouth)]
        heard = check_hearing(s.sound, s.frames)
        found += heard
        if any(f.kind in ("no_sound", "no_speech") for f in heard):
            left_out.append("sync of sound and mouth (no speech)")
        else:
            found += check_sync(mouth_curve(s.mouth, s.jaw, s.boundaries), s.sound)
    if left_out:
        message = "not examined, for the clip does not hold what it takes: " + "; ".join(left_out)
        found.append(whole(s.frames, "not_examined", Severity.NOTE, message))
    return found


def start_of(clip: Clip) -> float:
    """Seconds of the source at which the clip begins."""
    start = clip.source.get("start")
    return float(start) if isinstance(start, int | float) else 0.0


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Worst first, then by time."""
    return tuple(sorted(findings, key=lambda f: (ORDER.index(f.severity), f.begin, f.kind)))
