"""Video files in and out, through PyAV: any rate, size and rotation in; H.264 with AAC out, and others (codecs.py).

Time zero is the first picture. ``read_frames`` resamples by time stamps alone: frame i is the picture that a player
shows i/fps seconds after the first, so constant, variable and wrongly announced rates are all treated alike. Times are
fractions, never rounded numbers, so nothing drifts however long a video is.
"""

import contextlib
import logging
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
from jaxtyping import Float32, UInt8

from jax_talker.data.clip.clip import FPS, SAMPLE_RATE
from jax_talker.data.read import decoding
from jax_talker.data.read.codecs import CONTAINERS, SoundCodec, check_transparent, picture_codec, sound_codec
from jax_talker.data.read.live import Tape
from jax_talker.data.read.sound import Sound
from jax_talker.errors import UserError, check_writable

ROUNDED_STAMPS = Fraction(1, 1000)  # s; containers round time stamps, Matroska to a millisecond
BLOCK = 1024  # samples of sound that are written at once
Picture = TypeVar("Picture")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says about itself."""

    path: Path
    fps: float  # average rate of the source
    frames: int  # pictures in the source: from its index, else estimated from rate and duration
    size: tuple[int, int]  # width, height as shown: rotated and with square pixels
    duration: float  # seconds of picture; 0 when the file does not say
    has_sound: bool
    has_alpha: bool  # its first picture is transparent in places
    notes: tuple[str, ...] = ()  # what one should know before training on it: interlaced, HDR, transparent


def probe(path: str | Path) -> VideoInfo:
    """What the file's headers and first picture say. UserError when it is missing, empty, damaged or has no picture."""
    path = Path(path)
    with decoding.open_media(path) as container:
        stream = decoding.picture_stream(container, path)
        _, first = next(decoding.pictures(container, stream, path, Fraction(0)))
        height, width = decoding.upright(first, stream.sample_aspect_ratio).shape[:2]
        duration = float(decoding.announced_seconds(stream, first) or 0)
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        frames = stream.frames or round(duration * rate)
        notes, has_sound = decoding.peculiarities(first), bool(container.streams.audio)
        transparent = decoding.shows_through(first)
        return VideoInfo(path, rate, frames, (width, height), duration, has_sound, transparent, notes)


