"""What is judged: a sequence of pictures at 25 fps that can be gone through again, with its sound where it has one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from jax_talker.data.clip.clip import FPS
from jax_talker.data.read.audio import load_sound
from jax_talker.data.read.video import probe, read_frames


@dataclass(frozen=True)
class Pictures:
    """Pictures [H, W, 3] uint8 sRGB, made or read anew by every call of ``frames``; nothing holds all of them."""

    name: str
    frames: Callable[[], Iterator[UInt8[np.ndarray, "H W 3"]]]
    expected: int | None = None  # how many, for progress bars
    sound: Callable[[], Float32[np.ndarray, " samples"]] | None = None  # 16 kHz mono; time 0 is the first picture
    video: str = ""  # its file's name, without ending, where an outside program is to see it


def of_video(path: str | Path, sound: str | Path | None = None) -> Pictures:
    """A video file's pictures at 25 fps, as a player shows them; its sound, or that of the file ``sound``.

    Raises UserError when there is no such video, or when it is damaged.
    """
    info = probe(path)
    heard = sound if sound is not None else (path if info.has_sound else None)
    return Pictures(
        name=str(path),
        frames=lambda: read_frames(path),
        expected=round(info.duration * FPS) or None,
        sound=None if heard is None else lambda: load_sound(heard),
    )
