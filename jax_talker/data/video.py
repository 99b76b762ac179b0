"""Video files in and out, through PyAV: any rate, size and rotation in; H.264 with AAC sound out.

Time zero is the first picture. ``read_frames`` resamples by time stamps alone: frame i is the picture that a player
shows i/fps seconds after the first, so constant, variable and wrongly announced rates are all treated alike.
"""

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.stream import Disposition
from av.video.reformatter import ColorRange, Colorspace
from jaxtyping import Float32, UInt8

from jax_talker.data.clip import FPS, SAMPLE_RATE
from jax_talker.errors import UserError

ROUNDED_STAMPS = Fraction(1, 1000)  # s; containers round time stamps, Matroska to a millisecond
CUT_SHORT = Fraction(1, 5)  # s; this much less picture than the index announces means that the file was cut off
SEEK_FROM = 5  # s; an earlier start is reached by decoding from the beginning
HD_HEIGHT = 720  # px; untagged pictures this high are BT.709, lower ones BT.601: what players assume
CONTAINERS = (".mp4", ".mov", ".mkv")
BT709, UNTAGGED = 1, 2  # numbers in H.264's tables of colour matrices, primaries and transfer functions


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says about itself."""

    path: Path
    fps: float  # average rate of the source
    frames: int  # pictures in the source: from its index, else estimated from rate and duration
    size: tuple[int, int]  # width, height as shown: rotated and with square pixels
    duration: float  # seconds of picture; 0 when the file does not say
    has_sound: bool


def probe(path: str | Path) -> VideoInfo:
    """What the file's headers say. UserError when it is missing, empty, damaged or has no picture."""
    path = Path(path)
    with open_media(path) as container:
        stream = _picture_stream(container, path)
        _, first = next(_pictures(container, stream, path, Fraction(0)))
        height, width = _upright(first, stream.sample_aspect_ratio).shape[:2]
        duration = float(_announced(stream) or 0)
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        frames = stream.frames or round(duration * rate)
        return VideoInfo(path, rate, frames, (width, height), duration, bool(container.streams.audio))