def read_frames(
    path: str | Path, *, fps: int = FPS, start: float = 0.0, duration: float | None = None, first: int = 0
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The pictures shown at ``start + i/fps`` seconds for i = ``first``, …: [H, W, 3] sRGB, upright, square pixels.

    i ends before round((end − start)·fps), ``end`` being when the last picture ends or ``start + duration``, whichever
    is earlier; Python's round, as for sound, so that picture and sound of equal length agree. Reading from ``first``
    on gives the same pictures as reading all, exactly; none when there are no more. A file that is damaged,
    or ends before its own index says, raises UserError at that place; a ``duration`` that ends earlier never meets it.
    """
    return _read(path, decoding.upright, fps, start, duration, first)


def read_alpha(path: str | Path, *, start: float = 0.0) -> Iterator[UInt8[np.ndarray, "H W"]]:
    """The alpha channels of the pictures that ``read_frames`` gives, 255 being opaque."""
    return _read(path, decoding.upright_alpha, FPS, start, None, 0)


def _read(
    path: str | Path, convert: Callable[..., np.ndarray], fps: int, start: float, duration: float | None, first: int
) -> Iterator[np.ndarray]:
    path, begin = Path(path), _seconds(start)
    most = math.inf if duration is None else round(_seconds(duration) * fps)
    if begin < 0 or most < 1:
        raise UserError(f"{path}: start must be ≥ 0 s and duration at least one frame, not {start:g} and {duration}")
    with decoding.open_media(path) as container:
        stream = decoding.picture_stream(container, path)
        size = probe(path).size  # of the first picture: later ones may differ
        sought, ends, nothing = begin + Fraction(first, fps), Fraction(0), first == 0

        def stamped() -> Iterator[tuple[Fraction, Any]]:
            nonlocal ends
            for time, picture in decoding.pictures(container, stream, path, sought):
                ends = time
                yield time, picture

        for picture in on_beat(stamped(), fps=fps, begin=begin, first=first, most=most):
            nothing = False
            yield convert(picture, stream.sample_aspect_ratio, size)
        if nothing:
            raise UserError(
                f"{path}: the picture ends at {float(ends):.2f} s; there is nothing from {float(begin):g} s on"
            )


def on_beat(
    stamped: Iterable[tuple[Fraction, Picture | None]],
    *,
    fps: int,
    begin: Fraction,
    first: int = 0,
    most: float = math.inf,
) -> Iterator[Picture]:
    """Which of (time, picture) is shown at ``begin + i/fps`` for i = ``first``, …, exactly; see ``read_frames``.

    Times ascend; the last entry says when the last picture ends, its picture is None.
    """
    count, shown = first, None
    waiting: deque[Picture] = deque()  # due, but perhaps beyond the rounded end
    for end, picture in stamped:
        tolerance = ROUNDED_STAMPS if picture is not None else 0
        while shown is not None and begin + Fraction(count + len(waiting), fps) < end - tolerance:
            waiting.append(shown)
        while waiting and count < min(most, round((end - begin) * fps)):
            yield waiting.popleft()
            count += 1
        if count >= most:
            return
        shown = picture


def write_video(
    path: str | Path,
    frames: Iterable[UInt8[np.ndarray, "H W C"]],
    *,
    fps: int = FPS,
    sound: Sound | Tape | Float32[np.ndarray, " samples"] | None = None,
    sound_rate: int = SAMPLE_RATE,
    crf: int = 18,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write frames [H, W, 3] sRGB and sound as H.264 (yuv420p, BT.709) and AAC, or as the suffix says (codecs.py);
    returns the path.

    Frames [H, W, 4] are transparent: sRGB that is not multiplied by their alpha. Sound is mono in [−1, 1] at
    ``sound_rate``, or a file's, which keeps its rate and channels as far as the codec has them.
    Chroma is stored at half size, so an odd width or height is padded by repeating the last column or row. ``crf`` is
    x264's quality, lower is better. The file takes its name only when it is whole; on any error nothing is left.
    """
    path = check_video_path(path).resolve()  # a link stays one
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        options = {} if path.suffix.lower() in (".webm", ".mkv") else {"movflags": "+faststart"}
        with av.open(decoding.media_url(work), "w", options=options) as container:
            container.metadata.update(metadata or {})
            _encode(container, path, iter(frames), fps, sound, sound_rate, crf)
        work.replace(path)
    finally:
        with contextlib.suppress(OSError):  # what went wrong before says more
            work.unlink(missing_ok=True)
    return path


def check_video_path(path: str | Path, *, given: str | Path | None = None, transparent: bool = False) -> Path:
    """UserError unless ``write_video`` can write there: a suffix that it knows (and, for ``transparent`` pictures, one
    that holds them), in a folder that takes files, and not over the file ``given``."""
    path = Path(path)
    if given is not None and path.exists() and Path(given).exists() and path.samefile(given):
        raise UserError(f"{path}: is a file that is read and would be overwritten; name another one to write")
    if path.suffix.lower() not in CONTAINERS:
        raise UserError(f"{path}: cannot write {path.suffix or 'a file without suffix'}; use one of {CONTAINERS}")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name the video to write")
    check_transparent(path, transparent)
    check_writable(path.resolve().parent, path)
    return path


# ---------------------------------------------------------------------------------------------------------------------
# Writing


def _encode(container, path: Path, frames: Iterator[np.ndarray], fps: int, sound, sound_rate: int, crf: int) -> None:
    first = next(frames, None)
    if first is None:
        raise ValueError("no frames to write")
    _check(first, first.shape)
    codec = picture_codec(path, first.shape[2], crf)
    picture = codec.add(container, first.shape, fps)
    track = None if sound is None else _SoundTrack(container, sound_codec(path), sound, sound_rate)
    for count, frame in enumerate(chain([first], frames)):
        _check(frame, first.shape)
        image = codec.frame(frame)
        image.pts, image.time_base = count, Fraction(1, fps)
        container.mux(picture.encode(image))
        if track:
            track.write(until=(count + 1) / fps)
    container.mux(picture.encode(None))
    if track:
        track.write(until=math.inf)
        track.close()


def _seconds(value: float) -> Fraction:
    return Fraction(value).limit_denominator(1_000_000)


def _check(frame: np.ndarray, shape: tuple[int, ...]) -> None:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] not in (3, 4) or frame.shape != shape:
        raise ValueError(
            f"frames must be uint8 [H, W, 3 or 4], all alike; got {frame.dtype} {frame.shape} after {shape}"
        )


class _SoundTrack:
    """Sound beside the picture, written as far as the picture has come, so that the file is interleaved."""

    def __init__(self, container, codec: SoundCodec, sound: Sound | Tape | np.ndarray, rate: int):
        if isinstance(sound, np.ndarray):
            if not np.isfinite(sound).all():
                raise ValueError("sound holds values that are not finite")
            mono = np.clip(sound, -1, 1).astype(np.float32)[None]
            layout, blocks = "mono", (mono[:, i : i + BLOCK] for i in range(0, len(sound), BLOCK))
        else:
            rate, layout, blocks = sound.rate, sound.layout, sound.blocks()
            if not codec.has(rate, layout):
                log.warning(
                    "%s: %s has no %s; it is written as mono",
                    sound.path,
                    codec.name.removeprefix("lib").upper(),
                    layout,
                )
                layout, blocks = "mono", (block[None] for block in sound.mono())
        self._container, self._rate, self._layout, self._blocks = container, rate, layout, blocks
        self._written = 0
        bit_rate = (128_000 if rate > 32_000 else 96_000) * av.AudioLayout(layout).nb_channels
        self._stream = container.add_stream(codec.name, rate=codec.rate(rate), layout=layout, bit_rate=bit_rate)

    def write(self, until: float) -> None:
        """PyAV cuts blocks to the encoder's size, and brings them to its rate."""
        while self._written < until * self._rate and (block := next(self._blocks, None)) is not None:
            if block.shape[1]:
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.T).reshape(1, -1), "flt", self._layout)
                frame.sample_rate, frame.pts, frame.time_base = self._rate, self._written, Fraction(1, self._rate)
                self._container.mux(self._stream.encode(frame))
                self._written += frame.samples

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
