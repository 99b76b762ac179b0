"""Mattes made elsewhere (MODNet, Robust Video Matting, …), and the choice to cut nothing out."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from jax_talker.data.clip.clip import FPS
from jax_talker.data.cut.matte import Cutter, HeadView, neck_fade
from jax_talker.data.read.video import probe, read_alpha, read_frames
from jax_talker.data.track.landmarks import LandmarkScheme
from jax_talker.errors import UserError

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
NUMBER = re.compile(r"(\d+)")
SECONDS = re.compile(r"(\d+\.\d+)$")


class AlphaFiles:
    """Alpha of each 25 fps frame from a folder of pictures (one per frame, in the order of their numbers) or a video.

    Pictures have the source's size. Their alpha channel is used where there is one that is not opaque everywhere, else
    the brightness (white is head). A video is read like the source, by time.
    """

    warm_up = 0
    fades = False

    def __init__(self, path: str | Path, *, frames: int, start: float):
        """``frames``: how many pictures the source has from ``start`` (seconds) on."""
        self._path, self._start = Path(path), start
        self._names: list[Path] | None = None
        self._next = 0
        self._alphas: Iterator[np.ndarray] = iter(())
        self._transparent: bool | None = None
        if self._path.is_dir():
            self._names = in_order(_pictures(self._path))
            if len(self._names) != frames:
                raise UserError(
                    f"{path}: holds {len(self._names)} pictures, but the source has {frames} at {FPS} fps; a matte "
                    "folder needs one picture per frame (or give the matte as a video)"
                )

    def look(self, index: int, picture: UInt8[np.ndarray, "H W 3"], view: HeadView) -> UInt8[np.ndarray, "H W"]:
        """Alpha of picture ``index``, which counts from ``start``."""
        alpha = _read_alpha(self._names[index]) if self._names is not None else self._from_video(index)
        if alpha.shape != picture.shape[:2]:
            raise UserError(
                f"{self._path}: mattes are {alpha.shape[1]}×{alpha.shape[0]}, "
                f"the video is {picture.shape[1]}×{picture.shape[0]}; both must have the same size"
            )
        return alpha

    def _from_video(self, index: int) -> UInt8[np.ndarray, "H W"]:
        if index != self._next or index == 0:
            if self._transparent is None:
                self._transparent = probe(self._path).has_alpha
            begin = self._start + index / FPS
            if self._transparent:
                self._alphas = read_alpha(self._path, start=begin)
            else:
                self._alphas = (cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in read_frames(self._path, start=begin))
        self._next = index + 1
        alpha = next(self._alphas, None)
        if alpha is None:
            raise UserError(f"{self._path}: the matte ends before the picture does")
        return alpha

    def cutter(self) -> Cutter:
        return _cut_alpha


def in_order(paths: Sequence[Path]) -> list[Path]:
    """Numbered files as people count: 2 before 10, with or without leading zeros.

    Names that end in seconds (0.04, 0.08, 0.1, …) are ordered by these.
    """
    ends = [SECONDS.search(path.stem) for path in paths]
    fractions = [end[1].partition(".")[2] for end in ends if end]
    # A counter after a dot is padded in all names or in none.
    seconds = (
        len(fractions) == len(paths) and len({*map(len, fractions)}) > 1 and any(f[0] == "0" != f for f in fractions)
    )

    def key(path: Path) -> tuple:
        parts = (SECONDS if seconds else NUMBER).split(path.stem.casefold())  # text, number, text, …
        numbers = [float(part) if seconds else int(part) for part in parts[1::2]]
        return [x for pair in zip(parts[::2], [*numbers, 0], strict=True) for x in pair], path.name

    return sorted(paths, key=key)


def _pictures(folder: Path) -> list[Path]:
    """Hidden files are none: macOS puts one beside each on foreign disks."""
    return [p for p in folder.iterdir() if p.suffix.lower() in IMAGES and not p.name.startswith(".")]


class OwnAlpha(AlphaFiles):
    """The alpha channel of the recording itself: a person with shoulders, so the neck fades out as in ``HeadMatte``."""

    fades = True

    def __init__(self, path: Path, *, frames: int, start: float, scheme: LandmarkScheme, focal: float):
        super().__init__(path, frames=frames, start=start)
        self._scheme, self._focal = scheme, focal

    def cutter(self) -> Cutter:
        def cut(looked: np.ndarray, view: HeadView, seen: np.ndarray) -> Float32[np.ndarray, "S S"]:
            return _cut_alpha(looked, view, seen) * neck_fade(view, len(seen), self._focal)

        return cut


class NoMatte:
    """Nothing is cut out; only what lies outside the source picture is not there."""

    warm_up = 0
    fades = False

    def look(self, index: int, picture: UInt8[np.ndarray, "H W 3"], view: HeadView) -> tuple[int, ...]:
        return picture.shape

    def cutter(self) -> Cutter:
        return _whole


def _cut_alpha(
    looked: UInt8[np.ndarray, "H W"], view: HeadView, seen: UInt8[np.ndarray, "S S 3"]
) -> Float32[np.ndarray, "S S"]:
    cut = view.crop.cut(np.ascontiguousarray(looked[..., None]), len(seen))[..., 0] / 255
    return (cut * view.crop.inside(looked.shape, len(seen))).astype(np.float32)


def _whole(looked: tuple[int, ...], view: HeadView, seen: UInt8[np.ndarray, "S S 3"]) -> Float32[np.ndarray, "S S"]:
    return view.crop.inside(looked, len(seen)).astype(np.float32)


def _read_alpha(path: Path) -> UInt8[np.ndarray, "H W"]:
    image = cv2.imdecode(np.frombuffer(path.read_bytes() or b"\0", np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise UserError(f"{path}: not a picture that can be read")
    image = (image // 257).astype(np.uint8) if image.dtype == np.uint16 else np.asarray(image, np.uint8)
    if image.ndim == 2:
        return image
    if image.shape[2] == 4 and image[..., 3].min() < 255:
        return np.ascontiguousarray(image[..., 3])
    return cv2.cvtColor(np.ascontiguousarray(image[..., :3]), cv2.COLOR_BGR2GRAY)
