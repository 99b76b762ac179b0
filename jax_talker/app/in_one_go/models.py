"""How videos are prepared: with the models of others that are here, or are fetched when that is asked for."""

from pathlib import Path

from jax_talker.data.preparation.options import Options
from jax_talker.data.read import model_files


def preparing(landmarks: str, landmarker: str | Path | None, segmenter: str | Path | None, *, fetch: bool) -> Options:
    """Options for ``landmarks`` (auto, mediapipe, …) and the models given; UserError where one is missing."""
    if landmarks in ("auto", "mediapipe") and landmarker is None:
        landmarker = model_files.wanted(model_files.FACE_LANDMARKER, fetch)
        if landmarker is None:
            raise model_files.missing(model_files.FACE_LANDMARKER)
    if segmenter is None:  # heads are found without it, less steadily
        segmenter = model_files.wanted(model_files.SELFIE_SEGMENTER, fetch)
    return Options(landmarks=landmarks, landmark_model=landmarker, matte_model=segmenter)
