"""Tables: what stands in them, and that they can be read again."""

import csv
import json

import numpy as np
import pytest

from jax_talker.app.judging import tables
from jax_talker.app.judging.provenance import provenance
from jax_talker.app.judging.score import Missing, Score
from jax_talker.errors import UserError


@pytest.fixture
def table():
    lost = Missing("fid", "FID", "weights/inception.safetensors", "get it from somewhere")
    rows = [
        tables.Row("Ground truth", {"": [Score("psnr", "PSNR", np.inf, "dB", "higher", digits=2), lost]}),
        *(
            tables.Row(name, {"": [Score("psnr", "PSNR", value, "dB", "higher", np.array([value, np.nan]), note, 2)]})
            for name, value, note in (("a", 20.0, ""), ("b", 30.004, "two frames"), ("c", 30.0, ""), ("d", np.nan, ""))
        ),
    ]
    return tables.Table("A table", rows, provenance({"x": 1}), ["a note"])


def test_markdown(table):
    text = tables.markdown(table, marked=["a", "b", "c", "d"])
    lines = text.splitlines()
    assert lines[2] == "| | PSNR, dB ↑ | FID |"
    assert "| Ground truth | ∞ | missing: inception.safetensors |" in lines  # it does not compete
    assert "| a | <u>20.00</u> | – |" in lines
    assert "| b | **30.00** | – |" in lines  # equal as printed: both are best
    assert "| c | **30.00** | – |" in lines
    assert "| d | – | – |" in lines
    for note in ("* a note", "missing: weights/inception.safetensors, get it from somewhere", "PSNR of b: two frames"):
        assert note in text
    assert "**" not in tables.markdown(table)


def test_csv(table):
    rows = list(csv.reader(tables.to_csv(table).splitlines()))
    assert rows[0] == ["row", "psnr", "fid"]
    assert rows[1] == ["Ground truth", "inf", "missing: weights/inception.safetensors, get it from somewhere"]
    assert rows[3] == ["b", "30.004", ""]
    assert rows[5] == ["d", "", ""]


def test_json_is_read_again(table, tmp_path):
    paths = tables.write(table, tmp_path / "deep" / "scores.v1")
    assert [path.name for path in paths] == ["scores.v1.md", "scores.v1.csv", "scores.v1.json"]
    whole = json.loads(paths[2].read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert whole["rows"][0]["results"][""][0]["value"] == "inf"
    again = tables.read(paths[2])
    assert tables.markdown(again) == tables.markdown(table)
    assert tables.to_json(again) == tables.to_json(table)
    np.testing.assert_array_equal(again.rows[1].results[""][0].per_frame, [20, np.nan])
    paths[2].write_text('{"rows": 3}')
    with pytest.raises(UserError, match="not a table"):
        tables.read(paths[2])


def test_origin(table):
    told = table.provenance
    assert told["config_sha256"] != provenance({"x": 2})["config_sha256"]
    assert told["config_sha256"] == provenance({"x": 1})["config_sha256"]
    assert {"python", "jax", "numpy"} <= set(told["versions"])
    assert told["date"].endswith("+00:00")
    assert "cores" in told["hardware"]
    assert provenance()["config"] is None
