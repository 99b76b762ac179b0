"""A sweep as a picture: an upright axis for each field and the score, a line for each trial."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.figure
import numpy as np

from jax_talker.app.sweeping.space import LISTED, Axis, Space

TICKS = 5
GREY = "0.65"


def draw(path: Path, records: Sequence[Mapping[str, Any]], space: Space, metric: str, title: str) -> None:
    """The colour of a line is its score; grey and broken are trials without one, which end before the last axis."""
    scores = [record[metric] for record in records if metric in record]
    low, high = (min(scores), max(scores)) if scores else (0.0, 1.0)
    places = {name: _Scale(axis, [record["values"].get(name) for record in records]) for name, axis in space.items()}
    last = len(places)
    figure = matplotlib.figure.Figure(figsize=(2.2 * max(2, last + 1), 4.2))
    axes = figure.subplots()
    colours = matplotlib.colormaps["viridis"]
    for record in reversed(records):  # the best on top
        heights = [scale.height(record["values"].get(name)) for name, scale in places.items()]
        if metric in record:
            share = _share(record[metric], low, high)
            axes.plot([*range(last), last], [*heights, share], color=colours(0.9 * share), linewidth=1.8)
        else:
            axes.plot(range(last), heights, color=GREY, linestyle="--", linewidth=1)
    for place, (name, scale) in enumerate(places.items()):
        _upright(axes, place, name, scale.ticks())
    shown = [(_share(x, low, high), f"{x:.4g}") for x in np.linspace(low, high, TICKS)] if scores else []
    _upright(axes, last, title, shown)
    axes.set_xlim(-0.3, last + 0.5)
    axes.set_ylim(-0.06, 1.12)
    axes.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def _upright(axes: Any, place: int, name: str, ticks: Sequence[tuple[float, str]]) -> None:
    axes.plot([place, place], [0, 1], color="black", linewidth=1)
    axes.text(place, 1.05, name, ha="center", va="bottom", fontsize=9)
    for height, text in ticks:
        axes.plot([place - 0.02, place + 0.02], [height, height], color="black", linewidth=1)
        box = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.7}
        axes.text(place + 0.04, height, text, ha="left", va="center", fontsize=8, bbox=box)


def _share(value: float, low: float, high: float) -> float:
    return 0.5 if high <= low else (value - low) / (high - low)


class _Scale:
    """From a field's values to heights in [0, 1]."""

    def __init__(self, axis: Axis, values: Sequence[Any]):
        self._log = axis.kind == "log_uniform"
        self._named = axis.kind in LISTED
        self._names = list(dict.fromkeys(map(str, axis.given))) if self._named else []
        self._values = values
        self._bounds = (0.0, 1.0) if self._named else (self._on(axis.given[0]), self._on(axis.given[1]))

    def _on(self, value: Any) -> float:
        return math.log10(value) if self._log else float(value)

    def height(self, value: Any) -> float:
        if self._named:
            return _share(self._names.index(str(value)), 0, len(self._names) - 1)
        return _share(self._on(value), *self._bounds)

    def ticks(self) -> list[tuple[float, str]]:
        if self._named:
            return [(self.height(name), Path(name).name[:24]) for name in self._names]
        marks = np.linspace(*self._bounds, TICKS)
        return [(_share(x, *self._bounds), f"{10**x if self._log else x:.3g}") for x in marks]
