"""What one camera recorded: pictures at 25 fps and the sound with them. Where they come from is its own business."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from jax_talker.data.clip.clip import FPS, SAMPLE_RATE
from jax_talker.data.read.audio import load_sound
from jax_talker.data.read.video import VideoInfo, probe, read_frames


@runtime_checkable
class Footage(Protocol):
    """A recording that can be read again and again, always alike."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def start(self) -> float:
        """Seconds of the source at which the first picture is shown; time codes count from the source's beginning."""
        ...

    @property
    def expected_frames(self) -> int | None:
        """How many pictures there will be, as far as headers tell; for progress bars only."""
        ...

    @property
    def boundaries(self) -> tuple[int, ...]:
        """Numbers of pictures with which a new recording begins, where footage is joined from several; 0 excluded."""
        ...

    @property
    def recording_names(self) -> tuple[str, ...]:
        """What messages call the recordings between ``boundaries``, one more than there are boundaries."""
        ...

    @property
    def alpha_path(self) -> Path | None:
        """A video whose alpha channel cuts the person out of these pictures, where there is one; its time is theirs."""
        ...

    def without(self, recordings: Collection[int]) -> "Footage":
        """The same without some of its recordings (their numbers); at least one is left."""
        ...

    def pictures(self, first: int = 0) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """The pictures at 25 fps from number ``first`` on, [H, W, 3] sRGB."""
        ...

    def sound(self) -> Float32[np.ndarray, " samples"]:
        """16 kHz mono in [−1, 1], its time zero at picture 0."""
        ...

    def files(self) -> tuple[Path, ...]:
        """The files that are read; a job that finds them changed begins anew."""
        ...

    def describe(self) -> Mapping[str, object]:
        """What clip.json says about the source. File names only: folders are nobody else's business."""
        ...


@dataclass(frozen=True)
class VideoFootage:
    """(A part of) a video file, with its own sound or another file's."""

    path: Path
    start: float = 0.0  # s
    duration: float | None = None  # s; None: to the end
    sound_path: Path | None = None  # a file with the video's sound, when the video has none of its own
    info: VideoInfo = field(init=False)
    boundaries: tuple[int, ...] = field(default=(), init=False)

    def __post_init__(self):
        object.__setattr__(self, "info", probe(self.path))

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def recording_names(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def alpha_path(self) -> Path | None:
        return self.path if self.info.has_alpha else None

    def without(self, recordings: Collection[int]) -> "VideoFootage":
        if recordings:
            raise ValueError(f"{self.name} is one recording, it cannot be left out")
        return self

    @property
    def end(self) -> float:
        """Seconds of the source at which the last picture ends, as far as headers tell; else ``start``."""
        whole = max(self.info.duration, self.start)
        return whole if self.duration is None else min(whole, self.start + self.duration)

    @property
    def expected_frames(self) -> int | None:
        return round((self.end - self.start) * FPS) or None

    def pictures(self, first: int = 0) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        return read_frames(self.path, start=self.start, duration=self.duration, first=first)

    def sound(self) -> Float32[np.ndarray, " samples"]:
        return load_sound(self.sound_path or self.path)[round(self.start * SAMPLE_RATE) :]

    def files(self) -> tuple[Path, ...]:
        return (self.path,) if self.sound_path is None else (self.path, self.sound_path)

    def describe(self) -> Mapping[str, object]:
        return {
            "video": self.path.name,
            "fps": self.info.fps,
            "size": list(self.info.size),
            "start": self.start,
            "duration": self.duration,
            "sound": (self.sound_path or self.path).name,
        }
