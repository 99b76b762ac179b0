"""Decoded pictures of a media file, in order, with their times; and every way in which a file can be unreadable.

Time zero is the file's first picture. Edit lists are honoured by FFmpeg's demuxers, so that what is cut away by them is
never seen here.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.error import DecoderNotFoundError, FFmpegError
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition
from av.video.reformatter import Colorspace, Interpolation
from jaxtyping import Float64, UInt8

from jax_talker.errors import UserError

FPS_GUESS = 25  # of a stream that says nothing of its rate
CUT_SHORT = Fraction(1, 5)  # s; this much less picture than the index announces means that the file was cut off
SEEK_FROM = 5  # s; an earlier start is reached by decoding from the beginning
SEEK_EARLY = 1  # s; before what is wanted: pictures next to a key frame may need one before it
BACKWARDS = 1  # s; time stamps that go back further belong to another recording, less is a damaged stamp
HD_HEIGHT = 720  # px; untagged pictures this high are BT.709, lower ones BT.601: what players assume
UNTAGGED = 2  # number in H.264's table of colour matrices
TRANSPARENT = 1e-3  # share of a picture; less is a codec's rounding
WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # decoder → the one that reads alpha too
ALMOST_UPRIGHT = 0.0175  # sine of 1°, FFmpeg's own tolerance; a turn by less is none
HDR_TRANSFERS = {16: "PQ", 18: "HLG"}  # numbers in H.264's table of transfer functions


def media_url(path: Path) -> str:
    """What FFmpeg calls a file: without "file:" it takes what stands before a colon (10:30.mp4) for a protocol."""
    return f"file:{path}"


@contextmanager
def open_media(path: Path) -> Iterator[Any]:
    """PyAV's input container of a file; UserError when it is missing, empty or not readable as video or sound."""
    if not path.is_file():
        raise UserError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty (0 bytes); copy it again")
    try:
        container = av.open(media_url(path))
    except (FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: no video or sound, or cut off before its index ({reason}); copy it again") from None
    with container:
        yield container


def moving_pictures(container: Any) -> list[Any]:
    """A container's video streams; the cover image of a song does not count."""
    return [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]


def picture_stream(container: Any, path: Path) -> Any:
    """The stream with a file's moving pictures, set up to say what is damaged instead of painting over it."""
    streams = moving_pictures(container)
    if not streams:
        raise UserError(f"{path}: has sound but no picture; a video is needed here")
    stream = streams[0]
    if stream.codec_context is None:
        raise _undecodable(path)
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = max(2, os.cpu_count() or 2)  # alone, H.264's decoder swallows errors
    stream.codec_context.options = {"err_detect": "explode"}
    return stream


def pictures(
    container: Any, stream: Any, path: Path, begin: Fraction, *, seek: bool = True
) -> Iterator[tuple[Fraction, Any]]:
    """(time, picture) in order, from the one shown at ``begin`` on; last (when the last one ends, None).

    A late ``begin`` is reached from a key frame near it; if what follows that cannot be decoded without what comes
    before it, from the start of the file.
    """
    seek = seek and begin > SEEK_FROM
    shown, time = None, Fraction(-1)
    try:
        for time, picture in _timed(container, stream, path, begin if seek else None):
            if shown is not None and (time > begin or picture is None):
                yield shown
            shown = (time, picture)
    except DecoderNotFoundError:
        raise _undecodable(path) from None
    except FFmpegError as error:
        if not seek or time > begin:
            raise _damaged(path, max(time, Fraction(0)), str(error.strerror)) from None
        shown = None
        _rewind(container, stream)
        yield from pictures(container, stream, path, begin, seek=False)
    if shown is not None:
        yield shown


def first_picture_time(path: Path) -> Fraction | None:
    """When a file's first picture is shown, on the clock that its sound uses; None when it has no pictures."""
    with open_media(path) as container:
        if not moving_pictures(container):
            return None
        stream = picture_stream(container, path)
        try:
            frame = next(_decode(container, stream), None)
        except DecoderNotFoundError:
            raise _undecodable(path) from None
        except FFmpegError as error:
            raise _damaged(path, Fraction(0), str(error.strerror)) from None
        return None if frame is None else _time_stamp(frame, stream, None)


def upright(frame: Any, aspect: Fraction | None, size: tuple[int, int] | None = None) -> UInt8[np.ndarray, "H W 3"]:
    """A decoded picture as sRGB [H, W, 3], as a player shows it: turned, and stretched to square pixels.

    What is transparent is shown on white: the colours behind an alpha channel are nobody's. Of an interlaced picture
    one field is kept, the lines between are interpolated. ``size`` (width, height) is that of the file's first
    picture, which later ones are brought to if they differ.
    """
    if not carries_alpha(frame):
        return _arranged(_pixels(frame, "rgb24"), frame, aspect, size)
    rgba = _pixels(frame, "rgba")
    rgb, alpha = rgba[..., :3], rgba[..., 3:].astype(np.uint16)
    if alpha.min() < 255:
        rgb = ((rgb * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return _arranged(rgb, frame, aspect, size)


def upright_alpha(frame: Any, aspect: Fraction | None, size: tuple[int, int] | None) -> UInt8[np.ndarray, "H W"]:
    """A decoded picture's alpha channel, in the places of ``upright``; 255 everywhere when it has none."""
    if not carries_alpha(frame):
        return np.full(upright(frame, aspect, size).shape[:2], 255, np.uint8)
    return _arranged(np.ascontiguousarray(_pixels(frame, "rgba")[..., 3:]), frame, aspect, size)[..., 0]


def carries_alpha(frame: Any) -> bool:
    """Whether the pixels have an alpha channel, transparent or not."""
    return frame.format.has_palette or any(component.is_alpha for component in frame.format.components)


def shows_through(frame: Any) -> bool:
    """Whether some part of a decoded picture is transparent."""
    if not carries_alpha(frame):
        return False
    return float((_pixels(frame, "rgba")[..., 3] < 128).mean()) > TRANSPARENT


def display_matrix(frame: Any) -> Float64[np.ndarray, "2 2"]:
    """shown_from_stored of a decoded picture: x right, y down; turns and mirrors of any size, as its file says."""
    for data in frame.side_data:
        if data.type == SideDataType.DISPLAYMATRIX:
            a, b, _, c, d, *_ = np.frombuffer(bytes(data), np.int32).astype(np.float64)
            matrix = np.array([[a, c], [b, d]])
            lengths = np.linalg.norm(matrix, axis=0)  # a scale is no business of players
            return matrix / lengths if lengths.all() else np.eye(2)
    return np.eye(2)


def displayed(
    rgb: UInt8[np.ndarray, "H W C"], shown_from_stored: Float64[np.ndarray, "2 2"]
) -> UInt8[np.ndarray, "h w C"]:
    """A picture turned and mirrored as players do it; the eight ways that keep pixels on the grid are exact.

    By any other angle it is turned within its own size, as FFmpeg does; what comes into view is black.
    """
    nearest = np.round(shown_from_stored)
    off = np.abs(shown_from_stored - nearest).max()
    if off > ALMOST_UPRIGHT or abs(np.linalg.det(nearest)) != 1:
        height, width = rgb.shape[:2]
        middle = np.array([width - 1, height - 1]) / 2
        turn = np.column_stack([shown_from_stored, middle - shown_from_stored @ middle])
        return np.asarray(cv2.warpAffine(rgb, turn, (width, height), flags=cv2.INTER_CUBIC)).reshape(rgb.shape)
    if nearest[0, 0] == 0:  # x shows what was stored along y
        rgb = rgb.swapaxes(0, 1)
    x_step, y_step = nearest.sum(1).astype(int)  # each row has one entry, 1 or −1
    return np.ascontiguousarray(rgb[::y_step, ::x_step])


def peculiarities(frame: Any) -> tuple[str, ...]:
    """What somebody should know who trains on such pictures, in words."""
    found = []
    if shows_through(frame):
        found.append(
            "transparent: it is read on white, and its alpha channel is the matte unless --matte says otherwise"
        )
    if frame.interlaced_frame:
        found.append("interlaced: one field of each picture is used, so half the lines are interpolated")
    if transfer := HDR_TRANSFERS.get(int(frame.color_trc)):
        found.append(
            f"HDR ({transfer}): its colours are not mapped to SDR and will look pale; convert it for true colours"
        )
    return tuple(found)


def announced_seconds(stream: Any, first: Any) -> Fraction | None:
    """Seconds of picture that the file claims to hold; ``first`` is its first decoded picture."""
    if stream.duration:
        return stream.duration * stream.time_base
    try:  # Matroska keeps in a tag when the picture ends, as hours:minutes:seconds
        hours, minutes, seconds = stream.metadata.get("DURATION", "").split(":")
        ends = 3600 * Fraction(hours) + 60 * Fraction(minutes) + Fraction(seconds)
    except ValueError:
        return None
    begins = max(Fraction(0), _time_stamp(first, stream, None))  # a live recording may have been joined late
    return max(Fraction(0), ends - begins)


# ---------------------------------------------------------------------------------------------------------------------


def _timed(container, stream, path: Path, sought: Fraction | None) -> Iterator[tuple[Fraction, Any]]:
    """(time, picture) from a key frame before ``sought`` or the first picture on; last (end, None)."""
    origin = announced = None  # time stamp of the file's first picture; how long the file says that it is
    time, lasts = Fraction(-1), Fraction(0)
    frames = _decode(container, stream)
    while (frame := next(frames, None)) is not None:
        stamp = _time_stamp(frame, stream, None if origin is None else origin + time + lasts)
        if origin is None:
            origin, announced = stamp, announced_seconds(stream, frame)
            if sought is not None:
                frames = _seek(container, stream, origin + sought - SEEK_EARLY)
                continue
        if stamp - origin < time - BACKWARDS:
            raise UserError(
                f"{path}: its time stamps go back from {float(time):.2f} s to {float(stamp - origin):.2f} s, as if two "
                "recordings were joined; convert it once, so that it is stamped anew"
            )
        if stamp - origin <= time:
            continue  # damaged or repeated time stamp
        time, lasts = stamp - origin, _duration(frame, stream)
        yield time, frame
    if origin is None:
        raise UserError(f"{path}: no picture could be decoded; the file is damaged or cut off, copy it again")
    if announced is not None and time + lasts < announced - CUT_SHORT:
        raise _damaged(path, time, f"its index announces {float(announced):.2f} s")
    yield time + lasts, None


def _decode(container, stream) -> Iterator[Any]:
    decoder = _alpha_decoder(stream)
    for packet in container.demux(stream):
        yield from packet.decode() if decoder is None else decoder.decode(packet)


def _alpha_decoder(stream) -> Any:
    """FFmpeg's own decoders of VP8 and VP9 leave out the alpha that WebM keeps beside the picture; libvpx reads it."""
    tags = {name.lower(): value for name, value in stream.metadata.items()}
    name = WITH_ALPHA.get(stream.codec_context.name)
    if tags.get("alpha_mode") != "1" or name not in av.codecs_available:
        return None
    return av.CodecContext.create(name, "r")


def _pixels(frame, kind: str) -> np.ndarray:
    hd_untagged = frame.colorspace == UNTAGGED and frame.height >= HD_HEIGHT  # PyAV itself honours tags
    # Without ACCURATE_RND, FFmpeg 8's way from yuva420p to rgba leaves the last columns of some widths unwritten.
    how = Interpolation.BILINEAR | Interpolation.ACCURATE_RND if kind == "rgba" else None
    source = Colorspace.ITU709 if hd_untagged else None
    return frame.to_ndarray(format=kind, src_colorspace=source, interpolation=how)


def _arranged(pixels: np.ndarray, frame, aspect: Fraction | None, size: tuple[int, int] | None) -> np.ndarray:
    """Stored pixels [H, W, C] where a player shows them."""
    channels = pixels.shape[2]
    if frame.interlaced_frame:
        pixels = _one_field(pixels)
    if aspect and aspect != 1:
        wide = max(1, round(frame.width * aspect)), frame.height
        pixels = cv2.resize(pixels, wide, interpolation=cv2.INTER_CUBIC).reshape(wide[1], wide[0], channels)
    pixels = displayed(pixels, display_matrix(frame))
    if size and size != (pixels.shape[1], pixels.shape[0]):
        shrinks = size[0] * size[1] < pixels.shape[0] * pixels.shape[1]
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return pixels.reshape(*pixels.shape[:2], channels)


def _seek(container, stream, target: Fraction) -> Iterator[Any]:
    """Frames from a key frame at or before ``target`` on; from the beginning where the file's index is wrong."""
    container.seek(int(target / stream.time_base), stream=stream, backward=True)
    frames = _decode(container, stream)
    first = next(frames, None)
    if first is None or first.pts is None or first.pts * first.time_base > target:
        _rewind(container, stream)
        return _decode(container, stream)
    return chain([first], frames)


def _rewind(container, stream) -> None:
    container.seek(min(0, stream.start_time or 0), stream=stream, backward=True)


def _undecodable(path: Path) -> UserError:
    return UserError(f"{path}: its picture is encrypted or in a format that cannot be decoded; convert it to H.264")


def _damaged(path: Path, time: Fraction, why: str) -> UserError:
    whole = math.floor(time * 10) / 10
    rest = f"or use the whole part with --duration {whole:g} (counted from 0 s)" if whole else "it is not usable"
    return UserError(f"{path}: damaged or cut off after {float(time):.2f} s ({why}); copy the file again, {rest}")


def _time_stamp(frame, stream, otherwise: Fraction | None) -> Fraction:
    """When a picture is shown, in seconds of the stream; some old files stamp only their key frames."""
    if frame.pts is not None:
        return frame.pts * (frame.time_base or stream.time_base)
    return otherwise if otherwise is not None else Fraction(0)


def _duration(frame, stream) -> Fraction:
    stated = Fraction(frame.duration or 0) * (frame.time_base or 0)
    return stated or 1 / Fraction(stream.average_rate or FPS_GUESS)


def _one_field(rgb: np.ndarray) -> np.ndarray:
    """The lines 0, 2, 4, … and their means between them."""
    kept = rgb[::2].astype(np.uint16)
    full = np.repeat(rgb[::2], 2, axis=0)[: len(rgb)]
    between = (kept[:-1] + kept[1:] + 1) // 2
    full[1 : 2 * len(between) : 2] = between
    return full
