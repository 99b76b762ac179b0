"""AUE-L and AUE-U: action units as OpenFace measured them in both videos."""

from pathlib import Path

import numpy as np

from jax_talker.app.judging.meters import Pair
from jax_talker.app.judging.score import Result, Score, mean
from jax_talker.data.track.openface import first_person, read_table
from jax_talker.errors import UserError
from jax_talker.metrics.faces import score_error

# TalkingGaussian's split (intensities, columns AU…_r). Talk3D's AUE takes binary columns of other units: incomparable.
AUE_UNITS = {
    "lower": (10, 12, 14, 15, 17, 20, 23, 25, 26),
    "upper": (1, 2, 4, 5, 6, 7, 9, 45),
}
TITLES = {f"aue_{part}": f"AUE-{part[0].upper()} (OpenFace)" for part in AUE_UNITS}


class ActionUnitMeter:
    """Squared differences of intensities (0 … 5), summed over units, mean over frames."""

    needs_faces = False

    def __init__(self, pred: Path, truth: Path):
        self._tables = {
            part: [np.stack([_intensity(path, unit) for unit in units], 1) for path in (pred, truth)]
            for part, units in AUE_UNITS.items()
        }
        lengths = [len(table) for table in self._tables["lower"]]
        if lengths[0] != lengths[1]:
            raise UserError(
                f"{pred} has {lengths[0]} rows and {truth} {lengths[1]}: run OpenFace on the two videos that are "
                "compared, cut to the same frames"
            )
        self._frames = 0

    def add(self, pair: Pair) -> None:
        self._frames += pair.count

    def scores(self) -> list[Result]:
        out: list[Result] = []
        for part, (pred, truth) in self._tables.items():
            if len(pred) != self._frames:
                raise UserError(
                    f"OpenFace's CSVs have {len(pred)} rows where {self._frames} frames are compared (25 fps); run it "
                    "on these very videos, converted to 25 fps"
                )
            values = score_error(pred, truth)
            out.append(Score(name := f"aue_{part}", TITLES[name], mean(values), "", "lower", values))
        return out


def _intensity(path: Path, unit: int) -> np.ndarray:
    return first_person(read_table(path, f"AU{unit:02d}_r")).intensity
