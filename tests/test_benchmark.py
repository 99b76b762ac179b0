"""The benchmark as a user runs it, at the smallest sizes."""

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
    rows = [line.partition(" |")[0] for line in again.splitlines() if line.startswith("| ")]
    assert {"| Truth, H.264 (crf 18)", "| ours", "| one joint set (HFA-GP*)"} <= set(rows)
    assert sum("fitted to every 2nd test frame" in row for row in rows) == 2
    header, *table = (tmp_path / "b" / "by_camera.csv").read_text().splitlines()
    assert header.count("psnr_lower") == 1 + 12 + 1 + 1  # front, further cameras, their mean, another voice
    assert len(table) == 5
    scores = sorted((tmp_path / "b" / "scores").glob("*.json"))
    before = [path.stat().st_mtime_ns for path in scores]
    succeeds("benchmark", *flags, "--at-most=0")
    assert [path.stat().st_mtime_ns for path in scores] == before
    refuses("of other sizes", "benchmark", *flags, "--size=48", "--methods=without personal detail")
    refuses("train.stepz", "benchmark", *flags, "--set=train.stepz=4", "--methods=without personal detail")
