"""MEAD's recordings: which there are, what their headers say, and which of them may be joined into one clip.

    video/<view>/<emotion>/level_<k>/<NNN>.mp4        audio/<emotion>/level_<k>/<NNN>.m4a

Only the end of a path counts, so it does not matter whether it lies in ``video.tar``, in ``video_2.tar`` as
``2/front/…``, in ``video/1.tar`` or in a folder (reference/peers.md G).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError

from jax_talker.data.clip.clip import FPS
from jax_talker.data.read.decoding import moving_pictures
from jax_talker.data.read.mead.archives import Problem, Stored, find_files
from jax_talker.errors import UserError

VIEWS = ("front", "left_30", "left_60", "right_30", "right_60", "top", "down")
EMOTIONS = ("angry", "contempt", "disgusted", "fear", "happy", "neutral", "sad", "surprised")
IDENTITY = re.compile(r"[MW]\d{3}")
CELL = rf"({'|'.join(EMOTIONS)})/level_(\d)/(\d+)"
PICTURE = re.compile(rf"(?:^|/)({'|'.join(VIEWS)})/{CELL}\.mp4$")
SOUND = re.compile(rf"(?:^|/){CELL}\.(?:m4a|wav)$")
MEDIA = (".mp4", ".m4a", ".wav")


@dataclass(frozen=True, order=True)
class Key:
    """What a recording is called; the number says nothing about the sentence (peers.md G)."""

    emotion: str
    level: int
    number: int

    def __str__(self) -> str:
        return f"{self.emotion}/level_{self.level}/{self.number:03d}"


@dataclass(frozen=True)
class Catalogue:
    """Everything of one person. A recording may be stored more than once: in an archive, and unpacked beside it."""

    identity: str
    pictures: Mapping[tuple[str, Key], tuple[Stored, ...]]  # (view, recording)
    sounds: Mapping[Key, tuple[Stored, ...]]
    strangers: tuple[str, ...]  # videos and sounds that lie in none of MEAD's folders
    problems: tuple[Problem, ...]

    @property
    def views(self) -> tuple[str, ...]:
        there = {view for view, _ in self.pictures}
        return tuple(v for v in VIEWS if v in there)

    @property
    def emotions(self) -> tuple[str, ...]:
        there = {key.emotion for _, key in self.pictures}
        return tuple(e for e in EMOTIONS if e in there)

    @property
    def levels(self) -> tuple[int, ...]:
        return tuple(sorted({key.level for _, key in self.pictures}))


def open_catalogue(root: str | Path, identity: str) -> Catalogue:
    """Look through everything that ``root`` holds of ``identity``: its folder, wherever it lies up to one level deep.

    UserError when there is no such folder, with the identities that there are, or no video in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give the one that holds MEAD's M003, W009, …")
    folders = _folders_of(root, identity)
    if not folders:
        there = sorted({f.name for f in _people(root)})
        names = ", ".join(there) if there else "none: it should hold folders called M003, W009, …"
        raise UserError(f"{root}: no identity {identity!r}; there is {names}")
    pictures: dict[tuple[str, Key], tuple[Stored, ...]] = {}
    sounds: dict[Key, tuple[Stored, ...]] = {}
    strangers: list[str] = []
    problems: list[Problem] = []
    for folder in folders:
        files, wrong = find_files(folder)
        problems += wrong
        for stored in files:
            if match := PICTURE.search(stored.name):
                place = match[1], _key(*match.groups()[1:])
                pictures[place] = (*pictures.get(place, ()), stored)
            elif match := SOUND.search(stored.name):
                key = _key(*match.groups())
                sounds[key] = (*sounds.get(key, ()), stored)
            elif stored.name.lower().endswith(MEDIA) and not Path(stored.name).name.startswith("."):
                strangers.append(stored.name)
    if not pictures:
        said = "".join(f"; {p.where}: {p.what}" for p in problems[:3])
        raise UserError(
            f"{folders[0]}: no recording found; it should hold video.tar (or video/) with "
            f"<view>/<emotion>/level_k/NNN.mp4{said}"
        )
    return Catalogue(identity, pictures, sounds, tuple(strangers), tuple(problems))


def spread(keys: Iterable[Key]) -> list[Key]:
    """Recordings in the order in which they are joined: every emotion and level evenly spread over the whole.

    So the held-out tail, and whatever a limit on the length leaves, hold all emotions in their proportions.
    """
    cells: dict[tuple[str, int], list[Key]] = {}
    for key in sorted(keys):
        cells.setdefault((key.emotion, key.level), []).append(key)
    ordered = [((i + 0.5) / len(cell), key) for cell in cells.values() for i, key in enumerate(cell)]
    return [key for _, key in sorted(ordered)]


@dataclass(frozen=True)
class Header:
    """What a file's index says, without decoding it."""

    stored: Stored
    seconds: Fraction
    size: tuple[int, int] = (0, 0)  # width, height; of sound (0, 0)
    rate: float = 0.0  # pictures a second

    @property
    def frames(self) -> int:
        """Pictures at 25 fps: round(seconds · 25), each recording by its own clock."""
        return round(self.seconds * FPS)


def read_header(copies: Sequence[Stored], *, sound: bool) -> Header | str:
    """The first of several copies of a file that is whole; else what is wrong with the first."""
    said = [_read_header(stored, sound) for stored in copies]
    return next((h for h in said if isinstance(h, Header)), said[0])


def _read_header(stored: Stored, sound: bool) -> Header | str:
    if stored.size == 0:
        return "is empty (0 bytes)"
    try:
        with stored.open() as file, av.open(file) as container:
            streams: list[Any] = list(container.streams.audio) if sound else moving_pictures(container)
            if not streams:
                return f"holds no {'sound' if sound else 'picture'}"
            stream = streams[0]
            if not stream.duration or not stream.time_base:
                return "does not say how long it is"
            end = max((entry.pos + entry.size for entry in stream.index_entries), default=0)
            if end > stored.size:
                return f"is cut off: {stored.size} of at least {end} bytes are there"
            seconds = stream.duration * stream.time_base
            if sound:
                return Header(stored, seconds)
            return Header(stored, seconds, (stream.width, stream.height), float(stream.average_rate or 0))
    except (FFmpegError, ValueError) as error:
        return f"is damaged ({getattr(error, 'strerror', None) or error})"


def _key(emotion: str, level: str, number: str) -> Key:
    return Key(emotion, int(level), int(number))


def _people(root: Path) -> list[Path]:
    """Folders named like an identity: root itself, below it, and one level further down (Part0/W021)."""
    near = [p for p in sorted(root.iterdir()) if p.is_dir()]
    further = [p for parent in near if not IDENTITY.fullmatch(parent.name) for p in _folders(parent)]
    return [p for p in (root, *near, *further) if IDENTITY.fullmatch(p.name)]


def _folders(parent: Path) -> list[Path]:
    try:
        return [p for p in sorted(parent.iterdir()) if p.is_dir()]
    except PermissionError:  # somebody else's folder cannot be the one that is asked for
        return []


def _folders_of(root: Path, identity: str) -> list[Path]:
    """One person may be spread over several parts of a download."""
    if not IDENTITY.fullmatch(identity):
        return [root / identity] if identity and (root / identity).is_dir() and "/" not in identity else []
    return [p for p in _people(root.resolve()) if p.name == identity]
