"""Mattes made elsewhere (MODNet, Robust Video Matting, …), and the choice to cut nothing out."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from jax_talker.data.clip import FPS
from jax_talker.data.matte import HeadView
from jax_talker.data.video import read_frames
from jax_talker.errors import UserError

IMAGES = (".png", ".jpg", ".jpeg", ".webp")


class AlphaFiles:
    """Alpha of each 25 fps frame from a folder of pictures, one per frame in the order of their names, or from a video.

    Pictures have the source's size; an alpha channel is used where there is one, else the brightness (white is head).
    A video is read like the source, by time. Called once per frame, in order.
    """

    def __init__(self, path: str | Path, *, frames: int, start: float, duration: float | None):
        self._path = Path(path)
        if self._path.is_dir():
            names = sorted(p for p in self._path.iterdir() if p.suffix.lower() in IMAGES)
            if len(names) != frames:
                raise UserError(
                    f"{path}: holds {len(names)} pictures, but the clip has {frames} frames at {FPS} fps; a matte "
                    "folder needs one picture per frame (or give the matte as a video)"
                )
            self._alphas: Iterator[np.ndarray] = map(_read_alpha, names)
        else:
            self._alphas = (frame[..., 1] for frame in read_frames(path, start=start, duration=duration))

    def __call__(
        self, picture: UInt8[np.ndarray, "H W 3"], view: HeadView, seen: UInt8[np.ndarray, "S S 3"]
    ) -> Float32[np.ndarray, "S S"]:
        alpha = next(self._alphas, None)
        if alpha is None:
            raise UserError(f"{self._path}: the matte ends before the picture does")
        if alpha.shape != picture.shape[:2]:
            raise UserError(
                f"{self._path}: mattes are {alpha.shape[1]}×{alpha.shape[0]}, "
                f"the video is {picture.shape[1]}×{picture.shape[0]}; both must have the same size"
            )
        cut = view.crop.cut(np.ascontiguousarray(alpha[..., None]), len(seen))[..., 0] / 255
        return (cut * view.crop.inside(picture.shape, len(seen))).astype(np.float32)


def whole_crop(
    picture: UInt8[np.ndarray, "H W 3"], view: HeadView, seen: UInt8[np.ndarray, "S S 3"]
) -> Float32[np.ndarray, "S S"]:
    """No matte: the background stays; only what lies outside the source picture is not there."""
    return view.crop.inside(picture.shape, len(seen)).astype(np.float32)


def _read_alpha(path: Path) -> UInt8[np.ndarray, "H W"]:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise UserError(f"{path}: not a picture that can be read")
    if image.dtype == np.uint16:
        image = (image // 257).astype(np.uint8)
    if image.ndim == 2:
        return image
    return image[..., 3] if image.shape[2] == 4 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
