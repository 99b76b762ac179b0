"""What other invisible marks withstand, beside ours and on the same frames: docs/ethics.md's table of them.

    pip install PyWavelets onnxruntime; pip install --no-deps blind-watermark invisible-watermark
    python -m benchmarks.mark_peers --marked talking.mp4,clip.mp4 --frames 50

(--no-deps: invisible-watermark asks for PyTorch, and only wraps the two ONNX networks with it.) Both peers mark single
pictures; what they read in a video's frames is averaged. Neither looks for the picture's place and size, so it is also
told to them: "put back" is read after the frames were enlarged again and laid where they were cut from. CPU only.
"""

import argparse
import importlib
import importlib.util
import itertools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from benchmarks.marks import ATTACKS, BITS, attacked
from jax_talker.data.read.video import read_frames
from jax_talker.errors import UserError
from jax_talker.provenance import watermark

Pictures = Sequence[np.ndarray]  # [H, W, 3] uint8, RGB
SEEN = tuple(name for name in ATTACKS if name.endswith("CRF 28"))


class Mark(Protocol):
    """A way to hide ``bits`` [n] of 0 and 1 in a video."""

    name: str
    bits: np.ndarray

    def marked(self, pictures: Pictures) -> list[np.ndarray]:
        """The frames with the bits in them."""
        ...

    def read(self, pictures: Pictures) -> np.ndarray:
        """The bits [n] that are found, right or not."""
        ...


class Ours:
    """jax_talker.provenance.watermark."""

    name = "ours"
    bits = np.array([int(digit) for digit in f"{BITS:016b}"])

    def marked(self, pictures: Pictures) -> list[np.ndarray]:
        tile = watermark.pattern(BITS)
        return [watermark.marked(picture, tile, index) for index, picture in enumerate(pictures)]

    def read(self, pictures: Pictures) -> np.ndarray:
        return np.array([int(digit) for digit in f"{watermark.detect(list(pictures)).bits:016b}"])


class BlindWatermark:
    """blind-watermark: singular values of blocks of a wavelet's coefficients."""

    name, bits = "blind-watermark", Ours.bits

    def __init__(self):
        self._package = _package("blind_watermark", "blind-watermark")

    def marked(self, pictures: Pictures) -> list[np.ndarray]:
        return [self._one(picture) for picture in pictures]

    def _one(self, picture: np.ndarray) -> np.ndarray:
        mark = self._package.WaterMark(password_img=1, password_wm=1)
        mark.read_img(img=picture[..., ::-1])
        mark.read_wm(self.bits.astype(bool), mode="bit")
        return np.round(mark.embed()).astype(np.uint8)[..., ::-1]

    def read(self, pictures: Pictures) -> np.ndarray:
        mark = self._package.WaterMark(password_img=1, password_wm=1)
        found = [mark.extract(embed_img=p[..., ::-1].copy(), wm_shape=len(self.bits), mode="bit") for p in pictures]
        return (np.mean(found, 0) > 0.5).astype(int)


class RivaGan:
    """RivaGAN's two networks (invisible-watermark), 32 bits."""

    name = "RivaGAN"
    bits = np.random.default_rng(0).integers(0, 2, 32)
    _THRESHOLD = 0.52  # of that package

    def __init__(self):
        runtime = _package("onnxruntime", "onnxruntime")
        spec = importlib.util.find_spec("imwatermark")  # importing it would import PyTorch
        if spec is None or spec.origin is None:
            raise UserError("the peer invisible-watermark is not installed; see this program's head")
        folder = Path(spec.origin).parent
        load: Callable[[str], Any] = lambda part: runtime.InferenceSession(str(folder / f"rivagan_{part}.onnx"))  # noqa: E731
        self._encoder, self._decoder = load("encoder"), load("decoder")

    def marked(self, pictures: Pictures) -> list[np.ndarray]:
        return [self._one(picture) for picture in pictures]

    def _one(self, picture: np.ndarray) -> np.ndarray:
        given = {"frame": _network_input(picture), "data": self.bits[None].astype(np.float32)}
        made = self._encoder.run(None, given)[0][0, :, 0].transpose(1, 2, 0)
        return np.round((np.clip(made, -1, 1) + 1) * 127.5).astype(np.uint8)[..., ::-1]

    def read(self, pictures: Pictures) -> np.ndarray:
        found = [self._decoder.run(None, {"frame": _network_input(picture)})[0][0] for picture in pictures]
        return (np.mean(found, 0) > self._THRESHOLD).astype(int)


MARKS: tuple[Callable[[], Mark], ...] = (Ours, BlindWatermark, RivaGan)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks.mark_peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--marked", required=True, help="videos to be marked and attacked, with commas between")
    parser.add_argument("--frames", type=int, default=50, help="of each")
    given = parser.parse_args(argv)
    try:
        marks = [make() for make in MARKS]
    except UserError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    for path in map(Path, given.marked.split(",")):
        plain = list(itertools.islice(read_frames(path), given.frames))
        print(f"{path.name}: {len(plain)} frames of {'×'.join(map(str, plain[0].shape[1::-1]))}")
        for mark in marks:
            print(survey(mark, plain), flush=True)
    return 0


def survey(mark: Mark, plain: Pictures) -> str:
    """A row: PSNR, and the share of bits that are right after each attack, as it came and put back."""
    marked = mark.marked(plain)
    error = np.mean((np.stack(marked).astype(np.float64) - np.stack(plain)) ** 2)
    cells = [f"{10 * np.log10(255**2 / error):.1f}", _right(mark, marked)]
    for name in SEEN:
        crf, scale, crop = ATTACKS[name]
        came = attacked(marked, crf, scale, crop)
        whole = _put_back(came, plain[0].shape[:2], crop)
        cells.append(_right(mark, came) if whole is None else f"{_right(mark, came)} ({_right(mark, whole)})")
    return f"| {mark.name}, {len(mark.bits)} bits | {' | '.join(cells)} |"


def _right(mark: Mark, pictures: Pictures) -> str:
    return f"{round(100 * float(np.mean(mark.read(pictures) == mark.bits)))} %"


def _put_back(pictures: Pictures, size: tuple[int, int], crop: float) -> list[np.ndarray] | None:
    """Frames of the original ``size`` (height, width) again, grey where they were cut off; None where they are so."""
    if pictures[0].shape[:2] == size:
        return None
    top, left = (round(side * crop / 2) for side in size)
    height, width = size[0] - 2 * top, size[1] - 2 * left
    whole = []
    for picture in pictures:
        frame = np.full((*size, 3), 128, np.uint8)
        frame[top : top + height, left : left + width] = cv2.resize(picture, (width, height))
        whole.append(frame)
    return whole


def _network_input(picture: np.ndarray) -> np.ndarray:
    """[1, 3, 1, H, W] in [−1, 1], BGR."""
    return (picture[..., ::-1].astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None, :, None]


def _package(module: str, name: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(f"the peer {name} is not installed; see this program's head") from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
