"""Faces in pictures: the landmarkers, the one face that is followed through a clip, and the gaps between detections.

The only importer of mediapipe, which is an optional extra: ``pip install jax-talker[landmarks]``.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from scipy.spatial.transform import Rotation

from jax_talker.data.landmarks import scheme_of
from jax_talker.errors import UserError

MAX_FACES = 5  # faces that are looked for, so that the largest can be chosen and followed
SAME_FACE = 0.1  # overlap (intersection over union) of a face's boxes in successive frames
MAX_GAP = 5  # frames; a longer loss of the face is not guessed
MODEL_URL = "https://ai.google.dev/edge/mediapipe/solutions/vision/face_landmarker"
# MediaPipe's canonical head looks 3° further down than the face template (BFM, via Deep3DFaceRecon) by which EG3D's
# labels say what frontal is: the rotation between the two sets of five anchors (eyes, nose tip, mouth corners), whose
# mean over three people is −2.9° (−1.1°, −3.6°, −3.1°) about the x axis.
MEDIAPIPE_FROM_HEAD = Rotation.from_euler("x", 3, degrees=True).as_matrix()
LANDMARKERS = ("mediapipe", "face-alignment", "FILE.npz")


@dataclass(frozen=True)
class Face:
    """One face in one picture. Pixels: the centre of the top-left pixel is (0.5, 0.5), x right, y down."""

    points: Float64[np.ndarray, "P 2"]  # px
    depth: Float64[np.ndarray, " P"] | None = None  # px, away from the camera, relative to the head's middle
    rotation: Float64[np.ndarray, "3 3"] | None = None  # cam_from_head; head: y up, face +z; camera: OpenCV axes
    scores: Float32[np.ndarray, " S"] | None = None  # expression scores in [0, 1], named by Landmarker.score_names


@runtime_checkable
class Landmarker(Protocol):
    """Finds the clip's face in successive pictures; a context manager, closed when the clip ends."""

    @property
    def name(self) -> str: ...

    @property
    def score_names(self) -> tuple[str, ...]:
        """What ``Face.scores`` holds, once a face was found; () for none."""
        ...

    def __call__(self, rgb: UInt8[np.ndarray, "H W 3"]) -> Face | None:
        """The face in the next picture; None where there is none."""
        ...

    def __enter__(self) -> "Landmarker": ...

    def __exit__(self, *error: object) -> None: ...


def make_landmarker(kind: str, *, model: str | Path | None = None) -> Landmarker:
    """``mediapipe`` (needs ``model``, its face_landmarker.task), or the path of an .npz with landmarks of your own."""
    if kind == "mediapipe":
        return MediaPipeLandmarker(model)
    if kind == "face-alignment":
        raise UserError(
            "--landmarks=face-alignment is not built in (it needs torch); run face_alignment yourself on the 25 fps "
            "frames, save its [T, 68, 2] points with np.savez, and pass that file as --landmarks=FILE.npz"
        )
    if kind.endswith((".npz", ".npy")) or Path(kind).is_file():
        return FileLandmarker(kind)
    raise UserError(f"--landmarks={kind}: unknown; use one of {', '.join(LANDMARKERS)}")


