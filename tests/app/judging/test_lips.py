"""What `python -m benchmarks lips` measures of videos."""

import av
import numpy as np
import pytest

from benchmarks import lips
from benchmarks.sounds import RATE, loudness
from jax_talker.data.track.landmarks import IBUG

COUNT = 60
OPEN = 0.5 + 0.5 * np.sin(np.arange(COUNT) / 3)  # how far a mouth is open, of a fifth of the distance eyes to nose


@pytest.fixture
def face():
    """[T, 68, 2] of a face whose mouth opens and whose chin goes with it, 100 px from its eyes to the nose's base."""
    points = np.zeros((COUNT, 68, 2))
    for corner, x in ((36, -50), (39, -20), (42, 20), (45, 50)):
        points[:, corner] = x, 0
    points[:, IBUG.points["nose_base"]] = 0, 100
    for k, x in zip((60, 61, 62, 63, 64), (-20, -10, 0, 10, 20), strict=True):
        points[:, k] = x, 140
    for k, x in zip((65, 66, 67), (10, 0, -10), strict=True):
        points[:, k, 0], points[:, k, 1] = x, 140 + 20 * OPEN
    points[:, 8, 1] = 200 + 30 * OPEN
    return points


def test_gap_jaw_and_loudness_of_a_face(face):
    loud = loudness(
        np.repeat(OPEN + 0.1, RATE // 25) * np.random.default_rng(0).standard_normal(COUNT * RATE // 25), COUNT
    )
    found = lips.measured(face, loud, missed=3)
    unit = np.linalg.norm(face[0, 33] - IBUG.anchors(face)[0, :2].mean(0)) / 100
    assert (found.frames, found.missed) == (COUNT + 3, 3)
    assert found.gap.mean * unit == pytest.approx(0.2 * OPEN.mean(), abs=0.01)
    assert found.gap.most * unit == pytest.approx(0.2 * np.percentile(OPEN, 95), abs=0.01)
    assert (found.jaw.most - found.jaw.least) * unit == pytest.approx(
        0.3 * np.ptp(np.percentile(OPEN, [5, 95])), abs=0.01
    )
    assert found.gap.loudness > 0.9
    assert found.jaw.loudness > 0.9
    assert "| 63, 3 without a face |" in lips.row("a.mp4", found)


def test_what_is_silent_or_stands_still_follows_nothing(face):
    assert lips.measured(face, None).gap.loudness is None
    assert lips.measured(face, np.zeros(COUNT)).gap.loudness is None
    still = lips.measured(face[:1].repeat(COUNT, 0), np.arange(float(COUNT)))
    assert still.gap.loudness is None
    assert lips.row("a.mp4", still).endswith("| – |")


def test_a_video_without_a_face_is_refused(tmp_path, shared, capsys):
    with av.open(str(tmp_path / "grey.mp4"), "w") as video:
        stream = video.add_stream("libx264", rate=25, width=64, height=64, pix_fmt="yuv420p")
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 128, np.uint8), format="rgb24")
            video.mux(stream.encode(frame))
        video.mux(stream.encode())
    model = shared / "models" / "face_landmarker.task"
    assert lips.main([str(tmp_path / "grey.mp4"), "--landmark-model", str(model)]) == 2
    assert "grey.mp4: no face is found in any of its 5 frames" in capsys.readouterr().err
    assert lips.main([str(tmp_path / "none.mp4"), "--landmark-model", str(model)]) == 2
