"""Results of long work in numbered chunks on disk, so that it can be interrupted and continued."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np


class Chunks:
    """Chunks 0, 1, 2, … of some work, each there whole or not at all; ``end`` marks that there are no more."""

    def __init__(self, folder: Path):
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def whole(self) -> bool:
        """Whether all chunks are there."""
        return (self._folder / "end").is_file()

    def end(self) -> None:
        """There are no more chunks."""
        (self._folder / "end").touch()

    def count(self) -> int:
        """How many chunks are there without a gap."""
        number = 0
        while self._path(number).is_file():
            number += 1
        return number

    def has(self, number: int) -> bool:
        return self._path(number).is_file()

    def put(self, number: int, arrays: dict[str, np.ndarray]) -> None:
        """Keep chunk ``number``."""
        path = self._path(number)
        work = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(work, allow_pickle=False, **arrays)  # type: ignore[arg-type]  # numpy's stub takes arrays' names for flags
        work.replace(path)

    def load(self) -> Iterator[dict[str, np.ndarray]]:
        """All chunks in order."""
        return (self.get(number) for number in range(self.count()))

    def get(self, number: int) -> dict[str, np.ndarray]:
        with np.load(self._path(number), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.npz"
