"""Small videos and sounds that the tests of this room make for themselves."""

from fractions import Fraction

import av
import numpy as np
import pytest

BITS = 8  # a frame's number is painted as this many bright or dark bars


def numbered(index, size=(64, 48)):
    """A frame [H, W, 3] that carries its own number; decoders and encoders cannot lose it."""
    width, height = size
    bars = np.repeat([(index >> b & 1) * 200 + 28 for b in range(BITS)], width // BITS)
    return np.broadcast_to(bars[None, :, None], (height, len(bars), 3)).astype(np.uint8).copy()


def number_of(frame):
    """The number that ``numbered`` painted, read off the middle row."""
    width = frame.shape[1] // BITS
    middle = frame[frame.shape[0] // 2, :, 1].astype(int)
    return sum(int(middle[b * width + width // 2] > 128) << b for b in range(BITS))


@pytest.fixture(scope="session")
def paint():
    return numbered


@pytest.fixture(scope="session")
def read_number():
    return number_of


@pytest.fixture
def stamped_video(tmp_path):
    """A function that writes numbered frames with given time stamps (ms), straight through PyAV."""

    def write(stamps_ms, *, name="stamped.mp4", size=(64, 48), rotation=None, aspect=None, last_ms=40):
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"bf": "0"})
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            stream.codec_context.time_base = Fraction(1, 1000)
            if aspect:
                stream.codec_context.sample_aspect_ratio = aspect
            if rotation:
                stream.set_display_rotation(rotation)
            ends = [*stamps_ms[1:], stamps_ms[-1] + last_ms]
            for index, (stamp, end) in enumerate(zip(stamps_ms, ends, strict=True)):
                frame = av.VideoFrame.from_ndarray(numbered(index, size), "rgb24")
                frame.pts, frame.time_base, frame.duration = stamp, Fraction(1, 1000), end - stamp
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return write


@pytest.fixture(scope="session")
def beeps():
    """Sound [samples] at 16 kHz that is silent but for 20 ms of 1 kHz from each given second on."""

    def make(seconds, at):
        sound = np.zeros(round(seconds * 16_000), np.float32)
        for time in at:
            first = round(time * 16_000)
            sound[first : first + 320] = 0.8 * np.sin(2 * np.pi * 1000 * np.arange(320) / 16_000)
        return sound

    return make
