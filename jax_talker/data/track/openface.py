"""OpenFace's tables as people have them: of several people, with failed frames, saved again by a spreadsheet."""

import csv
import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from jax_talker.errors import UserError

COLUMN = "AU45_r"
SURE = 0.5  # OpenFace's confidence below which a row says nothing, whatever its ``success``
NO_NUMBER = {"", "na", "n/a", "#n/a", "null", "none", "nan", "+nan", "-nan", "inf", "+inf", "-inf"}
TRUTH = {"true": "1", "false": "0"}
OFTEN = 0.5  # of the best person's good rows; who has fewer is a false alarm or somebody who passes by

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenFaceTable:
    """N rows in the order of time."""

    path: Path
    times: Float64[np.ndarray, " N"] | None  # s; None where the table has none
    intensity: Float64[np.ndarray, " N"]  # of one action unit, AU45_r unless asked otherwise; NaN where OpenFace failed
    person: Int64[np.ndarray, " N"]  # face_id; 0 where the table has none


def read_table(path: Path, unit: str = COLUMN) -> OpenFaceTable:
    """A CSV with a column ``unit``: separated by commas, semicolons or tabs; UTF-8 or UTF-16, any line ends.

    Where commas do not separate, they may be decimal. UserError says what is missing.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such OpenFace CSV")
    lines = _text(path.read_bytes()).splitlines()
    if lines and lines[0].strip().lower().startswith("sep="):  # Excel's own
        lines = lines[1:]
    separator = max(",;\t", key=lines[0].count) if lines else ","
    reader = csv.reader((line for line in lines if line.strip()), delimiter=separator)
    names, *rows = [[field.strip() for field in row] for row in reader] or [[]]
    if unit not in names:
        raise UserError(f"{path}: no {unit} column; run OpenFace's FeatureExtraction with -aus")
    rows = [row if any(row[len(names) :]) else row[: len(names)] for row in rows]  # spreadsheets pad
    if not rows or any(len(row) != len(names) for row in rows):
        wrong = next((i for i, row in enumerate(rows, 2) if len(row) != len(names)), 2)
        raise UserError(f"{path}: row {wrong} does not have the header's {len(names)} fields; is it cut off?")

    def column(name: str, otherwise: float) -> np.ndarray:
        if name not in names:
            return np.full(len(rows), otherwise)
        place = names.index(name)
        try:
            return np.array([_number(row[place], decimal_comma=separator != ",") for row in rows])
        except ValueError as error:
            raise UserError(f"{path}: {name} holds something that is not a number ({error})") from None

    failed = ~(column("success", 1) > 0) | ~(column("confidence", 1) >= SURE)
    intensity = np.where(failed, np.nan, column(unit, np.nan))
    person = np.nan_to_num(column("face_id", 0)).astype(np.int64)
    if "timestamp" not in names:
        return OpenFaceTable(path, None, intensity, person)
    times = column("timestamp", 0)
    stamped = np.flatnonzero(np.isfinite(times))
    order = stamped[np.argsort(times[stamped], kind="stable")]
    if not len(order):
        raise UserError(f"{path}: timestamp holds no number")
    return OpenFaceTable(path, times[order], intensity[order], person[order])


def first_person(table: OpenFaceTable) -> OpenFaceTable:
    """The rows of one person: of those who are seen often, the one whom OpenFace counts first."""
    people, number = np.unique(table.person, return_inverse=True)
    good = np.bincount(number, np.isfinite(table.intensity))
    chosen = people[np.flatnonzero(good >= OFTEN * good.max())[0]]
    if len(people) > 1:
        log.warning("%s: holds %d people; face_id %d is used", table.path, len(people), chosen)
    own = table.person == chosen
    times = None if table.times is None else table.times[own]
    if times is not None and (np.diff(times) <= 0).any():
        twice = times[1:][np.diff(times) <= 0][0]
        raise UserError(
            f"{table.path}: has several rows for {twice:.3f} s, as of several people or videos; keep those of one"
        )
    return replace(table, times=times, intensity=table.intensity[own], person=table.person[own])


def _text(content: bytes) -> str:
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    return content.decode("utf-16" if wide else "utf-8-sig", errors="replace")


def _number(text: str, *, decimal_comma: bool) -> float:
    """NaN for what programs write where they have no number."""
    plain = text.lower()
    if plain in NO_NUMBER or plain.startswith(("-nan(", "nan(", "1.#", "-1.#", "1,#", "-1,#")):
        return np.nan
    return float(TRUTH.get(plain, plain.replace(",", ".") if decimal_comma else plain))
