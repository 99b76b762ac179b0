"""How pictures get worse the further a camera is away from the one that was trained on.

For people who were filmed from further sides: MEAD's actors, and all synthetic people, who can be filmed again from
anywhere (``python -m jax_talker.prepare --procedural … --camera yaw=45``; ``--filmed``).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
from matplotlib.lines import Line2D

from jax_talker.app.judging.score import Score
from jax_talker.app.judging.tables import Row, Table
from jax_talker.app.judging.yardstick_rows import MEAN, NEAREST
from jax_talker.data.clip.clip import Clip
from jax_talker.errors import UserError

SAME = 1e-4  # of a label's numbers, which are stored as float32
ALIKE = 5.0  # of 255: compressed films (make demo's is one) are 1 or 2 off the same filmed anew, another face is 45
LINES: tuple[Any, ...] = ("-", "--", ":")  # after ten colours
SHOWN = ("psnr", "psnr_lower", "ssim", "lpips_alex", "lpips_vgg")
TOGETHER = 2  # degrees between neighbours that share a point of the line: (20, 20) and (−20, −20) are 30 and 29 away


def further(clip: Clip, filmed: Clip | None) -> dict[str, Clip]:
    """Cameras beside the clip's own: its further ones, and those of ``filmed``, in which the same recording was filmed
    from more sides. UserError where that is another recording."""
    out = {name: clip.view(name) for name in clip.view_names}
    if filmed is None:
        return out
    same = filmed.frames == clip.frames and filmed.size == clip.size
    same = same and np.array_equal(filmed.audio(), clip.audio())
    last = clip.frames - 1
    if not same or np.abs(filmed.image(last).astype(float) - clip.image(last)).mean() > ALIKE:
        raise UserError(
            f"--filmed {filmed.root}: is another recording than {clip.root}, or of another size; film the same person "
            "for the same seconds, with more --camera"
        )
    known = [camera.arrays["label"] for camera in out.values()]
    for name in filmed.view_names:
        camera = filmed.view(name)
        if not any(np.allclose(camera.arrays["label"], label, atol=SAME) for label in known):
            out[name] = camera
    return out


def angle(own: Clip, camera: Clip) -> float:
    """Degrees between the directions in which two cameras look, a mean over the clip."""
    a, b = (c.arrays["label"][:, [2, 6, 10]].astype(np.float64) for c in (own, camera))
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean())


def in_order(cameras: Mapping[str, Clip]) -> dict[str, Clip]:
    """The own camera, which comes first, and the others from the nearest to the farthest, with their angles in their
    names."""
    (front, own), *others = cameras.items()
    far = {front: 0.0} | {name: angle(own, camera) for name, camera in others}
    order = [front, *sorted(dict(others), key=lambda name: far[name])]
    return {f"{name}, {far[name]:.0f}°": cameras[name] for name in order}


def curves(rows: Sequence[Row]) -> dict[str, dict[str, dict[int, list[float]]]]:
    """Metric's heading → row → degrees → what each camera at so many degrees got; ∞ and NaN are left out, and so are
    the mean frame and the nearest pose, which are so far off that no other row could be told from the next."""
    out: dict[str, dict[str, dict[int, list[float]]]] = {}
    for row in (row for row in rows if row.name not in (MEAN, NEAREST)):
        for group, results in row.results.items():
            degrees = group.rpartition(", ")[2].removesuffix("°")
            if not degrees.isdigit():
                continue
            for result in results:
                if isinstance(result, Score) and result.name in SHOWN and np.isfinite(result.value):
                    of_row = out.setdefault(result.heading, {}).setdefault(row.name, {})
                    of_row.setdefault(int(degrees), []).append(result.value)
    return out


def line(at: Mapping[int, Sequence[float]]) -> tuple[list[float], list[float]]:
    """Degrees and values of a row's line: means over the cameras that are about as far away."""
    groups: list[list[int]] = []
    for degrees in sorted(at):
        if groups and degrees - groups[-1][-1] <= TOGETHER:
            groups[-1].append(degrees)
        else:
            groups.append([degrees])
    dots = [[(d, value) for d in group for value in at[d]] for group in groups]
    means = np.array([np.mean(some, 0) for some in dots]).reshape(-1, 2)
    return means[:, 0].tolist(), means[:, 1].tolist()


def write_plot(table: Table, stem: Path) -> list[Path]:
    """``stem``_angles.png: each metric against the angle; a dot for each camera, lines through the means."""
    found = curves(table.rows)
    titles = {r.heading: r.name for row in table.rows for group in row.results.values() for r in group}
    found = {heading: found[heading] for heading in sorted(found, key=lambda h: SHOWN.index(titles[h]))}
    if not found:
        return []
    figure = matplotlib.figure.Figure(figsize=(3.6 * len(found), 3.4))
    axes = figure.subplots(1, len(found), squeeze=False)[0]
    # What one camera alone shows (a ceiling's frames) is no curve.
    names = dict.fromkeys(name for rows in found.values() for name, at in rows.items() if len(at) > 1)
    styles = {name: (f"C{k % 10}", LINES[k // 10 % len(LINES)]) for k, name in enumerate(names)}
    below = 0.1 + 0.22 * -(-len(names) // 2)  # inches of legend
    figure.set_size_inches(3.6 * len(found), 3 + below)
    for axis, (heading, rows) in zip(axes, found.items(), strict=True):
        for name, (color, style) in styles.items():
            at = rows.get(name, {})
            axis.plot(*line(at), linestyle=style, linewidth=1, color=color)
            dots = [(d, value) for d in at for value in at[d]]
            axis.plot([d for d, _ in dots], [value for _, value in dots], ".", markersize=4, color=color)
        axis.set_xlabel("camera's angle to the trained one, degrees", fontsize=8)
        axis.set_title(heading, fontsize=9)
        axis.tick_params(labelsize=7)
    handles = [Line2D([], [], color=color, linestyle=style, label=name) for name, (color, style) in styles.items()]
    figure.legend(handles=handles, fontsize=7, loc="lower center", ncols=2)
    figure.tight_layout(rect=(0, below / (3 + below), 1, 1))
    path = stem.with_name(f"{stem.name}_angles.png")
    figure.savefig(path, dpi=100)
    return [path]
