"""The sound of a media file: which of its tracks, in step with the picture, without holes; as it is, and as mono.

A file is decoded once to find out what there is (which track and which channels have sound, and its range), and again
when it is used, a block at a time, so that nothing of its own size is ever held.
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soxr
from av.error import DecoderNotFoundError, FFmpegError
from jaxtyping import Float32, Float64

from jax_talker.data.clip.clip import SAMPLE_RATE
from jax_talker.data.read.channels import HEARD, mixing_weights, named_layout
from jax_talker.data.read.decoding import first_picture_time, open_media
from jax_talker.errors import UserError

GAP = 0.1  # s; sound missing for longer than this is filled with silence, shorter jumps are rounding
MOST_PLANES = 8  # from so many on PyAV (18.1) counts planes that are not there
UNSCALED = 64.0  # floats beyond that are integers' values that nobody has scaled
INTEGER_RANGES = (2.0**15, 2.0**23, 2.0**31)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sound:
    """A file's sound as it was recorded: samples in [−1, 1], its time zero at the file's first picture."""

    path: Path
    track: int  # of the file's sound tracks
    rate: int  # Hz
    layout: str  # FFmpeg's name: mono, stereo, 5.1, …
    weights: Float64[np.ndarray, " C"]  # of the channels in ``mono``
    origin: Fraction | None  # when the file's first picture is shown; None where there is none
    scale: float = 1.0  # of the file's numbers
    seconds: float = math.inf  # how much of it there is at most

    def blocks(self) -> Iterator[Float32[np.ndarray, "C n"]]:
        """The channels, block by block."""
        left = self.seconds * self.rate
        for block, _ in _on_time(_blocks(self.path, self.track, self.layout), self.origin, self.path):
            yield np.clip(block[:, : math.ceil(min(left, block.shape[1]))] * np.float32(self.scale), -1, 1)
            left -= block.shape[1]
            if left <= 0:
                return

    def mono(self) -> Iterator[Float32[np.ndarray, " n"]]:
        """What its listeners hear, one channel, block by block; may exceed [−1, 1] where channels add up."""
        return ((self.weights.astype(np.float32) @ block) for block in self.blocks())

    def for_speech(self) -> Float32[np.ndarray, " samples"]:
        """All of it as 16 kHz mono in [−1, 1]."""
        sound = resampled((block, self.rate) for block in self.mono())
        return sound / max(1.0, float(np.abs(sound).max(initial=0)))


def open_sound(path: str | Path) -> Sound:
    """The first sound track that is not silent beside the others. Where it was not the first, or where channels cancel
    each other or exceed the range of sound, it is logged what was done.

    UserError when the file is missing or damaged, or has no sound track.
    """
    path = Path(path)
    origin = first_picture_time(path)
    with open_media(path) as container:
        count = len(container.streams.audio)
    if count == 0:
        raise UserError(f"{path}: has no sound track; give a file with sound, or add one")
    found = [listened for track in range(count) if (listened := _listen(path, track)) is not None]
    if not found:
        raise UserError(f"{path}: its sound is encrypted or in a format that cannot be decoded; convert it to WAV")
    loudest = max(one.loud for one in found)
    chosen = next(one for one in found if one.loud >= HEARD * loudest)
    if chosen.track:
        log.warning("%s: sound track %d of %d is used; before it is silence", path, chosen.track + 1, count)
    scale = _scale(chosen.peak, path)
    weights, reason = mixing_weights(chosen.names, chosen.power)
    if reason:
        log.warning("%s: %s", path, reason)
    return Sound(path, chosen.track, chosen.rate, chosen.layout, weights, origin, scale)


def resampled(blocks: Iterator[tuple[np.ndarray, int]]) -> Float32[np.ndarray, " samples"]:
    """Blocks [n] of one rate as one array of 16 kHz, as long as it would be if it were resampled at once."""
    sound, given, rate = bytearray(), 0, SAMPLE_RATE  # a bytearray grows in place
    stream = None
    for block, rate in blocks:
        given += len(block)
        if rate != SAMPLE_RATE:
            stream = stream or soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
            block = stream.resample_chunk(np.ascontiguousarray(block))
        sound += block.astype(np.float32, copy=False).tobytes()
    if stream:
        sound += stream.resample_chunk(np.zeros(0, np.float32), last=True).tobytes()
    length = math.ceil(Fraction(given * SAMPLE_RATE, rate))
    sound += bytes(4 * max(0, length - len(sound) // 4))
    return np.frombuffer(sound, np.float32)[:length]


# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Heard:
    """What a track holds."""

    track: int
    rate: int
    layout: str
    names: tuple[str, ...]  # of its channels
    power: np.ndarray  # [C, C] covariance of the channels
    peak: float

    @property
    def loud(self) -> float:
        return float(np.sqrt(max(0.0, self.power.diagonal().max())))  # rounding may leave a little less than nothing


def _listen(path: Path, track: int) -> _Heard | None:
    """All of a track; None when it cannot be decoded."""
    with open_media(path) as container:
        codec = container.streams.audio[track].codec_context
        if codec is None:
            return None
        if not codec.layout.nb_channels or not codec.sample_rate:
            raise UserError(
                f"{path}: its sound has no channels or no rate: the file's header is damaged; copy it again"
            )
        layout, rate = named_layout(codec.layout), codec.sample_rate
    power, total = np.zeros((layout.nb_channels,) * 2), np.zeros(layout.nb_channels)
    samples, peak = 0, 0.0
    try:
        for block, _, _ in _blocks(path, track, layout.name):
            peak = max(peak, float(np.abs(block).max(initial=0)))
            if not np.isfinite(block).all():
                raise UserError(f"{path}: its sound holds values that are not numbers; the file is damaged")
            power += block.astype(np.float64) @ block.T
            total += block.sum(1, dtype=np.float64)
            samples += block.shape[1]
    except DecoderNotFoundError:
        return None
    names = tuple(channel.name for channel in layout.channels)
    mean = total / max(1, samples)  # a constant is no sound, however large: cheap microphones add one
    return _Heard(track, rate, layout.name, names, power / max(1, samples) - np.outer(mean, mean), peak)


def _scale(peak: float, path: Path) -> float:
    """By what samples are multiplied so that they lie in [−1, 1]."""
    if peak <= 1:
        return 1.0
    if peak < UNSCALED:
        if peak > 1.5:  # what codecs add to a loud sound is nobody's concern
            log.warning("%s: its samples reach ±%.1f where ±1 is full scale; it is turned down", path, peak)
        return 1 / peak
    for most in INTEGER_RANGES:
        if peak <= most:
            log.warning("%s: its samples reach ±%.0f; they are taken for integers of ±%.0f", path, peak, most)
            return 1 / most
    raise UserError(f"{path}: its sound holds values as large as {peak:.3g}; the file is damaged")


def _blocks(path: Path, track: int, layout: str) -> Iterator[tuple[np.ndarray, Fraction | None, int]]:
    """(samples [C, n], time of the first of them, rate) of every decoded block, in the file's own range."""
    decoded, channels = 0.0, av.AudioLayout(layout).nb_channels
    with open_media(path) as container:
        frames = container.decode(container.streams.audio[track])
        while True:
            try:
                frame = next(frames, None)
            except DecoderNotFoundError:
                raise
            except FFmpegError as error:
                raise UserError(f"{path}: its sound is damaged after {decoded:.2f} s ({error.strerror})") from None
            if frame is None:
                return
            time = None if frame.pts is None else frame.pts * frame.time_base
            decoded = float(time or 0)
            if frame.layout.nb_channels != channels:  # a broadcast that goes from stereo to 5.1, say
                yield np.concatenate([channels_of(f) for f in _packed(frame, layout)], 1), time, frame.sample_rate
            elif frame.format.is_planar and channels >= MOST_PLANES:
                yield (
                    np.concatenate([channels_of(f) for f in _packed(frame, frame.layout)], 1),
                    time,
                    frame.sample_rate,
                )
            else:
                yield channels_of(frame), time, frame.sample_rate


