"""Sound that is still going on: a pipe, a microphone, or a file read as if it were one; 16 kHz mono in pieces."""

import os
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import soxr
from av.error import FFmpegError
from av.format import formats_available
from jaxtyping import Float32

from jax_talker.data.clip.clip import SAMPLE_RATE
from jax_talker.data.read.decoding import media_url
from jax_talker.data.read.sound import channels_of
from jax_talker.data.read.stdin import EMPTY, STDIN, check_piped
from jax_talker.errors import UserError

# What FFmpeg calls the sound devices of Linux, macOS and Windows; which of them there are, PyAV's build decides.
DEVICES = ("alsa", "oss", "pulse", "jack", "avfoundation", "dshow")
ALSA_CONFIG = Path("/usr/share/alsa/alsa.conf")


def live_sound(source: str) -> Iterator[Float32[np.ndarray, " n"]]:
    """The sound of ``source``, piece by piece as it comes: "-" for standard input (any format that needs no seeking:
    WAV, MP3, Ogg, MPEG-TS …), a device ("alsa:default", "avfoundation::0"), or a file.

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
    kind, colon, device = source.partition(":")
    has = [name for name in DEVICES if name in formats_available]
    if colon and kind in DEVICES and kind not in has:
        raise UserError(f"{source}: this build of PyAV hears no {kind}, but {', '.join(has) or 'no device at all'}")
    try:
        if source == STDIN:
            check_piped()
            pipe = _Pipe(sys.stdin.buffer)
            if pipe.empty():
                raise UserError(EMPTY)
            return av.open(pipe, "r")
        if colon and kind in DEVICES:
            if kind == "alsa" and ALSA_CONFIG.exists():  # PyAV's wheel looks for it where it was built
                os.environ.setdefault("ALSA_CONFIG_PATH", str(ALSA_CONFIG))
            return av.open(device, "r", format=kind)
        return av.open(media_url(Path(source)), "r")
    except (FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        if colon and kind in DEVICES:
            what = "no such sound device"
        elif len(kind) > 1 and colon and not Path(source).exists():  # one letter is a drive of Windows
            what = f"no file, and no device that this build of PyAV hears: {', '.join(has)}"
        else:
            what = "no sound"
        raise UserError(f"{source}: {what} ({reason})") from None


class _Pipe:
    """Bytes as soon as there are any: a file's own ``read`` waits for all that FFmpeg has room for, a second of sound.

    Ctrl-C while they are waited for ends them, since FFmpeg, which calls this, lets no exception through.
    """

    def __init__(self, pipe: Any):
        self._pipe, self._ended = pipe, False

    def empty(self) -> bool:
        """Whether it has ended before its first byte, which is waited for."""
        return not self._pipe.peek(1)

    def read(self, size: int) -> bytes:
        if self._ended:  # FFmpeg asks more than once
            return b""
        try:
            found = self._pipe.read1(size)
        except KeyboardInterrupt:
            found = b""
        self._ended = not found
        return found


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