class MediaPipeLandmarker:
    """MediaPipe's face landmarker: 478 points with relative depth, head rotation, 52 expression scores.

    Every picture is looked at by itself (no temporal filter, which would make lips and lids lag). With several faces
    the largest is taken first, and then the one that overlaps it most from picture to picture.
    """

    name = "mediapipe"

    def __init__(self, model: str | Path | None):
        hint = f"give the path of MediaPipe's face_landmarker.task with --landmark-model; it is offered at {MODEL_URL}"
        if model is None:
            raise UserError(f"--landmarks=mediapipe needs a model: {hint}")
        if not Path(model).is_file():
            raise UserError(f"{model}: no such landmark model; {hint}")
        try:
            import mediapipe
        except ImportError as error:
            raise UserError(
                f"mediapipe cannot be imported ({error}); run: pip install 'jax-talker[landmarks]'"
            ) from None
        self._mp, self._box = mediapipe, None
        self.score_names: tuple[str, ...] = ()  # known from the first face on
        vision = mediapipe.tasks.vision
        options = vision.FaceLandmarkerOptions(
            base_options=mediapipe.tasks.BaseOptions(model_asset_path=str(model)),
            num_faces=MAX_FACES,
            output_face_blendshapes=True,
            output_facial_transformation_matrixes=True,
        )
        try:
            with _native_stderr_silenced():
                self._landmarker = vision.FaceLandmarker.create_from_options(options)
                self._detect(np.zeros((64, 64, 3), np.uint8))  # the first call is the one that chatters
        except OSError as error:
            raise UserError(
                f"mediapipe's library cannot be loaded ({error}); on Debian and Ubuntu: apt install libegl1 libgles2; "
                "or give landmarks of your own with --landmarks=FILE.npz"
            ) from None
        except (RuntimeError, ValueError) as error:
            raise UserError(f"{model}: is not a face landmarker model ({str(error).splitlines()[0]}); {hint}") from None

    def __call__(self, rgb: UInt8[np.ndarray, "H W 3"]) -> Face | None:
        found = self._detect(rgb)
        height, width = rgb.shape[:2]
        points = [np.array([(p.x, p.y, p.z) for p in face]) * (width, height, width) for face in found.face_landmarks]
        chosen = _follow(self._box, [_box(p) for p in points])
        if chosen is None:
            return None
        self._box = _box(points[chosen])
        scores = found.face_blendshapes[chosen]
        self.score_names = tuple(s.category_name for s in scores)
        gl_from_mediapipe = np.asarray(found.facial_transformation_matrixes[chosen])[:3, :3]  # OpenGL's camera axes
        return Face(
            points=points[chosen][:, :2],
            depth=points[chosen][:, 2],
            rotation=np.diag([1.0, -1.0, -1.0]) @ gl_from_mediapipe @ MEDIAPIPE_FROM_HEAD,
            scores=np.array([s.score for s in scores], np.float32),
        )

    def _detect(self, rgb: np.ndarray) -> Any:
        image = self._mp.Image(image_format=self._mp.ImageFormat.SRGB, data=np.ascontiguousarray(rgb))
        return self._landmarker.detect(image)

    def __enter__(self) -> "MediaPipeLandmarker":
        return self

    def __exit__(self, *error: object) -> None:
        self._landmarker.close()  # left to __del__, it raises at the interpreter's exit


class FileLandmarker:
    """Landmarks made elsewhere: an .npz (array ``landmarks`` or its only one) or .npy of [T, P, 2] or [T, P, 3].

    T counts the 25 fps frames that ``prepare`` reads, points are pixels of the source picture (third number: depth,
    away from the camera, in the same unit), and NaN means that there is no face. P is 478, 468 or 68.
    """

    name = "file"
    score_names = ()

    def __init__(self, path: str | Path):
        self.path, self._next = Path(path), 0
        self._all = _read_landmarks(self.path)
        scheme_of(self._all.shape[1])

    def __call__(self, rgb: UInt8[np.ndarray, "H W 3"]) -> Face | None:
        if self._next >= len(self._all):
            raise UserError(
                f"{self.path}: holds landmarks of {len(self._all)} frames, but the video has more at 25 fps; make one "
                "row for every 25 fps frame of the part that is prepared"
            )
        points = self._all[self._next]
        self._next += 1
        if not np.isfinite(points).all():
            return None
        return Face(points=points[:, :2], depth=points[:, 2] if points.shape[1] == 3 else None)

    def __enter__(self) -> "FileLandmarker":
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None and self._next < len(self._all):
            raise UserError(
                f"{self.path}: holds landmarks of {len(self._all)} frames, but the video has {self._next} at 25 fps; "
                "make one row for every 25 fps frame of the part that is prepared"
            )


