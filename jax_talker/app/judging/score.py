"""A metric's result: a number with what it means, or why there is none."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

Better = Literal["higher", "lower", "zero", "none"]
ARROWS = {"higher": " ↑", "lower": " ↓", "zero": " → 0", "none": ""}


@dataclass(frozen=True)
class Score:
    """One number of one comparison."""

    name: str  # as in files: psnr, lmd
    title: str  # as in tables, variant included: SSIM (3DGS)
    value: float  # NaN where nothing could be measured; ``note`` says why
    unit: str = ""
    better: Better = "none"
    per_frame: np.ndarray | None = None  # [T], for curves and intervals; NaN where a frame has none
    note: str = ""
    digits: int = 3

    @property
    def heading(self) -> str:
        """The title of its column: name, unit, which way is better."""
        return f"{self.title}{f', {self.unit}' if self.unit else ''}{ARROWS[self.better]}"

    @property
    def text(self) -> str:
        """The number as tables show it."""
        if math.isnan(self.value):
            return "–"
        return "∞" if math.isinf(self.value) else f"{self.value:z.{self.digits}f}"  # z: no −0


@dataclass(frozen=True)
class Missing:
    """A metric without a number, for want of a file or of something else that the user can give."""

    name: str
    title: str
    what: str  # the file
    where: str  # where it comes from, and how it gets to be the file

    @property
    def heading(self) -> str:
        return self.title

    @property
    def text(self) -> str:
        """What tables show in place of a number."""
        return f"missing: {self.what}, {self.where}"


Result = Score | Missing


def mean(values: np.ndarray) -> float:
    """Of what there is: frames without a number do not count. NaN where none has one."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan
