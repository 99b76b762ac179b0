"""The models of others that ``talk`` works with: those that are here, or are fetched when that is asked for."""

from pathlib import Path
from typing import Any

from jax_talker.data.preparation.options import Options
from jax_talker.data.read import model_files

LPIPS = "lpips_alex"  # the folder that python -m converters lpips is told to write


def preparing(landmarks: str, landmarker: str | Path | None, segmenter: str | Path | None, *, fetch: bool) -> Options:
    """Options for ``landmarks`` (auto, mediapipe, …) and the models given; UserError where one is missing."""
    if landmarks in ("auto", "mediapipe") and landmarker is None:
        landmarker = model_files.wanted(model_files.FACE_LANDMARKER, fetch)
        if landmarker is None:
            raise model_files.missing(model_files.FACE_LANDMARKER)
    if segmenter is None:  # heads are found without it, less steadily
        segmenter = model_files.wanted(model_files.SELFIE_SEGMENTER, fetch)
    return Options(landmarks=landmarks, landmark_model=landmarker, matte_model=segmenter)


def with_lpips(config: Any) -> Any:
    """``config`` with LPIPS in its loss, where that is left open and the weights lie with the other models."""
    if config.loss.lpips_weights is None and config.loss.lpips is None:
        found = model_files.place_of(LPIPS)
        config.loss.lpips_weights = None if found is None else str(found)
    return config
