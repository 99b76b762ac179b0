"""OpenFace's tables, as OpenFace, people and spreadsheets leave them."""

import csv

import numpy as np
import pytest

from jax_talker.data.track.blink import read_openface_blink
from jax_talker.errors import UserError


def write_openface(path, times, values, header=("frame", " timestamp", " AU45_r")):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(
            [(i + 1, f"{t:.3f}", v)[: len(header)] for i, (t, v) in enumerate(zip(times, values, strict=True))]
        )


def test_openface_blink_is_found_by_time(tmp_path):
    times = np.arange(120) / 30
    values = np.arange(120) / 30  # AU45 grows by one a second, up to 4
    write_openface(tmp_path / "a.csv", times, values)
    blink = read_openface_blink(tmp_path / "a.csv", 50, fps=25, start=1.0)
    shown = np.floor((1 + np.arange(50) / 25) * 30 + 1e-6) / 30  # the source frame on screen
    np.testing.assert_allclose(blink, np.clip(shown, 0, 2) / 2, atol=1e-6)


def test_bad_openface_tables(tmp_path):
    write_openface(tmp_path / "short.csv", np.arange(10) / 25, np.zeros(10))
    write_openface(tmp_path / "other.csv", np.arange(10) / 25, np.zeros(10), (" frame", " timestamp", " AU12_r"))
    write_openface(tmp_path / "text.csv", np.arange(10) / 25, ["x"] * 10)
    for name, reason in {
        "absent.csv": "no such OpenFace CSV",
        "short.csv": r"covers 0\.00–0\.40 s, but the clip needs 0\.00–1\.96 s",
        "other.csv": "no AU45_r column",
        "text.csv": "not a number",
    }.items():
        with pytest.raises(UserError, match=reason):
            read_openface_blink(tmp_path / name, 50, fps=25)
    (tmp_path / "rows.csv").write_text(" AU45_r\n" + "1.0\n" * 49)
    with pytest.raises(UserError, match="49 rows without time stamps, but the clip has 50"):
        read_openface_blink(tmp_path / "rows.csv", 50, fps=25)
    np.testing.assert_allclose(read_openface_blink(tmp_path / "rows.csv", 49, fps=25), 0.5)


# ---------------------------------------------------------------------------------------------------------------------
# 40 rows at 25 fps of a person whose eyes are closed in rows 10 to 14

COLUMNS = ("frame", "face_id", "timestamp", "confidence", "success", "AU45_r")
CLOSED = (np.arange(40) // 5 == 2).astype(np.float32)


def rows_of(person=0, *, intensity=None, confidence=0.98, success=1):
    values = 2.0 * CLOSED if intensity is None else np.full(40, intensity)
    return [[i + 1, person, i / 25, confidence, success, float(v)] for i, v in enumerate(values)]


def written(path, rows, *, separator=", ", end="\n", number=str, encoding="utf-8", columns=COLUMNS):
    cells = [columns, *([number(x) for x in row] for row in rows)]
    path.write_bytes("".join(separator.join(map(str, row)) + end for row in cells).encode(encoding))
    return path


def decimal_comma(value):
    return str(value).replace(".", ",")


@pytest.mark.parametrize(
    "how",
    [
        dict(end="\r\n", encoding="utf-8-sig"),
        dict(separator=";", number=decimal_comma, end="\r\n"),
        dict(separator="\t", number=decimal_comma, encoding="utf-16"),
        dict(separator="\t"),
        dict(separator=";"),
        dict(end=",,\n"),
    ],
    ids=["Windows", "German spreadsheet", "Unicode text", "tabs", "semicolons", "padded"],
)
def test_tables_of_any_spelling(tmp_path, how):
    np.testing.assert_allclose(read_openface_blink(written(tmp_path / "a.csv", rows_of(), **how), 40, fps=25), CLOSED)


def test_excel_names_the_separator(tmp_path):
    path = written(tmp_path / "a.csv", rows_of(), separator=";")
    path.write_text("sep=;\n" + path.read_text())
    np.testing.assert_allclose(read_openface_blink(path, 40, fps=25), CLOSED)


@pytest.mark.parametrize("other", ["between", "first", "a few rows"])
def test_a_second_person_is_left_out_by_name(tmp_path, caplog, other):
    own, stranger = rows_of(3), rows_of(7, intensity=1.5)
    if other == "between":
        rows = sorted(own + stranger)
    elif other == "first":
        rows = stranger + own
    else:
        rows = sorted(own + [[i + 1, 1, i / 25, 0.9, 1, 2.0] for i in range(4)])
    np.testing.assert_allclose(read_openface_blink(written(tmp_path / "a.csv", rows), 40, fps=25), CLOSED)
    assert "holds 2 people; face_id 3 is used" in caplog.text


@pytest.mark.parametrize(
    "failed",
    [
        *[(0.02, 0, 1.9), (0.98, 0, 1.9), (0.02, 1, 1.9), ("nan", 1, 1.9)],
        *[(0.98, 1, text) for text in ("nan", "-nan(ind)", "", "inf", "#N/A")],
    ],
)
def test_rows_in_which_openface_failed_are_interpolated(tmp_path, caplog, failed):
    rows = rows_of()
    for i in (0, 20, 21, 22, 23, 39):
        rows[i][3:] = failed
    rows[12][3:] = failed  # between closed eyes
    np.testing.assert_allclose(read_openface_blink(written(tmp_path / "a.csv", rows), 40, fps=25), CLOSED)
    assert "failed in 7 of 40 rows" in caplog.text


def test_what_cannot_be_mended_is_refused(tmp_path):
    rows = rows_of()
    for row in rows[8:35]:
        row[4] = 0
    with pytest.raises(UserError, match=r"found no eyes from 0\.28 to 1\.40 s"):
        read_openface_blink(written(tmp_path / "lost.csv", rows), 40, fps=25)
    assert read_openface_blink(written(tmp_path / "lost.csv", rows), 20, fps=25)[-1] == 0  # not in what is used
    with pytest.raises(UserError, match="found no eyes in any row"):
        read_openface_blink(written(tmp_path / "none.csv", rows_of(success=0)), 40, fps=25)
    nobody = [row[:1] + row[2:] for row in sorted(rows_of() + rows_of(1, intensity=0.3))]
    columns = COLUMNS[:1] + COLUMNS[2:]
    with pytest.raises(UserError, match=r"several rows for 0\.000 s, as of several people"):
        read_openface_blink(written(tmp_path / "mixed.csv", nobody, columns=columns), 40, fps=25)
    commas = written(tmp_path / "commas.csv", rows_of(), number=decimal_comma)
    with pytest.raises(UserError, match="row 2 does not have the header's 6 fields"):
        read_openface_blink(commas, 40, fps=25)
