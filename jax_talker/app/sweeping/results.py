"""What a sweep has found: one table as Markdown, CSV and JSON, and a picture."""

import csv
import io
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jax_talker.app.sweeping import parallel
from jax_talker.app.sweeping.space import Space, each_of
from jax_talker.app.sweeping.trial import SCORES, read_record

REPORT, TABLE, RECORDS, PICTURE = "report.md", "results.csv", "results.json", "parallel.png"
TITLES = {"psnr": "PSNR, dB", "ssim": "SSIM", "psnr_lower": "PSNR lower face, dB", "ssim_lower": "SSIM lower face"}
DIGITS = {"psnr": 2, "ssim": 4, "psnr_lower": 2, "ssim_lower": 4, "progress": 0, "seconds": 0}

Record = Mapping[str, Any]


def records(root: Path, metric: str) -> list[dict[str, Any]]:
    """What is known of all trials, the best first and those without a score last."""
    found = [record for folder in sorted((root / "trials").glob("*")) if (record := read_record(folder))]
    return sorted(found, key=lambda record: (metric not in record, -record.get(metric, 0.0), record["name"]))


def write(root: Path, space: Space, metric: str, title: str) -> list[Path]:
    """Write all of it into the sweep's folder; returns the files."""
    found = records(root, metric)
    names = list(space)
    files = {
        TABLE: _csv(found, names),
        RECORDS: json.dumps({"metric": metric, "trials": found}, indent=1) + "\n",
        REPORT: _report(found, names, each_of(space), metric, title),
    }
    for name, text in files.items():
        (root / name).write_text(text, encoding="utf-8", newline="")
    parallel.draw(root / PICTURE, found, space, metric, TITLES[metric])
    return [root / name for name in (*files, PICTURE)]


def table(found: Sequence[Record], names: Sequence[str]) -> str:
    """Markdown: a row for each trial."""
    heads = ["trial", "state", *names, *(TITLES[name] for name in SCORES), "trained, %", "time, s"]
    columns = [*SCORES, "progress", "seconds"]
    rows = [
        [record["name"], record["status"], *(_shown(record["values"].get(name)) for name in names)]
        + [_number(record, name) for name in columns]
        for record in found
    ]
    return _markdown(heads, rows)


def _report(found: Sequence[Record], names: Sequence[str], each: Sequence[str], metric: str, title: str) -> str:
    states = [record["status"] for record in found]
    counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    parts = [
        f"# {title}\n",
        f"{len(found)} trials: {counted}. Scores are of held-out frames (`evaluate`), by {metric}.\n",
    ]
    parts.append(table(found, names))
    if each and (means := _means(found, [name for name in names if name not in each], metric)):
        parts += [f"## Means over {' × '.join(each)}\n", means]
    failed = [f"- {record['name']}: {record['error']}" for record in found if record["status"] == "failed"]
    parts += ["## What failed\n", "\n".join(failed) + "\n"] if failed else []
    return "\n".join([*parts, f"![one line for each trial]({PICTURE})\n"])


def _means(found: Sequence[Record], names: Sequence[str], metric: str) -> str:
    """A row for each setting: its mean score, and the lowest and highest one."""
    groups: dict[str, list[Record]] = {}
    for record in found:
        key = json.dumps([record["values"].get(name) for name in names])
        groups.setdefault(key, []).append(record)
    rows = []
    for members in groups.values():
        scores = [record[metric] for record in members if metric in record]
        if scores:
            told = [f"{x:.{DIGITS[metric]}f}" for x in (statistics.fmean(scores), min(scores), max(scores))]
            values = [_shown(members[0]["values"].get(name)) for name in names]
            rows.append([*values, f"{len(scores)} of {len(members)}", *told])
    rows.sort(key=lambda row: -float(row[-3]))
    return _markdown([*names, "scored", f"mean {TITLES[metric]}", "lowest", "highest"], rows)


def _csv(found: Sequence[Record], names: Sequence[str]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = [*SCORES, "seen", "progress", "seconds", "error"]
    writer.writerow(["trial", "state", *names, *columns])
    for record in found:
        values = [record["values"].get(name) for name in names]
        writer.writerow([record["name"], record["status"], *values, *(record.get(name, "") for name in columns)])
    return out.getvalue()


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines) + "\n"


def _number(record: Record, name: str) -> str:
    return f"{record[name]:.{DIGITS[name]}f}" if name in record else ""


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
