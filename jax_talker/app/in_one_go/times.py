"""How long each part of the work takes: measured on this machine before, else guessed from another."""

import contextlib
import json
import math
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp

FILE = "times.json"
FEW = 3  # units from which on a part says how long one takes
# (s until the first unit is done, s for one more, at 128²; the same for each further pixel over that at 128²), with the
# human prior, on one core of an Intel Xeon on which MATMUL takes the time below. A first guess, and replaced by what is
# measured.
GUESS = {
    "finding the face": (0.5, 0.018, 0.0),
    "refining poses": (0.6, 0.033, 0.0),
    "learning colours": (0.1, 0.011, 0.0),
    "cutting it out": (0.1, 0.042, 0.01),
    "invert": (75.0, 0.41, 0.2),
    "drawing frames": (2.0, 0.025, 0.0),
    "tune": (38.0, 0.18, 0.1),
    "hear": (30.0, 0.013, 0.0),
    "navigate": (1.0, 0.41, 0.2),
    "render": (12.0, 0.021, 0.02),
}
WITH_LPIPS = 1.5  # times as long a step with it in the loss takes
MATMUL, MATMUL_SECONDS = 1024, 0.036  # of two matrices as large, on the machine of GUESS


@dataclass(frozen=True)
class Part:
    """One part of the work, of so many units (frames or steps)."""

    name: str
    units: int
    size: int  # of the pictures, px
    prior: str = ""  # its name, where it makes a difference
    lpips: bool = False  # in the loss

    @property
    def key(self) -> str:
        how = f" {self.prior}" * bool(self.prior) + " lpips" * self.lpips
        return f"{self.name} {self.size} {jax.default_backend()}{how}"


class Times:
    """What parts took on this machine: a small file in the user's cache folder, which may be deleted."""

    def __init__(self, folder: Path):
        self._path = folder / FILE
        self._known: dict[str, tuple[float, float]] = {}
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):  # no file yet, or a spoilt one
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            self._known = {str(key): (float(first), float(each)) for key, (first, each) in stored.items()}

    def expected(self, parts: Iterable[Part]) -> tuple[dict[str, float], bool]:
        """Seconds of each part by name, and whether all of them were measured here before."""
        parts = [part for part in parts if part.units > 0]
        known = all(part.key in self._known for part in parts)
        slower = 1.0 if known else _slower()
        return {part.name: self._one(part, slower) for part in parts}, known

    def _one(self, part: Part, slower: float) -> float:
        if part.key in self._known:
            first, each = self._known[part.key]
            return first + each * (part.units - 1)
        first, each, more = GUESS[part.name]
        longer = WITH_LPIPS if part.lpips else 1.0
        return slower * (first + longer * (each + more * max(0.0, (part.size / 128) ** 2 - 1)) * (part.units - 1))

    def measured(self, part: Part, first: float, rest: float, units: int) -> None:
        """Remember that ``units`` were done in ``first`` seconds for the first one and ``rest`` for the others."""
        if units < FEW:
            return
        self._known[part.key] = (round(first, 3), round(rest / (units - 1), 5))
        with contextlib.suppress(OSError):  # a read-only home: the next guess is as good as this one
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside = self._path.with_name(f".{FILE}.{os.getpid()}")
            beside.write_text(json.dumps(self._known, indent=1), encoding="utf-8")
            beside.replace(self._path)


def in_words(seconds: float) -> str:
    """ "40 s", "6 min", "2 h 10 min": as exact as a guess is."""
    if seconds < 90:
        return f"{max(1, round(seconds / 5) * 5 if seconds > 10 else math.ceil(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _slower() -> float:
    """How many times longer this machine takes than that of GUESS; takes a fraction of a second to tell.

    Steps are multiplications of matrices in part only: an AMD EPYC that multiplies 4.5 times as fast takes about half
    the time. So it is the square root.
    """
    multiply = jax.jit(jnp.matmul)
    square = jnp.ones((MATMUL, MATMUL), jnp.float32)
    multiply(square, square).block_until_ready()
    took = []
    for _ in range(5):
        begun = time.perf_counter()
        multiply(square, square).block_until_ready()
        took.append(time.perf_counter() - begun)
    return (min(took) / MATMUL_SECONDS) ** 0.5
