"""Two videos, alone: one row for the rendered one, one for the true one by itself."""

from collections.abc import Sequence
from dataclasses import replace

from jax_talker.app.judging.catalogue import Setting
from jax_talker.app.judging.judge import Bar, judge
from jax_talker.app.judging.provenance import provenance
from jax_talker.app.judging.tables import Row, Table

TRUTH = "Ground truth"


def compare(setting: Setting, names: Sequence[str], bar: Bar) -> Table:
    """Metrics ``names`` of ``setting.pred`` against ``setting.truth``, and of the truth against itself: what a perfect
    picture gets, and what metrics that have no truth (jitter, synchronisation) say of the recording."""
    rows = [
        Row(TRUTH, {"": judge(of_truth(setting), names, bar)}),
        Row(setting.pred.name, {"": judge(setting, names, bar)}),
    ]
    return Table(f"{setting.pred.name} against {setting.truth.name}", rows, provenance())


def of_truth(setting: Setting) -> Setting:
    """The truth in the place of the render."""
    openface = None if setting.openface is None else (setting.openface[1],) * 2
    return replace(setting, pred=setting.truth, openface=openface)
