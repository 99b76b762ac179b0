"""Metrics from landmarks and expression scores found in both sequences by the same landmarker."""

import numpy as np

from jax_talker.app.judging.meters import Pair
from jax_talker.app.judging.score import Result, Score, mean
from jax_talker.data.clip.clip import FPS
from jax_talker.data.track.faces import Face
from jax_talker.data.track.landmarks import LandmarkScheme, scheme_of
from jax_talker.metrics import faces as measures

FAN_LIPS = tuple(range(48, 68))  # iBUG's points of the mouth, those of the field's LMD
# MediaPipe's expression scores by where they move a face, split as TalkingGaussian splits OpenFace's action units
# (cheek raiser and nose wrinkler are above); the gaze is left out, as OpenFace's units do not have it.
UPPER_SCORES = ("brow", "eyeBlink", "eyeSquint", "eyeWide", "cheekSquint", "nose")
LOWER_SCORES = ("jaw", "mouth", "cheekPuff")

TITLES = {
    "lmd": {"lmd": "LMD"},
    "jitter": {"jitter": "Jitter", "jitter_error": "Jitter error"},
    "jaw": {"jaw_correlation": "Jaw correlation", "jaw_lag": "Jaw lag"},
    "expression": {"expression_lower": "Expression error, lower", "expression_upper": "Expression error, upper"},
}


class FaceMeter:
    """LMD, jitter, jaw opening and expression scores, as far as ``wanted`` names them: lmd, jitter, jaw, expression."""

    needs_faces = True

    def __init__(self, wanted: frozenset[str]):
        self._wanted = wanted
        self._landmarker, self._score_names = "", ()
        self._pred: list[Face | None] = []
        self._truth: list[Face | None] = []

    def add(self, pair: Pair) -> None:
        self._landmarker, self._score_names = pair.landmarker, pair.score_names
        for kept, faces in ((self._pred, pair.pred_faces), (self._truth, pair.truth_faces)):
            kept += [None if face is None else _smaller(face) for face in faces]

    def scores(self) -> list[Result]:
        known = [face for face in (*self._pred, *self._truth) if face is not None]
        if not known:
            return [
                Score(name, title, np.nan, note="no face was found in any frame")
                for name, title in self._titles().items()
            ]
        scheme = scheme_of(len(known[0].points))
        pred, truth = _Track(self._pred, known[0]), _Track(self._truth, known[0])
        both = np.isfinite(pred.points[:, 0, 0]) & np.isfinite(truth.points[:, 0, 0])
        note = f"faces found in {both.sum()} of {len(both)} frames" if not both.all() else ""
        out: list[Result] = []
        if "lmd" in self._wanted:
            out.append(self._lmd(scheme, pred, truth, note))
        if "jitter" in self._wanted:
            out += self._jitter(pred, truth, note)
        if "jaw" in self._wanted:
            out += self._jaw(scheme, pred, truth, note)
        if "expression" in self._wanted:
            out += self._expression(pred, truth, note)
        return out

    def _titles(self) -> dict[str, str]:
        return {name: title for kind in TITLES if kind in self._wanted for name, title in TITLES[kind].items()}

    def _lmd(self, scheme: LandmarkScheme, pred: "_Track", truth: "_Track", note: str) -> Score:
        lips = list(FAN_LIPS) if scheme.name == "ibug" else sorted({i for c in scheme.eyes_and_lips[2:] for i in c})
        values = measures.lmd(pred.points[:, lips], truth.points[:, lips])
        return Score("lmd", f"LMD ({self._landmarker})", mean(values), "px", "lower", values, note)

    def _jitter(self, pred: "_Track", truth: "_Track", note: str) -> list[Result]:
        values, error = measures.jitter(pred.points), measures.jitter(pred.points - truth.points)
        return [
            Score("jitter", "Jitter", mean(values), "px/frame²", "none", values, note),
            Score("jitter_error", "Jitter error", mean(error), "px/frame²", "lower", error, note),
        ]

    def _jaw(self, scheme: LandmarkScheme, pred: "_Track", truth: "_Track", note: str) -> list[Result]:
        found = measures.lagged_correlation(_jaw_opening(scheme, pred), _jaw_opening(scheme, truth))
        lag = np.nan if found.lag is None else float(found.lag)
        where = f"correlation {found.best:.3f} there; > 0: the render is late; {1000 / FPS:g} ms a frame"
        if found.lag is None:
            note = f"{note}; " * bool(note) + "too few frames with a moving jaw"
            where = note
        return [
            Score("jaw_correlation", "Jaw correlation", found.correlation, "", "higher", None, note),
            Score("jaw_lag", "Jaw lag", lag, "frames", "zero", None, where, digits=0),
        ]

    def _expression(self, pred: "_Track", truth: "_Track", note: str) -> list[Result]:
        """The proxy of AUE: its own name, because its numbers are not on OpenFace's scale."""
        out: list[Result] = []
        for part, kinds in (("lower", LOWER_SCORES), ("upper", UPPER_SCORES)):
            name, title = f"expression_{part}", f"Expression error, {part} ({self._landmarker})"
            if pred.scores is None or truth.scores is None:
                out.append(Score(name, title, np.nan, note=f"{self._landmarker} gives no expression scores"))
                continue
            places = [i for i, score in enumerate(self._score_names) if score.startswith(kinds)]
            values = measures.score_error(pred.scores[:, places], truth.scores[:, places])
            out.append(Score(name, title, mean(values), "", "lower", values, note))
        return out


def _smaller(face: Face) -> Face:
    """Without what is not used here."""
    return Face(face.points, face.depth, None, face.scores)


class _Track:
    """Faces of T frames as arrays; NaN where there is none."""

    def __init__(self, faces: list[Face | None], like: Face):
        self.points = self._stacked(faces, like.points, lambda f: f.points)
        self.depth = None if like.depth is None else self._stacked(faces, like.depth, lambda f: f.depth)
        self.scores = None if like.scores is None else self._stacked(faces, like.scores, lambda f: f.scores)

    @staticmethod
    def _stacked(faces, like, take) -> np.ndarray:
        out = np.full((len(faces), *like.shape), np.nan)
        for i, face in enumerate(faces):
            if face is not None:
                out[i] = take(face)
        return out


def _jaw_opening(scheme: LandmarkScheme, track: _Track) -> np.ndarray:
    """[T]: from the nose's base to the chin, in distances between the eyes' outer corners; in space where the
    landmarker knows depth, so that a nod is not taken for speech."""
    points = track.points
    if track.depth is not None:
        points = np.concatenate([points, track.depth[..., None]], -1)
    eyes = np.stack([scheme.named(points, "left_eye_outer"), scheme.named(points, "right_eye_outer")], 1)
    return measures.opening(scheme.named(points, "nose_base"), scheme.named(points, "chin"), eyes)
