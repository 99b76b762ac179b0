"""One camera of a MEAD person: many short recordings joined into one footage at 25 fps."""

import bisect
import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from jax_talker.data.clip.clip import FPS, SAMPLE_RATE
from jax_talker.data.read.audio import load_sound
from jax_talker.data.read.mead.archives import Stored
from jax_talker.data.read.mead.recordings import Key
from jax_talker.data.read.video import read_frames
from jax_talker.errors import UserError


@dataclass(frozen=True)
class Recording:
    """A recording's place in the joined clip; the same for every camera."""

    key: Key
    first: int  # number of its first picture
    frames: int
    sound: Stored


@dataclass(frozen=True)
class MeadFootage:
    """Pictures of one view, recording after recording, with their sound. Satisfies ``data.read.footage.Footage``.

    Every recording keeps its own clock: it gives exactly ``frames`` pictures and frames · 640 samples; nothing drifts.
    """

    identity: str
    view: str
    recordings: tuple[Recording, ...]
    videos: tuple[Stored, ...]  # one for each recording
    fps: float  # of the source
    size: tuple[int, int]  # of the source: width, height
    start: float = 0.0  # s

    @property
    def name(self) -> str:
        return f"{self.identity} {self.view}"

    @property
    def expected_frames(self) -> int:
        return self.recordings[-1].first + self.recordings[-1].frames

    @property
    def boundaries(self) -> tuple[int, ...]:
        return tuple(r.first for r in self.recordings[1:])

    @property
    def alpha_path(self) -> None:
        return None

    @property
    def recording_names(self) -> tuple[str, ...]:
        return tuple(str(r.key) for r in self.recordings)

    def without(self, recordings: Collection[int]) -> "MeadFootage":
        kept = [i for i in range(len(self.recordings)) if i not in recordings]
        firsts = itertools.accumulate((self.recordings[i].frames for i in kept), initial=0)
        joined = [replace(self.recordings[i], first=first) for i, first in zip(kept, firsts, strict=False)]
        return replace(self, recordings=tuple(joined), videos=tuple(self.videos[i] for i in kept))

    def pictures(self, first: int = 0) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """[H, W, 3] sRGB from picture ``first`` on. A start in the middle decodes at most one recording in vain."""
        begin = max(0, bisect.bisect_right([r.first for r in self.recordings], first) - 1)
        for recording, video in itertools.islice(zip(self.recordings, self.videos, strict=True), begin, None):
            skipped, given = max(0, first - recording.first), 0
            with video.as_file() as path, self._named(recording, str(path)):
                for picture in itertools.islice(read_frames(path), recording.frames):
                    given += 1
                    if given > skipped:
                        yield picture
            if given < recording.frames:
                raise UserError(
                    f"{self._where(recording)}: gives {given} pictures at {FPS} fps where its index says "
                    f"{recording.frames}; {self._leave_out(recording)}"
                )

    def sound(self) -> Float32[np.ndarray, " samples"]:
        """16 kHz mono in [−1, 1]: each recording's sound cut, or filled with silence, to exactly its pictures."""
        joined = np.zeros(self.expected_frames * SAMPLE_RATE // FPS, np.float32)
        for recording in self.recordings:
            first, most = (n * SAMPLE_RATE // FPS for n in (recording.first, recording.frames))
            with recording.sound.as_file() as path, self._named(recording, str(path)):
                heard = load_sound(path)[:most]
            joined[first : first + len(heard)] = heard
        return joined

    def files(self) -> tuple[Path, ...]:
        """The archives and files that are read."""
        stored = (*self.videos, *(r.sound for r in self.recordings))
        return tuple(sorted({s.path for s in stored}))

    def describe(self) -> Mapping[str, object]:
        """For clip.json: where every recording lies in the joined clip."""
        return {
            "video": self.name,
            "fps": self.fps,
            "size": list(self.size),
            "start": self.start,
            "duration": self.expected_frames / FPS,
            "sound": f"{self.identity} audio",
            "dataset": "MEAD",
            "identity": self.identity,
            "view": self.view,
            "recordings": [{"name": str(r.key), "first": r.first, "frames": r.frames} for r in self.recordings],
        }

    def _where(self, recording: Recording) -> str:
        return f"{self.identity} {self.view}/{recording.key}"

    def _leave_out(self, recording: Recording) -> str:
        return f"download it again, or leave it out ({recording.key})"

    def _named(self, recording: Recording, path: str) -> "_Renamed":
        return _Renamed(path, self._where(recording), self._leave_out(recording))


class _Renamed:
    """Errors about a copy of a recording speak of the recording, and of what can be done about it here."""

    def __init__(self, path: str, name: str, advice: str):
        self._path, self._name, self._advice = path, name, advice

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UserError):
            said = str(error).replace(self._path, self._name).split("; ")[0]
            raise UserError(f"{said}; {self._advice}") from None
