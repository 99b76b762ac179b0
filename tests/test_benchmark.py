"""The benchmark as a user runs it, at the smallest sizes."""

import csv

import pytest
from programs.people import made, prior
from programs.running import SMALL, refuses, succeeds

__all__ = ["made", "prior"]


@pytest.mark.slow
def test_benchmark_goes_on_where_it_stopped(prior, tmp_path):
    """One person, one second, two methods: two calls, then one that only tells."""
    flags = ["--out", tmp_path / "b", "--people=3", "--methods=ours,one joint set (HFA-GP*)", "--seconds=1,0.2,0.4"]
    flags += ["--size=32", "--weights", tmp_path, f"--set=prior.path={prior}", "--ceiling-every=2"]
    flags += [f"--set={flag.removeprefix('--config.')}" for flag in SMALL]
    assert "1 of 2 heads are done" in succeeds("benchmark", *flags, "--at-most=1").stdout
    again = succeeds("benchmark", *flags).stdout
    assert "heads are done" not in again
    rows = [line.partition(" |")[0] for line in again.splitlines() if line.startswith("| ") and line[2] != "|"]
    methods = "ours", "one joint set (HFA-GP*)"
    bounds = "Ground truth", "Truth, H.264 (crf 18)", "Mean frame", "Nearest pose"
    fitted = [f"{method}, fitted to every 2nd test frame (60 steps)" for method in methods]
    stills = [f"Still anchor of {method}" for method in methods]
    assert {row.removeprefix("| ") for row in rows} == {*bounds, *fitted, *stills, *methods}
    header, *table = (tmp_path / "b" / "by_camera.csv").read_text().splitlines()
    assert header.count("psnr_lower") == 1 + 12 + 1 + 1  # front, further cameras, their mean, another voice
    by_row = dict(zip(rows, csv.DictReader([header, *table]), strict=True))
    assert by_row["| Ground truth"]["further cameras, mean: psnr"] == "inf"
    assert by_row["| Nearest pose"]["further cameras, mean: psnr"]
    assert by_row["| Mean frame"]["front, 0°: psnr"]
    assert not by_row["| Mean frame"]["further cameras, mean: psnr"]  # nobody trained on what they see
    scores = sorted((tmp_path / "b" / "scores").glob("*.json"))
    before = [path.stat().st_mtime_ns for path in scores]
    succeeds("benchmark", *flags, "--at-most=0")
    assert [path.stat().st_mtime_ns for path in scores] == before
    refuses("of other people or sizes", "benchmark", *flags, "--size=48", "--methods=without personal detail")
    refuses("train.stepz", "benchmark", *flags, "--set=train.stepz=4", "--methods=without personal detail")
