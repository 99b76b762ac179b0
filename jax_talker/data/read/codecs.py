"""How pictures and sound are encoded in the files that ``write_video`` writes, by suffix and alpha channel.

H.264 and AAC; in WebM VP9 and Opus. Transparent pictures: VP9 with alpha in .webm, ProRes 4444 in .mov.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import ColorRange, Colorspace

from jax_talker.errors import UserError

CONTAINERS = (".mp4", ".mov", ".mkv", ".webm")
TRANSPARENT = (".webm", ".mov")
BT709 = 1  # number in H.264's tables of colour matrices, primaries and transfer functions
AAC_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)
OPUS_RATES = (48_000, 24_000, 16_000, 12_000, 8_000)


@dataclass(frozen=True)
class PictureCodec:
    """An encoder, its options, and the layout of pixels that it takes."""

    name: str
    pixels: str
    options: dict[str, str] = field(default_factory=dict)
    halved: bool = True  # chroma is stored at half size, so width and height must be even

    def add(self, container: Any, shape: tuple[int, ...], fps: int) -> Any:
        """A stream for pictures [H, W, 3 or 4]."""
        if self.name not in av.codecs_available:
            raise UserError(f"this build of PyAV has no encoder {self.name}; install av from PyPI")
        stream = container.add_stream(self.name, rate=fps, options=self.options)
        stream.height, stream.width = (n + n % 2 if self.halved else n for n in shape[:2])
        stream.pix_fmt = self.pixels
        context = stream.codec_context
        context.time_base = Fraction(1, fps)
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries = context.color_trc = BT709
        return stream

    def frame(self, pixels: np.ndarray) -> Any:
        """A picture [H, W, 3 or 4] as the encoder takes it; an odd side repeats its last row or column."""
        if self.halved:
            pixels = np.pad(pixels, ((0, pixels.shape[0] % 2), (0, pixels.shape[1] % 2), (0, 0)), mode="edge")
        given = "rgba" if pixels.shape[2] == 4 else "rgb24"
        image = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=given)
        # One thread: several write beyond the ends of odd rows, where the next thread's rows begin.
        return image.reformat(
            format=self.pixels, dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG, threads=1
        )


def picture_codec(path: Path, channels: int, crf: int) -> PictureCodec:
    """The encoder for a file's pictures, of 3 or 4 channels. UserError where it cannot hold an alpha channel."""
    suffix, transparent = path.suffix.lower(), channels == 4
    check_transparent(path, transparent)
    if suffix == ".webm":
        options = {"crf": str(crf), "b:v": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1", "auto-alt-ref": "0"}
        return PictureCodec("libvpx-vp9", "yuva420p" if transparent else "yuv420p", options)
    if transparent:
        return PictureCodec("prores_ks", "yuva444p10le", {"profile": "4444", "vendor": "apl0"}, halved=False)
    return PictureCodec("libx264", "yuv420p", {"crf": str(crf), "preset": "medium"})


def check_transparent(path: Path, transparent: bool) -> None:
    """UserError where a file of that suffix has no place for an alpha channel."""
    if transparent and path.suffix.lower() not in TRANSPARENT:
        raise UserError(f"{path}: holds no transparent pictures; use .webm (VP9) or .mov (ProRes 4444)")


@dataclass(frozen=True)
class SoundCodec:
    """An encoder of sound and the rates that it takes, in Hz."""

    name: str
    rates: tuple[int, ...]

    def rate(self, wanted: int) -> int:
        """The rate itself, else the next one that loses nothing."""
        return wanted if wanted in self.rates else min(self.rates, key=lambda r: (r < wanted, abs(r - wanted)))

    def has(self, rate: int, layout: str) -> bool:
        """Whether the encoder takes these channels."""
        codec: Any = av.CodecContext.create(self.name, "w")
        codec.sample_rate, codec.layout = self.rate(min(rate, 48_000)), layout
        codec.format = "fltp" if self.name == "aac" else "flt"
        try:
            codec.open()
        except FFmpegError:
            return False
        return True


def sound_codec(path: Path) -> SoundCodec:
    """The encoder for a file's sound."""
    return SoundCodec("libopus", OPUS_RATES) if path.suffix.lower() == ".webm" else SoundCodec("aac", AAC_RATES)