@dataclass(frozen=True)
class FaceTrack:
    """One face through a clip of T frames, gaps filled."""

    points: Float64[np.ndarray, "T P 2"]
    depth: Float64[np.ndarray, "T P"] | None
    rotation: Float64[np.ndarray, "T 3 3"] | None
    scores: Float32[np.ndarray, "T S"] | None
    detected: Float32[np.ndarray, " T"]  # 1 where the face was found, 0 where it was interpolated


def fill_gaps(faces: Sequence[Face | None], *, fps: int, start: float = 0.0, where: str = "the video") -> FaceTrack:
    """Interpolate a face over gaps of at most 5 frames (at the ends: repeat it). Longer gaps raise UserError.

    ``start`` is the first frame's time in the source, so that the message names seconds that the user can find.
    """
    found = np.array([f is not None for f in faces])
    if not found.any():
        raise UserError(f"{where}: no face found in {len(faces)} frames; is a face visible, upright and large enough?")
    gaps = [(a, b) for a, b in _runs(~found) if b - a > MAX_GAP]
    if gaps:
        spans = ", ".join(f"{start + a / fps:.2f}–{start + b / fps:.2f} s" for a, b in gaps[:5])
        more = f" and {len(gaps) - 5} more times" if len(gaps) > 5 else ""
        raise UserError(f"{where}: no face at {spans}{more}; choose a part without these with --start and --duration")
    known, every = np.flatnonzero(found), np.arange(len(faces))
    nearest = known[np.abs(every[:, None] - known).argmin(1)] if len(known) < len(faces) else every

    def interpolated(values: list[np.ndarray]) -> np.ndarray:
        stacked = np.stack(values)
        flat = stacked.reshape(len(known), -1)
        full = np.stack([np.interp(every, known, column) for column in flat.T], 1)
        return full.reshape(len(faces), *stacked.shape[1:])

    present = [f for f in faces if f is not None]
    depth, scores = [f.depth for f in present], [f.scores for f in present]
    rotation = [faces[i].rotation for i in nearest]  # type: ignore[union-attr]  # first guesses only: the nearest will do
    return FaceTrack(
        points=interpolated([f.points for f in present]),
        depth=None if any(d is None for d in depth) else interpolated(depth),  # type: ignore[arg-type]
        rotation=None if any(r is None for r in rotation) else np.stack(rotation),  # type: ignore[arg-type]
        scores=None if any(s is None for s in scores) else interpolated(scores).astype(np.float32),  # type: ignore[arg-type]
        detected=found.astype(np.float32),
    )


# ---------------------------------------------------------------------------------------------------------------------


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """[begin, end) of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _box(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points[:, :2].min(0), points[:, :2].max(0)])


def _follow(previous: np.ndarray | None, boxes: list[np.ndarray]) -> int | None:
    """Which box is the followed face: the largest at first, then the one that overlaps the previous one most."""
    if not boxes:
        return None
    if previous is None:
        return int(np.argmax([np.prod(b[2:] - b[:2]) for b in boxes]))
    overlaps = [_overlap(previous, b) for b in boxes]
    return int(np.argmax(overlaps)) if max(overlaps) > SAME_FACE else None


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    inside = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    return float(inside / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inside))


def _read_landmarks(path: Path) -> np.ndarray:
    if not path.is_file():
        raise UserError(f"{path}: no such landmark file")
    try:
        stored = np.load(path, allow_pickle=False)
        if not isinstance(stored, np.ndarray):
            names = stored.files
            if "landmarks" not in names and len(names) != 1:
                raise UserError(f"{path}: needs an array called 'landmarks', found {names}")
            stored = stored["landmarks" if "landmarks" in names else names[0]]
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise UserError(f"{path}: not a NumPy file of landmarks ({error})") from None
    if stored.ndim != 3 or stored.shape[2] not in (2, 3) or not np.issubdtype(stored.dtype, np.number):
        raise UserError(f"{path}: landmarks must be [frames, points, 2 or 3] numbers, found {stored.shape}")
    return stored.astype(np.float64)


@contextmanager
def _native_stderr_silenced() -> Iterator[None]:
    """Hide what C++ code writes to file descriptor 2; Python's exceptions still say what went wrong."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
