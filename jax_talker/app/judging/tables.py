"""Tables of results: Markdown for reading, CSV for sheets, JSON with everything that was measured."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jax_talker.app.judging.score import Missing, Result, Score
from jax_talker.errors import UserError

FORMATS = (".md", ".csv", ".json")


@dataclass(frozen=True)
class Row:
    """One method, or one yardstick. ``group`` names the columns' common heading, as of a view."""

    name: str
    results: Mapping[str, Sequence[Result]]  # heading of a group of columns ("" for the only one) → its results


@dataclass(frozen=True)
class Table:
    """Rows of the same columns, and where the numbers come from."""

    title: str
    rows: Sequence[Row]
    provenance: Mapping[str, Any]
    notes: Sequence[str] = field(default=())

    def columns(self) -> list[tuple[str, str]]:
        """(group, metric) of every column, in the order in which rows bring them."""
        found: dict[tuple[str, str], None] = {}
        for row in self.rows:
            for group, results in row.results.items():
                found |= {(group, result.name): None for result in results}
        return list(found)

    def cell(self, row: Row, column: tuple[str, str]) -> Result | None:
        group, name = column
        return next((r for r in row.results.get(group, ()) if r.name == name), None)


def markdown(table: Table, *, marked: Sequence[str] = ()) -> str:
    """The table with its notes and its origin.

    Of the rows ``marked`` (methods that compete) the best number of a column is bold and the second underlined.
    """
    columns = table.columns()
    lines = [f"# {table.title}", "", "| |" + "|".join(f" {_heading(table, c)} " for c in columns) + "|"]
    lines.append("|---|" + "---:|" * len(columns))
    marks = {column: _marks(table, column, marked) for column in columns}
    for row in table.rows:
        cells = []
        for column in columns:
            result = table.cell(row, column)
            text = "–" if result is None else _short(result)
            cells.append(f" {marks[column].get(row.name, '{}').format(text)} ")
        lines.append(f"| {row.name} |" + "|".join(cells) + "|")
    notes = [*table.notes, *_footnotes(table)]
    lines += ["", *(f"* {note}" for note in notes)] if notes else []
    return "\n".join([*lines, "", *_origin(table.provenance)]) + "\n"


def to_csv(table: Table) -> str:
    """One line for each row; numbers in full; a metric that is missing says so in its cell."""
    out = io.StringIO()
    columns = table.columns()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["row", *(f"{group}: {name}" if group else name for group, name in columns)])
    for row in table.rows:
        cells = (table.cell(row, column) for column in columns)
        writer.writerow([row.name, *(_plain(cell) for cell in cells)])
    return out.getvalue()


def to_json(table: Table) -> str:
    """All of it, numbers of single frames included. NaN is null and ∞ is "inf"."""
    rows = [
        {"name": row.name, "results": {group: [_record(r) for r in results] for group, results in row.results.items()}}
        for row in table.rows
    ]
    whole = {"title": table.title, "rows": rows, "notes": list(table.notes), "provenance": dict(table.provenance)}
    return json.dumps(whole, indent=1, allow_nan=False, ensure_ascii=False, default=str) + "\n"


def write(table: Table, stem: Path, *, marked: Sequence[str] = ()) -> list[Path]:
    """``stem``.md, .csv and .json; the paths."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    texts = (markdown(table, marked=marked), to_csv(table), to_json(table))
    paths = [stem.with_name(stem.name + suffix) for suffix in FORMATS]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def read(path: Path) -> Table:
    """A table that ``to_json`` wrote. UserError when it is none."""
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
        rows = [
            Row(row["name"], {group: [_result(r) for r in results] for group, results in row["results"].items()})
            for row in whole["rows"]
        ]
        return Table(whole["title"], rows, whole["provenance"], whole["notes"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a table of python -m jax_talker.evaluate ({error!r}); make it again") from None


# ---------------------------------------------------------------------------------------------------------------------


def _heading(table: Table, column: tuple[str, str]) -> str:
    cells = [cell for row in table.rows if (cell := table.cell(row, column)) is not None]
    heading = next((cell for cell in cells if isinstance(cell, Score)), cells[0]).heading
    return f"{column[0]}: {heading}" if column[0] else heading


def _short(result: Result) -> str:
    return result.text if isinstance(result, Score) else f"missing: {Path(result.what).name}"


def _plain(result: Result | None) -> str:
    if result is None:
        return ""
    return result.text if isinstance(result, Missing) else ("" if math.isnan(result.value) else repr(result.value))


def _footnotes(table: Table) -> list[str]:
    """What is missing, in full, and what numbers' notes say, each once."""
    found: dict[str, None] = {}
    for row in table.rows:
        for group, results in row.results.items():
            for result in results:
                where = f"{row.name}{f', {group}' if group else ''}"
                if isinstance(result, Missing):
                    found[f"{result.title}: {result.text}"] = None
                elif result.note:
                    found[f"{result.title} of {where}: {result.note}"] = None
    return list(found)


def _origin(provenance: Mapping[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in provenance.get("versions", {}).items())
    lines = [f"    {provenance.get('command')}"]
    lines.append(f"    {provenance.get('date')}, commit {provenance.get('commit')}, {provenance.get('hardware')}")
    return [*lines, f"    {versions}"] + (
        [f"    configuration {provenance['config_sha256'][:12]}…"] if provenance.get("config_sha256") else []
    )


def _marks(table: Table, column: tuple[str, str], names: Sequence[str]) -> dict[str, str]:
    """How a column's best and second are written. Equal numbers, as they are printed, share a place."""
    found = []
    for row in table.rows:
        cell = table.cell(row, column)
        if row.name in names and isinstance(cell, Score) and cell.better != "none" and not math.isnan(cell.value):
            value = float(cell.text.replace("∞", "inf"))
            found.append(({"higher": -value, "lower": value, "zero": abs(value)}[cell.better], row.name))
    places = sorted({key for key, _ in found})
    if len(found) < 2:
        return {}
    styles = dict(zip(places, ("**{}**", "<u>{}</u>"), strict=False))
    return {name: styles[key] for key, name in found if key in styles}


def _record(result: Result) -> dict[str, Any]:
    if isinstance(result, Missing):
        return {"name": result.name, "title": result.title, "missing": result.what, "where": result.where}
    frames = None if result.per_frame is None else [_number(v) for v in result.per_frame.tolist()]
    return {
        **{"name": result.name, "title": result.title, "value": _number(result.value), "unit": result.unit},
        **{"better": result.better, "note": result.note, "digits": result.digits, "per_frame": frames},
    }


def _result(record: Mapping[str, Any]) -> Result:
    if "missing" in record:
        return Missing(record["name"], record["title"], record["missing"], record["where"])
    frames = record["per_frame"]
    return Score(
        *(record["name"], record["title"], _float(record["value"]), record["unit"], record["better"]),
        per_frame=None if frames is None else np.array([_float(v) for v in frames]),
        note=record["note"],
        digits=record["digits"],
    )


def _number(value: float) -> float | str | None:
    return None if math.isnan(value) else (str(value) if math.isinf(value) else value)


def _float(value: float | str | None) -> float:
    return math.nan if value is None else float(value)
