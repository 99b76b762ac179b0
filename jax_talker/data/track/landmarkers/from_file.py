"""Landmarks that somebody else has found."""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import UInt8

from jax_talker.data.clip.clip import FPS
from jax_talker.data.track.faces import Face
from jax_talker.data.track.landmarks import scheme_of
from jax_talker.errors import UserError


class FileLandmarker:
    """Landmarks made elsewhere: an .npz (array ``landmarks`` or its only one) or .npy of [T, P, 2] or [T, P, 3].

    T counts the 25 fps frames that ``prepare`` reads, points are pixels of the source picture (third number: depth,
    away from the camera, in the same unit), and NaN means that there is no face. P is 478, 468 or 68.
    """

    name = "file"
    score_names = ()
    reach = 0.0

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._all = _read_landmarks(self.path)
        scheme_of(self._all.shape[1])

    def __call__(self, rgb: UInt8[np.ndarray, "H W 3"], index: int) -> list[Face]:
        if index >= len(self._all):
            raise self._wrong_length("more")
        points = self._all[index]
        if not np.isfinite(points).all():
            return []
        return [Face(points=points[:, :2], depth=points[:, 2] if points.shape[1] == 3 else None)]

    def check_length(self, frames: int) -> None:
        if frames != len(self._all):
            raise self._wrong_length(str(frames))

    def _wrong_length(self, frames: str) -> UserError:
        return UserError(
            f"{self.path}: holds landmarks of {len(self._all)} frames, but the video has {frames} at {FPS} fps; make "
            f"one row for every {FPS} fps frame of the part that is prepared"
        )

    def __enter__(self) -> "FileLandmarker":
        return self

    def __exit__(self, *error: object) -> None:
        pass


def _read_landmarks(path: Path) -> np.ndarray:
    if not path.is_file():
        raise UserError(f"{path}: no such landmark file")
    try:
        stored = np.load(path, allow_pickle=False)
        if not isinstance(stored, np.ndarray):
            names = stored.files
            if "landmarks" not in names and len(names) != 1:
                raise UserError(f"{path}: needs an array called 'landmarks', found {names}")
            stored = stored["landmarks" if "landmarks" in names else names[0]]
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise UserError(f"{path}: not a NumPy file of landmarks ({error})") from None
    if stored.ndim != 3 or stored.shape[2] not in (2, 3) or not np.issubdtype(stored.dtype, np.number):
        raise UserError(f"{path}: landmarks must be [frames, points, 2 or 3] numbers, found {stored.shape}")
    return stored.astype(np.float64)
