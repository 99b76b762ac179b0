"""Figures beside the tables: every tenth frame as in the supplement's Fig. 2, and metrics' curves over frames."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import matplotlib.figure
import numpy as np
from jaxtyping import UInt8
from matplotlib.lines import Line2D

from jax_talker.app.judging.meters import Pair
from jax_talker.app.judging.score import Result, Score
from jax_talker.app.judging.tables import Table

EVERY = 10  # frames from one that is shown to the next
COLUMNS, MOST = 10, 40  # pictures of a row; of a figure


class Sampler:
    """A meter that measures nothing: it keeps every tenth frame of both, the first ``MOST``; of a render that is held
    against itself, because nobody filmed it, the render alone."""

    needs_faces = False

    def __init__(self) -> None:
        self._frames = 0
        self.kept: list[tuple[np.ndarray, ...]] = []  # (truth, render), or (render,)

    def add(self, pair: Pair) -> None:
        for i in range(pair.count):
            if (self._frames + i) % EVERY == 0 and len(self.kept) < MOST:
                shown = (pair.pred,) if pair.pred is pair.truth else (pair.truth, pair.pred)
                self.kept.append(tuple(pictures[i].copy() for pictures in shown))
        self._frames += pair.count

    def scores(self) -> list[Result]:
        return []


def alternating(kept: Sequence[tuple[np.ndarray, ...]]) -> UInt8[np.ndarray, "H W 3"]:
    """Truth in odd rows, the render of the same frames in the even ones below (without a truth it has all of them);
    white where there are no more."""
    height, width = kept[0][0].shape[:2]
    lines = len(kept[0])
    rows = -(-len(kept) // COLUMNS)
    sheet = np.full((lines * rows * height, min(COLUMNS, len(kept)) * width, 3), 255, np.uint8)
    for k, pair in enumerate(kept):
        row, column = divmod(k, COLUMNS)
        for below, picture in enumerate(pair):
            top, left = (lines * row + below) * height, column * width
            sheet[top : top + height, left : left + width] = picture
    return sheet


def write_sheets(sheets: Mapping[str, Sampler], stem: Path) -> list[Path]:
    """``stem``_<name>.png of every sampler that saw pictures."""
    paths = []
    for name, sampler in sheets.items():
        if not sampler.kept:
            continue
        path = stem.with_name(f"{stem.name}_{file_name(name)}.png")
        done, data = cv2.imencode(".png", alternating(sampler.kept)[..., ::-1])
        assert done
        path.write_bytes(data.tobytes())
        paths.append(path)
    return paths


def write_curves(table: Table, stem: Path) -> list[Path]:
    """``stem``_frames.png: each metric that has numbers of single frames, a line for each row; [] where none has."""
    curves: dict[tuple[str, str], dict[str, Score]] = {}
    for column in table.columns():
        for row in table.rows:
            cell = table.cell(row, column)
            if isinstance(cell, Score) and cell.per_frame is not None and np.isfinite(cell.per_frame).any():
                curves.setdefault(column, {})[row.name] = cell
    if not curves:
        return []
    figure = matplotlib.figure.Figure(figsize=(9, 2.2 * len(curves)))  # no pyplot: no screen, no global state
    axes = figure.subplots(len(curves), 1, squeeze=False, sharex=True)[:, 0]
    shown = dict.fromkeys(row.name for row in table.rows if any(row.name in lines for lines in curves.values()))
    colors = {name: f"C{k}" for k, name in enumerate(shown)}  # a row's is the same in all panels
    for axis, ((group, _), lines) in zip(axes, curves.items(), strict=True):
        for name, score in lines.items():
            if score.per_frame is not None:
                known = np.flatnonzero(np.isfinite(score.per_frame))
                mark = "." if len(known) < len(score.per_frame) / 2 else ""  # of every fifth frame, say
                values = score.per_frame[known]
                axis.plot(known, values, color=colors[name], linewidth=0.8, marker=mark, markersize=3)
        heading = next(iter(lines.values())).heading
        axis.set_ylabel(f"{group}\n{heading}" if group else heading, fontsize=7)
        axis.tick_params(labelsize=7)
    handles = [Line2D([], [], color=color, label=name) for name, color in colors.items()]
    axes[0].legend(handles=handles, fontsize=7, loc="lower left", bbox_to_anchor=(0, 1.02), ncols=2)
    axes[-1].set_xlabel("frame")
    figure.tight_layout()
    path = stem.with_name(f"{stem.name}_frames.png")
    figure.savefig(path, dpi=110)
    return [path]


def file_name(name: str) -> str:
    """A name as a part of a file's: letters, digits, - and + stay."""
    return "".join(c if c.isalnum() or c in "-+" else "_" for c in name)
