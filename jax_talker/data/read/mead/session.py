"""Which of a person's recordings may be joined, and the joined footage of every camera."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jax_talker.data.clip.clip import FPS
from jax_talker.data.clip.findings import Finding, Severity
from jax_talker.data.read.mead.footage import MeadFootage, Recording
from jax_talker.data.read.mead.recordings import Catalogue, Header, Key, open_catalogue, read_header, spread
from jax_talker.errors import UserError

FRONT = "front"
VIEW_SLACK = 2  # frames at 25 fps by which a recording's views may differ; they are cut to the shortest
SOUND_SLACK = 0.2  # s by which sound and picture may differ; AAC rounds up to 46 ms, MEAD's cutting to less


@dataclass(frozen=True)
class MeadSession:
    """One person's synchronised cameras. All footage has the same recordings, pictures and sound."""

    identity: str
    footage: Mapping[str, MeadFootage]  # by view, the front first
    findings: tuple[Finding, ...]  # what was left out, by name; times are the joined clip's
    catalogue: Catalogue

    @property
    def recordings(self) -> tuple[Recording, ...]:
        return self.footage[FRONT].recordings

    def summary(self) -> str:
        """``M003: 48 recordings, 3:12 min, 5 views (front, …); 2 left out``."""
        frames = self.footage[FRONT].expected_frames
        minutes, seconds = divmod(round(frames / FPS), 60)
        left_out = sum(f.severity is Severity.WARNING for f in self.findings)
        return (
            f"{self.identity}: {len(self.recordings)} recordings, {minutes}:{seconds:02d} min, "
            f"{len(self.footage)} views ({', '.join(self.footage)}); {left_out or 'nothing'} left out"
        )


def open_mead(
    root: str | Path,
    identity: str,
    views: Sequence[str] = (FRONT,),
    emotions: Sequence[str] | None = None,
    levels: Sequence[int] | None = None,
    *,
    most_seconds: float | None = None,
    leave_out: Iterable[str] = (),
) -> MeadSession:
    """Join a person's recordings that all ``views`` and the microphone have, of equal length; docs/prepare.md has more.

    Archives are read where they lie; nothing is unpacked. ``emotions`` and ``levels`` are all that there are when None,
    ``leave_out`` names recordings ("angry/level_1/001"). Recordings are refused by name in ``findings`` when a view or
    the sound is missing or damaged, when views differ by more than 2 frames (they are synchronous only if they are
    equally long) or sound and picture by more than 0.2 s, or when their picture size is not the view's usual one.

    UserError: unknown identity, view, emotion or level, with those that there are; or nothing is left to join.
    """
    if most_seconds is not None and most_seconds <= 0:
        raise UserError(f"the most seconds of a clip must be positive, not {most_seconds:g}")
    catalogue = open_catalogue(root, identity)
    views = _views(catalogue, views)
    keys = _wanted(catalogue, views, emotions, levels, leave_out)
    read = {key: _headers(catalogue, views, key) for key in keys}
    usual = _usual_sizes([found for found in read.values() if not isinstance(found, _Refusal)])
    recordings: list[Recording] = []
    videos: list[Sequence[Header]] = []
    findings = _notes(catalogue)
    at = 0
    for key in keys:
        found = read[key]
        if not isinstance(found, _Refusal):
            found = _mismatch(found, views, usual, key) or found
        if isinstance(found, _Refusal):
            advice = "the rest is used"
            message = f"{identity} {found.what}"
            findings.append(Finding(found.kind, Severity.WARNING, at / FPS, at / FPS, message, advice))
            continue
        *pictures, sound = found
        frames = min(header.frames for header in pictures)
        if most_seconds is not None and at + frames > most_seconds * FPS and recordings:
            break
        recordings.append(Recording(key, at, frames, sound.stored))
        videos.append(pictures)
        at += frames
    if not recordings:
        said = "; ".join(f.message for f in findings if f.severity is Severity.WARNING)
        raise UserError(f"{root}: no recording of {identity} is whole in {', '.join(views)} and sound: {said[:400]}")
    footage = {
        view: MeadFootage(
            identity, view, tuple(recordings), tuple(v[i].stored for v in videos), videos[0][i].rate, usual[i]
        )
        for i, view in enumerate(views)
    }
    return MeadSession(identity, footage, tuple(findings), catalogue)


# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Refusal:
    """Why a recording is left out."""

    kind: str  # of the finding
    what: str  # names the recording


