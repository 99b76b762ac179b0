"""Sound that is still going on: a pipe, a microphone, or a file read as if it were one; 16 kHz mono in pieces."""

import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import soxr
from av.error import FFmpegError
from jaxtyping import Float32

from jax_talker.data.clip.clip import SAMPLE_RATE
from jax_talker.data.read.decoding import media_url
from jax_talker.data.read.sound import channels_of
from jax_talker.data.read.stdin import STDIN
from jax_talker.errors import UserError

# What FFmpeg calls the sound devices of Linux, macOS and Windows.
DEVICES = ("alsa", "pulse", "avfoundation", "dshow")


def live_sound(source: str) -> Iterator[Float32[np.ndarray, " n"]]:
    """The sound of ``source``, piece by piece as it comes: "-" for standard input (any format that needs no seeking:
    WAV, MP3, Ogg, MPEG-TS …), a device ("alsa:default", "pulse:default", "avfoundation::0"), or a file.

    Channels are averaged: which of them carries the voice cannot be known before they were heard. UserError where
    nothing can be read.
    """
    with _opened(source) as container:
        if not container.streams.audio:
            raise UserError(f"{source}: has no sound")
        resampler, rate = None, SAMPLE_RATE
        try:
            for frame in container.decode(audio=0):
                mono = np.clip(channels_of(frame), -1, 1).mean(0)
                if resampler is None:
                    rate = frame.sample_rate
                    resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
                if frame.sample_rate != rate:
                    raise UserError(f"{source}: its sampling rate changes from {rate} to {frame.sample_rate} Hz")
                if not np.isfinite(mono).all():
                    raise UserError(f"{source}: its sound holds values that are not numbers")
                yield mono if rate == SAMPLE_RATE else resampler.resample_chunk(np.ascontiguousarray(mono))
        except FFmpegError as error:
            raise UserError(f"{source}: its sound is damaged ({error.strerror})") from None
        if resampler is not None and rate != SAMPLE_RATE:
            yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _opened(source: str) -> Any:
    kind, _, device = source.partition(":")
    try:
        if source == STDIN:
            return av.open(sys.stdin.buffer, "r")
        if kind in DEVICES:
            return av.open(device, "r", format=kind)
        return av.open(media_url(Path(source)), "r")
    except (FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        what = "no such sound device, or this build of PyAV knows none" if kind in DEVICES else "no sound"
        raise UserError(f"{source}: {what} ({reason})") from None


class Tape:
    """What was heard so far, for a video that is written meanwhile (video.write_video)."""

    path, rate, layout = Path("live sound"), SAMPLE_RATE, "mono"

    def __init__(self):
        self._blocks: deque[np.ndarray] = deque()

    def add(self, block: Float32[np.ndarray, " n"]) -> None:
        self._blocks.append(block)

    def blocks(self) -> Iterator[Float32[np.ndarray, "1 n"]]:
        """What was added and not given yet; sound is always ahead of the picture."""
        while self._blocks:
            yield self._blocks.popleft()[None]

    def mono(self) -> Iterator[Float32[np.ndarray, " n"]]:
        """The same."""
        return (block[0] for block in self.blocks())
