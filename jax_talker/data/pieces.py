"""Results of long work in numbered pieces on disk, so that it can be interrupted and continued."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np


class Pieces:
    """Pieces 0, 1, 2, … of one piece of work; the last one is marked. A piece is there whole or not at all."""

    def __init__(self, folder: Path):
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def whole(self) -> bool:
        """Whether the last piece is there."""
        return (self._folder / "last").is_file()

    def count(self) -> int:
        """How many pieces are there without a gap."""
        number = 0
        while self._path(number).is_file():
            number += 1
        return number

    def has(self, number: int) -> bool:
        return self._path(number).is_file()

    def add(self, arrays: dict[str, np.ndarray], *, last: bool = False, **more: np.ndarray) -> None:
        """Keep the next piece; ``last`` says that the work is whole with it."""
        self.put(self.count(), {**arrays, **more})
        if last:
            (self._folder / "last").touch()

    def put(self, number: int, arrays: dict[str, np.ndarray]) -> None:
        """Keep piece ``number``."""
        path = self._path(number)
        work = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(work, allow_pickle=False, **arrays)  # type: ignore[arg-type]  # numpy's stub takes arrays' names for flags
        work.replace(path)

    def load(self) -> Iterator[dict[str, np.ndarray]]:
        """All pieces in order."""
        for number in range(self.count()):
            with np.load(self._path(number), allow_pickle=False) as stored:
                yield {name: stored[name] for name in stored.files}

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.npz"
