"""One page by which a person can judge a prepared clip: what was found, when, and what it looks like there.

The page stands alone: style sheet, curves and pictures are inside it, there is no script, and a content security policy
forbids it to load anything. Its size does not grow with the clip's length.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import cv2
import numpy as np

from jax_talker.data.camera.pose import jitter
from jax_talker.data.check.contact_sheet import CELL, ROWS, SheetFrame, cells
from jax_talker.data.check.doctor import (
    ORDER,
    Signals,
    find_lag,
    in_order,
    listen,
    loudness,
    mouth_curve,
    read_signals,
    start_of,
)
from jax_talker.data.check.doctor.hearing import Hearing
from jax_talker.data.check.doctor.signals import FIT_SIZE
from jax_talker.data.check.report_style import STYLE
from jax_talker.data.check.svg import Span, timeline
from jax_talker.data.clip.clip import FPS, Clip
from jax_talker.data.clip.findings import Finding, Severity, time_code
from jax_talker.data.track.blink import count_blinks
from jax_talker.data.track.landmarks import LandmarkScheme, scheme_of

MOST_FRAMES = 12  # shown; each is about 50 kB
MOST_FINDINGS = 200  # listed; the worst come first
MOST_SPANS = 150  # shaded in a curve
WHOLE = 0.9  # of the clip; findings that last longer are not shaded, everything would be
QUALITY = 82  # of JPEG
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
POSE = ("yaw", "pitch", "roll")


def html_report(
    clip: Clip, findings: Sequence[Finding], frames: Sequence[SheetFrame], signals: Signals | None = None
) -> str:
    """The page as text (UTF-8) for a clip, what the doctor and the pipeline found in it, and some of its frames.

    Times of ``findings`` are seconds of the source. ``frames`` may be any number (``contact_sheet.clip_frames`` makes
    them from the clip alone, ``worth_showing`` says which); at most MOST_FRAMES are shown. ``signals`` saves reading
    the clip's curves again.
    """
    signals = signals or read_signals(clip)
    heard = listen(signals.sound) if signals.sound is not None else None
    scheme = scheme_of(clip.arrays["landmarks"].shape[1])
    start = start_of(clip)
    name = str(clip.source.get("video") or clip.root.name)
    findings = in_order(findings)
    counts = ", ".join(_counted(findings, severity) for severity in ORDER)
    body = [
        f"<header><h1>{escape(name)}</h1><p>{escape(_summary(clip, signals, heard))}</p></header>",
        "<main>",
        _section("findings", f"Findings: {counts}", _findings(findings)),
        _section("time", "Over time", _timelines(signals, heard, findings, start)),
        _section("frames", "Frames", _frames(frames, scheme, signals, start)),
        _section("jitter", "Steadiness", _jitter(clip, signals)),
        _section("source", "How it was prepared", _source(clip)),
        "</main>",
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(name)}: clip report</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def worth_showing(findings: Sequence[Finding], frames: int, start: float = 0.0, count: int = MOST_FRAMES) -> list[int]:
    """Numbers of at most ``count`` frames: the middle of the worst findings that have a time of their own (no more than
    half), the others evenly spread. ``start``: seconds of the source at frame 0."""
    short = [f for f in in_order(findings) if f.end - f.begin < WHOLE * frames / FPS]
    middles = [round(((f.begin + f.end) / 2 - start) * FPS) for f in short]
    chosen = list(dict.fromkeys(min(max(m, 0), frames - 1) for m in middles))[: count // 2]
    spread = np.linspace(0, frames - 1, min(frames, count - len(chosen))).round().astype(int).tolist()
    return sorted({*chosen, *spread})


# ---------------------------------------------------------------------------------------------------------------------


def _section(anchor: str, title: str, content: str) -> str:
    return f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{escape(title)}</h2>{content}</section>'


def _summary(clip: Clip, signals: Signals, heard: Hearing | None) -> str:
    ranges = zip(POSE, _whole(signals.pose.min(0)), _whole(signals.pose.max(0)), strict=True)
    said = [
        f"{clip.frames} frames ({time_code(signals.seconds)}) at {clip.size}²",
        *(f"{name} {low}…{high}°" for name, low, high in ranges),
        f"{60 * count_blinks(signals.blink) / signals.seconds:.0f} blinks a minute",
    ]
    if signals.fit is not None:
        said.append(f"fit {np.nanmean(signals.fit):.1f} px at {FIT_SIZE}²")
    if heard is not None and signals.sound is not None:
        said.append(f"speech {heard.share:.0%} of the time")
        lag = find_lag(mouth_curve(signals.mouth, signals.jaw, signals.boundaries), loudness(signals.sound))
        if lag is not None and lag.sure:
            said.append(f"sound {lag.seconds * 1000:+.0f} ms after the mouth ({lag.confidence:.1f} σ)")
        else:
            said.append("lag of the sound unknown")
    if clip.view_names:
        said.append(f"further views: {', '.join(clip.view_names)}")
    return ", ".join(said)


def _counted(findings: Iterable[Finding], severity: Severity) -> str:
    number = sum(f.severity is severity for f in findings)
    return f"{number} {severity}{'' if number == 1 else 's'}"


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return "<p>Nothing was found to be wrong.</p>"
    rows = "".join(
        f'<tr><td><span class="badge {f.severity}">{f.severity}</span></td>'
        f'<td class="number">{time_code(f.begin)}–{time_code(f.end)}</td><td><code>{escape(f.kind)}</code></td>'
        f'<td class="words">{escape(f.message)}</td><td class="words">{escape(f.advice)}</td></tr>'
        for f in findings[:MOST_FINDINGS]
    )
    head = "".join(f'<th scope="col">{t}</th>' for t in ("Severity", "Time", "Kind", "What was seen", "What to do"))
    left = len(findings) - MOST_FINDINGS
    more = f"<p>and {left} more, in the clip's findings.json</p>" if left > 0 else ""
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{more}'


def _timelines(signals: Signals, heard: Hearing | None, findings: Sequence[Finding], start: float) -> str:
    spans = [
        Span(f.begin, f.end, str(f.severity), f"{f.kind} {time_code(f.begin)}–{time_code(f.end)}: {f.message}")
        for f in findings
        if f.end - f.begin < WHOLE * signals.seconds
    ][:MOST_SPANS]
    plots: list[tuple[str, Mapping[str, np.ndarray], dict[str, float]]] = [
        ("Head pose, degrees", dict(zip(POSE, signals.pose.T, strict=True)), {}),
        ("Blink, 0 open … 1 closed", {"blink": signals.blink}, {"low": 0.0, "high": 1.0}),
        ("Mouth, gap between the lips over distance from eyes to nose", {"mouth": signals.mouth}, {}),
    ]
    if heard is not None:
        plots.append(("Loudness, dB of full scale", {"loudness": np.maximum(heard.level, -80)}, {"high": 0.0}))
    if signals.crop is not None:
        plots.append(("Size of the head's crop, px of the source", {"crop": signals.crop[:, 2]}, {}))
    else:
        plots.append(("Face size, eyes to nose, px", {"face": signals.face}, {}))
    if signals.fit is not None:
        plots.append((f"Fit of the landmarks, px at {FIT_SIZE}²", {"fit": signals.fit}, {"low": 0.0}))
    plots.append(("Sharpness of the face", {"sharpness": signals.stats["sharpness"]}, {"low": 0.0}))
    plots.append(("Brightness of the face, 0 … 255", {"brightness": signals.stats["brightness"]}, {}))
    shaded = "" if not spans else " Shaded: what the findings are about; rest the pointer on it."
    intro = f"<p>Time is the source's, minutes and seconds.{shaded}</p>"
    end = start + signals.seconds
    return intro + "".join(
        f"<figure><figcaption>{escape(label)}{_legend(curves)}</figcaption>"
        + timeline(curves, label=_described(label, curves), begin=start, end=end, spans=spans, **limits)
        + "</figure>"
        for label, curves, limits in plots
    )


def _legend(curves: Mapping[str, np.ndarray]) -> str:
    if len(curves) < 2:
        return ""
    return "".join(f'<span class="key k{i}">{escape(name)}</span>' for i, name in enumerate(curves))


def _described(label: str, curves: Mapping[str, np.ndarray]) -> str:
    """A curve in words, for who cannot see it."""
    told = (f"{name} from {np.nanmin(v):.3g} to {np.nanmax(v):.3g}" for name, v in curves.items())
    return f"{label} over time: {', '.join(told)}"


def _frames(frames: Sequence[SheetFrame], scheme: LandmarkScheme, signals: Signals, start: float) -> str:
    if not frames:
        return "<p>No pictures were kept for this page.</p>"
    ordered = sorted(frames, key=lambda f: f.index)
    chosen = np.unique(np.linspace(0, len(ordered) - 1, min(len(ordered), MOST_FRAMES)).round().astype(int))
    first = 1 if all(f.source is f.picture for f in frames) else 0  # the source itself is not at hand
    narrow = " narrow" if first else ""
    named = escape(", ".join(ROWS[first:]))
    shown = []
    for frame in (ordered[i] for i in chosen.tolist()):
        when = time_code(start + frame.index / FPS)
        yaw, pitch, roll = _whole(signals.pose[frame.index])
        caption = f"{when}, frame {frame.index}: yaw {yaw}°, pitch {pitch}°, roll {roll}°"
        if signals.found is not None and signals.found[frame.index] <= 0:
            caption += ", landmarks interpolated"
        picture = np.hstack(cells(frame, scheme)[first:])
        shown.append(
            f'<figure class="frame"><img src="{_jpeg(picture)}" width="{picture.shape[1]}" height="{CELL}" '
            f'alt="{named} at {when}"><figcaption>{escape(caption)}</figcaption></figure>'
        )
    return f'<p>From left to right: {named}.</p><div class="frames{narrow}">{"".join(shown)}</div>'


def _jitter(clip: Clip, signals: Signals) -> str:
    """RMS second differences of pose and crop; before smoothing as far as the clip tells (``source["jitter"]``)."""
    stored = clip.source.get("jitter")
    stored = stored if isinstance(stored, Mapping) else {}
    names, tracks = [f"{n}, degrees" for n in POSE], [signals.pose]
    if signals.crop is not None:
        names += ["crop x, source px", "crop y, source px", "crop side, source px"]
        tracks.append(signals.crop)
    own = jitter(np.concatenate(tracks, 1), signals.boundaries)
    before, after = (_numbers(stored.get(k), len(names)) for k in ("before", "after"))
    after = after or own.tolist()
    cell = '<td class="number">{}</td>'
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{cell.format(_shown(b))}{cell.format(_shown(a))}</tr>'
        for name, b, a in zip(names, before or [None] * len(names), after, strict=True)
    )
    head = "".join(f'<th scope="col">{t}</th>' for t in ("RMS second difference", "before smoothing", "in the clip"))
    missing = "" if before else "<p>The clip does not tell what they were before smoothing.</p>"
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{missing}'


def _numbers(stored: object, count: int) -> list[float] | None:
    """The first ``count`` numbers of a stored list, or None when it does not hold them."""
    if not isinstance(stored, list | tuple) or len(stored) < count:
        return None
    return [float(v) for v in stored[:count]] if all(isinstance(v, int | float) for v in stored) else None


def _whole(values: np.ndarray) -> list[int]:
    return [round(float(v)) for v in values]


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _source(clip: Clip) -> str:
    facts = {"folder": clip.root.name, **clip.source}
    rows = "".join(
        f'<tr><th scope="row">{escape(str(name))}</th><td>{escape(_told(value))}</td></tr>'
        for name, value in facts.items()
    )
    return f'<div class="wide"><table><tbody>{rows}</tbody></table></div>'


def _told(value: object, most: int = 12) -> str:
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_told(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        shown = ", ".join(_told(v) for v in value[:most])
        return shown if len(value) <= most else f"{shown}, … ({len(value)} in all)"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _jpeg(pixels: np.ndarray) -> str:
    """A data URI."""
    done, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise ValueError(f"a picture of shape {pixels.shape} could not be written as JPEG")
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode('ascii')}"