def _views(catalogue: Catalogue, wanted: Sequence[str]) -> list[str]:
    """The wanted views, the front first."""
    _check("view", wanted, catalogue.views, catalogue.identity)
    if FRONT not in wanted:
        raise UserError(f"views {', '.join(wanted) or '(none)'}: {FRONT} must be among them, it is the one trained on")
    return [FRONT, *dict.fromkeys(v for v in wanted if v != FRONT)]


def _wanted(
    catalogue: Catalogue,
    views: Sequence[str],
    emotions: Sequence[str] | None,
    levels: Sequence[int] | None,
    leave_out: Iterable[str],
) -> list[Key]:
    """The recordings that at least one of the views has, in the order in which they are joined."""
    keys = {key for view, key in catalogue.pictures if view in views}
    if emotions is not None:
        _check("emotion", emotions, catalogue.emotions, catalogue.identity)
        keys = {key for key in keys if key.emotion in emotions}
    if levels is not None:
        _check("level", [str(k) for k in levels], [str(k) for k in catalogue.levels], catalogue.identity)
        keys = {key for key in keys if key.level in levels}
    names = {str(key): key for key in keys}
    if unknown := sorted(set(leave_out) - names.keys()):
        raise UserError(f"{catalogue.identity}: no recording {unknown[0]!r} to leave out; they are called {min(names)}")
    return spread(keys - {names[name] for name in leave_out})


def _check(what: str, wanted: Sequence[str], there: Sequence[str], identity: str) -> None:
    if unknown := [w for w in wanted if w not in there]:
        raise UserError(f"{identity}: no {what} {', '.join(map(repr, unknown))}; there is {', '.join(there)}")
    if not wanted:
        raise UserError(f"{identity}: no {what} is asked for; there is {', '.join(there)}")


def _headers(catalogue: Catalogue, views: Sequence[str], key: Key) -> list[Header] | _Refusal:
    """Headers of the recording's views, then of its sound."""
    found = []
    for view in views:
        copies = catalogue.pictures.get((view, key))
        if copies is None:
            return _Refusal("view_missing", f"{view}/{key}: there is no such video")
        header = read_header(copies, sound=False)
        if isinstance(header, str):
            return _Refusal("damaged", f"{view}/{key}: the video {header}")
        if header.frames < 1:
            return _Refusal(
                "damaged", f"{view}/{key}: the video lasts {float(header.seconds):.3f} s, less than a frame"
            )
        found.append(header)
    if key not in catalogue.sounds:
        return _Refusal("sound_missing", f"audio/{key}: there is no sound for this video")
    header = read_header(catalogue.sounds[key], sound=True)
    if isinstance(header, str):
        return _Refusal("damaged", f"audio/{key}: the sound {header}")
    return [*found, header]


def _usual_sizes(found: Sequence[Sequence[Header]]) -> list[tuple[int, int]]:
    """The most frequent picture size of every view."""
    return [Counter(h.size for h in headers).most_common(1)[0][0] for headers in list(zip(*found, strict=True))[:-1]]


def _mismatch(
    found: Sequence[Header], views: Sequence[str], usual: Sequence[tuple[int, int]], key: Key
) -> _Refusal | None:
    *pictures, sound = found
    frames = [header.frames for header in pictures]
    for view, header, size in zip(views, pictures, usual, strict=True):
        if header.size != size:
            seen, normal = ("×".join(map(str, s)) for s in (header.size, size))
            return _Refusal("size_differs", f"{view}/{key}: its pictures are {seen}, the others' {normal}")
    if max(frames) - min(frames) > VIEW_SLACK:
        lengths = ", ".join(f"{view} {float(h.seconds):.2f} s" for view, h in zip(views, pictures, strict=True))
        return _Refusal("views_differ", f"{key}: its views are not equally long, so not synchronous: {lengths}")
    if abs(float(sound.seconds) - min(frames) / FPS) > SOUND_SLACK:
        lengths = f"sound {float(sound.seconds):.2f} s, picture {min(frames) / FPS:.2f} s"
        return _Refusal("sound_differs", f"{key}: sound and picture are not equally long: {lengths}")
    return None


def _notes(catalogue: Catalogue) -> list[Finding]:
    """What is wrong with archives, and files that are not where MEAD has them."""
    broken = [
        Finding("archive", Severity.WARNING, 0, 0, f"{catalogue.identity}/{p.where}: {p.what}", "the rest is used")
        for p in catalogue.problems
    ]
    if not catalogue.strangers:
        return broken
    message = (
        f"{catalogue.identity}: {len(catalogue.strangers)} videos or sounds lie in none of MEAD's folders and are left "
        f"out, the first is {catalogue.strangers[0]}"
    )
    return [*broken, Finding("unknown_files", Severity.NOTE, 0, 0, message)]
