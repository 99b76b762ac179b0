"""Which landmarker a name means."""

from pathlib import Path

from jax_talker.data.read.model_files import FACE_LANDMARKER
from jax_talker.data.track.faces import Landmarker
from jax_talker.data.track.landmarkers.face_alignment import FaceAlignmentLandmarker, unready
from jax_talker.data.track.landmarkers.from_file import FileLandmarker
from jax_talker.data.track.landmarkers.mediapipe import MediaPipeLandmarker
from jax_talker.errors import UserError

LANDMARKERS = ("auto", "mediapipe", "face-alignment", "FILE.npz")


def make_landmarker(kind: str = "auto", *, model: str | Path | None = None) -> Landmarker:
    """The landmarker called ``kind``, or the landmarks in the .npz or .npy file of that name.

    ``model`` is MediaPipe's face_landmarker.task, or a folder with face-alignment's weights. ``auto`` goes by the
    model when one is given; without one it is face-alignment, if the package and its weights are at hand. UserError
    says what is missing.
    """
    if kind == "auto":
        kind = _automatic(model)
    if kind == "mediapipe":
        return MediaPipeLandmarker(model)
    if kind == "face-alignment":
        return FaceAlignmentLandmarker(model)
    if kind.endswith((".npz", ".npy")) or Path(kind).is_file():
        return FileLandmarker(kind)
    raise UserError(f"--landmarks={kind}: unknown; use one of {', '.join(LANDMARKERS)}")


def _automatic(model: str | Path | None) -> str:
    if model is not None:
        return "face-alignment" if Path(model).is_dir() else "mediapipe"
    if reason := unready():
        raise UserError(
            f"no landmarker is ready: either give {FACE_LANDMARKER.about()} with --landmark-model FILE or --fetch, or "
            f"make face-alignment ready ({reason})"
        )
    return "face-alignment"