def _packed(frame: Any, layout: Any) -> list[Any]:
    resampler = av.AudioResampler("flt", layout, frame.sample_rate)
    return [*resampler.resample(frame), *resampler.resample(None)]


def _on_time(
    blocks: Iterator[tuple[np.ndarray, Fraction | None, int]], origin: Fraction | None, path: Path
) -> Iterator[tuple[np.ndarray, int]]:
    """(samples [C, n], rate) without holes, from ``origin`` on, or from the first sample where that is None."""
    rate, written = 0, 0  # samples so far
    for block, time, block_rate in blocks:
        rate = rate or block_rate
        if block_rate != rate:
            raise UserError(f"{path}: its sampling rate changes from {rate} to {block_rate} Hz; re-encode the sound")
        at = written if time is None else round((time - (time if origin is None else origin)) * rate)
        if origin is None:
            origin = time
        if at > written + GAP * rate or (written == 0 and at > 0):
            while written < at:
                silence = np.zeros((len(block), min(at - written, rate)), np.float32)
                yield silence, rate
                written += silence.shape[1]
        elif written == 0 and at < 0:
            block = block[:, -at:]
        yield block, rate
        written += block.shape[1]


def channels_of(frame: Any) -> Float32[np.ndarray, "C n"]:
    """A decoded block's channels; integers are scaled to [−1, 1], floats left as they are."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128) / 128
    elif samples.dtype.kind == "i":
        samples = samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    return np.asarray(samples, np.float32)