def read_frames(
    path: str | Path, *, fps: int = FPS, start: float = 0.0, duration: float | None = None
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The pictures shown at ``start + i/fps`` seconds, as [H, W, 3] sRGB, upright and with square pixels.

    Yields round((end − start)·fps) frames, ``end`` being when the last picture ends or ``start + duration``, whichever
    is earlier; Python's round, as for sound, so that picture and sound of equal length agree. A file that is damaged,
    or ends before its own index says, raises UserError at that place; a ``duration`` that ends earlier never meets it.
    """
    path, begin = Path(path), _seconds(start)
    most = math.inf if duration is None else round(_seconds(duration) * fps)
    if begin < 0 or most < 1:
        raise UserError(f"{path}: start must be ≥ 0 s and duration at least one frame, not {start:g} and {duration:g}")
    count = 0
    with open_media(path) as container:
        stream = _picture_stream(container, path)
        shown, end = None, Fraction(0)
        waiting: deque[av.VideoFrame] = deque()  # due, but perhaps beyond the rounded end
        for end, picture in _pictures(container, stream, path, begin):
            tolerance = ROUNDED_STAMPS if picture is not None else 0
            while shown is not None and begin + Fraction(count + len(waiting), fps) < end - tolerance:
                waiting.append(shown)
            while waiting and count < round((end - begin) * fps):
                yield _upright(waiting.popleft(), stream.sample_aspect_ratio)
                count += 1
                if count >= most:
                    return
            shown = picture
        if count == 0:
            raise UserError(
                f"{path}: the picture ends at {float(end):.2f} s; there is nothing from {float(begin):g} s on"
            )


def write_video(
    path: str | Path,
    frames: Iterable[UInt8[np.ndarray, "H W 3"]],
    *,
    fps: int = FPS,
    sound: Float32[np.ndarray, " samples"] | None = None,
    sound_rate: int = SAMPLE_RATE,
    crf: int = 18,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write frames [H, W, 3] sRGB and mono sound in [−1, 1] as H.264 (yuv420p, BT.709) and AAC; returns the path.

    Chroma is stored at half size, so an odd width or height is padded by repeating the last column or row. ``crf`` is
    x264's quality, lower is better. The file takes its name only when it is whole; on any error nothing is left.
    """
    path = Path(path)
    if path.suffix.lower() not in CONTAINERS:
        raise UserError(f"{path}: cannot write {path.suffix or 'a file without suffix'}; use one of {CONTAINERS}")
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        with av.open(str(work), "w", options={"movflags": "+faststart"}) as container:
            container.metadata.update(metadata or {})
            _encode(container, iter(frames), fps, sound, sound_rate, crf)
        work.replace(path)
    finally:
        work.unlink(missing_ok=True)
    return path


@contextmanager
def open_media(path: Path) -> Iterator[Any]:
    """PyAV's input container of a file; UserError when it is missing, empty or not readable as video or sound."""
    if not path.is_file():
        raise UserError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty (0 bytes); copy it again")
    try:
        container = av.open(str(path))
    except (FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: no video or sound, or cut off before its index ({reason}); copy it again") from None
    with container:
        yield container


def moving_pictures(container: Any) -> list[Any]:
    """A container's video streams; the cover image of a song does not count."""
    return [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]


# ---------------------------------------------------------------------------------------------------------------------
# Reading


def _picture_stream(container, path: Path):
    streams = moving_pictures(container)
    if not streams:
        raise UserError(f"{path}: has sound but no picture; a video is needed here")
    streams[0].thread_type = "AUTO"
    return streams[0]


def _pictures(container, stream, path: Path, begin: Fraction) -> Iterator[tuple[Fraction, Any]]:
    """(time, picture) in order, from the one shown at ``begin`` or earlier; last (when the last one ends, None)."""
    origin = None  # time stamp of the file's first picture
    time, lasts = Fraction(-1), Fraction(0)
    frames = _decode(container, stream)
    while (frame := _next(frames, path, time)) is not None:
        stamp = _time_stamp(frame, stream, None if origin is None else origin + time + lasts)
        if origin is None:
            origin = stamp
            if begin > SEEK_FROM:
                frames = _seek(container, stream, origin + begin)
                continue
        if stamp - origin <= time:
            continue  # damaged or repeated time stamp
        time = stamp - origin
        lasts = Fraction(frame.duration or 0) * (frame.time_base or 0) or 1 / Fraction(stream.average_rate or FPS)
        yield time, frame
    if origin is None:
        raise UserError(f"{path}: no picture could be decoded; the file is damaged or cut off, copy it again")
    announced = _announced(stream)
    if announced is not None and time + lasts < announced - CUT_SHORT:
        raise _damaged(path, time, f"its index announces {float(announced):.2f} s")
    yield time + lasts, None


def _decode(container, stream) -> Iterator[Any]:
    for packet in container.demux(stream):
        yield from packet.decode()


def _seek(container, stream, target: Fraction) -> Iterator[Any]:
    """Frames from a key frame at or before ``target`` on; from the beginning where the file's index is wrong."""
    container.seek(int(target / stream.time_base), stream=stream, backward=True)
    frames = _decode(container, stream)
    first = next(frames, None)
    if first is None or first.pts is None or first.pts * first.time_base > target:
        container.seek(0)
        return _decode(container, stream)
    return _chain(first, frames)


def _chain(first, rest) -> Iterator[Any]:
    yield first
    yield from rest


def _next(frames: Iterator[Any], path: Path, time: Fraction):
    try:
        return next(frames, None)
    except FFmpegError as error:
        raise _damaged(path, max(time, Fraction(0)), str(error.strerror)) from None


def _damaged(path: Path, time: Fraction, why: str) -> UserError:
    whole = math.floor(time * 10) / 10
    rest = f"or use the whole part with --duration {whole:g} (counted from 0 s)" if whole else "it is not usable"
    return UserError(f"{path}: damaged or cut off after {float(time):.2f} s ({why}); copy the file again, {rest}")


def _time_stamp(frame, stream, otherwise: Fraction | None) -> Fraction:
    """When a picture is shown, in seconds of the stream; some old files stamp only their key frames."""
    if frame.pts is not None:
        return frame.pts * (frame.time_base or stream.time_base)
    return otherwise if otherwise is not None else Fraction(0)


def _announced(stream) -> Fraction | None:
    """Seconds of picture that the file claims to hold."""
    if stream.duration:
        return stream.duration * stream.time_base
    try:  # Matroska keeps it in a tag, as hours:minutes:seconds
        hours, minutes, seconds = stream.metadata.get("DURATION", "").split(":")
        return 3600 * Fraction(hours) + 60 * Fraction(minutes) + Fraction(seconds)
    except ValueError:
        return None


def _seconds(value: float) -> Fraction:
    return Fraction(value).limit_denominator(1_000_000)


def _upright(frame, aspect: Fraction | None) -> UInt8[np.ndarray, "H W 3"]:
    """A decoded picture as sRGB [H, W, 3], as a player shows it: turned, and stretched to square pixels."""
    hd_untagged = frame.colorspace == UNTAGGED and frame.height >= HD_HEIGHT  # PyAV itself honours tags
    rgb = frame.to_ndarray(format="rgb24", src_colorspace=Colorspace.ITU709 if hd_untagged else None)
    if aspect and aspect != 1:
        rgb = cv2.resize(rgb, (max(1, round(frame.width * aspect)), frame.height), interpolation=cv2.INTER_CUBIC)
    turns = round(frame.rotation / 90) % 4  # counter-clockwise, as numpy counts
    return np.ascontiguousarray(np.rot90(rgb, turns))


# ---------------------------------------------------------------------------------------------------------------------
# Writing


def _encode(container, frames: Iterator[np.ndarray], fps: int, sound, sound_rate: int, crf: int) -> None:
    first = next(frames, None)
    if first is None:
        raise ValueError("no frames to write")
    _check(first, first.shape)
    if "libx264" not in av.codecs_available:
        raise UserError("this build of PyAV has no H.264 encoder (libx264); install av from PyPI")
    picture = container.add_stream("libx264", rate=fps, options={"crf": str(crf), "preset": "medium"})
    picture.width, picture.height = first.shape[1] + first.shape[1] % 2, first.shape[0] + first.shape[0] % 2
    picture.pix_fmt = "yuv420p"
    picture.codec_context.time_base = Fraction(1, fps)
    picture.codec_context.colorspace = Colorspace.ITU709
    picture.codec_context.color_range = ColorRange.MPEG
    picture.codec_context.color_primaries = picture.codec_context.color_trc = BT709
    track = None if sound is None else _SoundTrack(container, sound, sound_rate)
    for count, frame in enumerate(_chain(first, frames)):
        _check(frame, first.shape)
        padded = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
        image = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
        image = image.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
        image.pts, image.time_base = count, Fraction(1, fps)
        container.mux(picture.encode(image))
        if track:
            track.write(until=(count + 1) / fps)
    container.mux(picture.encode(None))
    if track:
        track.write(until=math.inf)
        track.close()


def _check(frame: np.ndarray, shape: tuple[int, ...]) -> None:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3 or frame.shape != shape:
        raise ValueError(f"frames must be uint8 [H, W, 3], all alike; got {frame.dtype} {frame.shape} after {shape}")


class _SoundTrack:
    """AAC beside the picture, written as far as the picture has come, so that the file is interleaved."""

    def __init__(self, container, sound: np.ndarray, rate: int):
        if not np.isfinite(sound).all():
            raise ValueError("sound holds values that are not finite")
        self._container, self._rate, self._next = container, rate, 0
        self._sound = np.clip(sound, -1, 1).astype(np.float32)
        bit_rate = 128_000 if rate > 32_000 else 96_000
        self._stream = container.add_stream("aac", rate=rate, layout="mono", bit_rate=bit_rate)

    def write(self, until: float) -> None:
        step = self._stream.codec_context.frame_size or 1024
        while self._next < len(self._sound) and self._next < until * self._rate:
            block = av.AudioFrame.from_ndarray(self._sound[None, self._next : self._next + step], "fltp", "mono")
            block.sample_rate, block.pts, block.time_base = self._rate, self._next, Fraction(1, self._rate)
            self._container.mux(self._stream.encode(block))
            self._next += step

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
