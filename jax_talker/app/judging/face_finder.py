"""One face through a sequence of pictures, without looking ahead: what metrics compare."""

import importlib.util
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
from jaxtyping import UInt8

from jax_talker.data.track.faces import Face, Landmarker, box_of, overlap, sides_of

SAME_FACE = 0.1  # overlap of a face's boxes in successive pictures


class FaceFinder:
    """A landmarker for each of several sequences that are gone through at the same time, in threads of their own.

    Of several faces the one is taken that overlaps most with the last one of its sequence; the largest where none does.
    """

    def __init__(self, make: Callable[[], Landmarker], sequences: int):
        self._make, self._count = make, sequences

    def __enter__(self) -> "FaceFinder":
        with ExitStack() as stack:
            self._landmarkers = [stack.enter_context(self._make()) for _ in range(self._count)]
            self._pool = stack.enter_context(ThreadPoolExecutor(self._count))
            self._stack = stack.pop_all()
        self._last: list[Face | None] = [None] * self._count
        self._done = 0
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def name(self) -> str:
        return self._landmarkers[0].name

    @property
    def score_names(self) -> tuple[str, ...]:
        return self._landmarkers[0].score_names

    def __call__(self, *pictures: UInt8[np.ndarray, "n H W 3"]) -> list[list[Face | None]]:
        """The next pictures' faces, of each sequence; None where none is found."""
        found = list(self._pool.map(self._follow, range(self._count), pictures))
        self._done += len(pictures[0])
        return found

    def _follow(self, sequence: int, pictures: np.ndarray) -> list[Face | None]:
        out = []
        for index, picture in enumerate(pictures, self._done):
            face = _chosen(self._landmarkers[sequence](picture, index), self._last[sequence])
            self._last[sequence] = face or self._last[sequence]
            out.append(face)
        return out


def _chosen(faces: Sequence[Face], last: Face | None) -> Face | None:
    if not faces:
        return None
    boxes = np.stack([box_of(face.points) for face in faces])
    if last is not None:
        shared = [overlap(box_of(last.points), box) for box in boxes]
        if max(shared) > SAME_FACE:
            return faces[int(np.argmax(shared))]
    return faces[int(np.argmax(sides_of(boxes)))]


def has_mediapipe() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec("mediapipe") is not None
