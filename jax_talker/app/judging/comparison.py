"""Several methods on the same frames: by how much each is behind the best, and how sure that is."""

from collections.abc import Sequence

import numpy as np

from jax_talker.app.judging.score import Score
from jax_talker.app.judging.tables import Table
from jax_talker.metrics.bootstrap import BLOCK, LEAST, LEVEL, SAMPLES, paired_interval


def differences(table: Table, methods: Sequence[str]) -> list[str]:
    """One line for each metric with numbers of single frames and each of ``methods`` but the best: mean difference to
    the best and its interval; and which metrics have too few frames for that.
    """
    lines: list[str] = []
    short: dict[str, int] = {}
    for column in table.columns():
        cells = {row.name: table.cell(row, column) for row in table.rows if row.name in methods}
        known = {
            name: cell
            for name, cell in cells.items()
            if isinstance(cell, Score) and cell.per_frame is not None and np.isfinite(cell.value)
        }
        ranked = [cell for cell in known.values() if cell.better in ("higher", "lower")]
        if len(known) < 2 or len(ranked) < len(known):
            continue
        sign = -1 if ranked[0].better == "higher" else 1
        best = min(known, key=lambda name: sign * known[name].value)
        for name, cell in known.items():
            own, others = cell.per_frame, known[best].per_frame
            if name == best or own is None or others is None:
                continue
            where = f"{column[0]}: " if column[0] else ""
            if (known_frames := int((~np.isnan(own) & ~np.isnan(others)).sum())) < LEAST:
                short[where + cell.title] = known_frames
                continue
            found, low, high = paired_interval(own, others)
            if np.isnan(found):
                continue
            sure = "" if low > 0 or high < 0 else ", so not told apart"
            lines.append(f"{where}{cell.title}: {name} − {best} = {found:+.4g} [{low:+.4g}, {high:+.4g}]{sure}")
    if lines:
        lines.insert(
            0,
            f"Differences to the best: means over frames and their {100 * LEVEL:.0f} % intervals (paired bootstrap, "
            f"{SAMPLES} draws of whole blocks of {BLOCK} frames, since neighbours are alike):",
        )
    if short:
        few = ", ".join(f"{title} ({count})" for title, count in short.items())
        lines.append(f"Without intervals, which need {LEAST} frames that both know: {few}")
    return lines
