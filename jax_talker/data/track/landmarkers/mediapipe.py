"""MediaPipe's face landmarker. Only this file imports mediapipe, an optional extra: ``jax-talker[landmarks]``."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from scipy.spatial.transform import Rotation

from jax_talker.data.read.model_files import FACE_LANDMARKER
from jax_talker.data.track.faces import Face
from jax_talker.errors import UserError

MAX_FACES = 5  # that are looked for in a picture
MODEL_URL = "https://ai.google.dev/edge/mediapipe/solutions/vision/face_landmarker"
# MediaPipe's canonical head looks 3° further down than the face template (BFM, via Deep3DFaceRecon) by which EG3D's
# labels say what frontal is: the rotation between the two sets of five anchors (eyes, nose tip, mouth corners), whose
# mean over three people is −2.9° (−1.1°, −3.6°, −3.1°) about the x axis.
MEDIAPIPE_FROM_HEAD = Rotation.from_euler("x", 3, degrees=True).as_matrix()
CAM_FROM_GL = np.diag([1.0, -1.0, -1.0])  # camera axes: OpenCV (y down, z forward) from OpenGL (y up, z backward)
# ARKit's names in MediaPipe's order; "_neutral" comes first
BLENDSHAPES = (
    "_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight",
    "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight",
)  # fmt: skip


class MediaPipeLandmarker:
    """478 points with relative depth, head rotation, 52 expression scores.

    Every picture is looked at by itself: MediaPipe's own temporal filter would make lips and lids lag.
    """

    name = "mediapipe"
    score_names = BLENDSHAPES
    reach = 0.1  # measured: of 1920 px, faces of 191 px are found, of 143 px not

    def __init__(self, model: str | Path | None):
        hint = f"give its path with --landmark-model, or fetch it with prepare --fetch: {FACE_LANDMARKER.about()}"
        if model is None:
            raise UserError(f"--landmarks=mediapipe needs a model: {hint}")
        if not Path(model).is_file():
            what = "is a folder, not a landmark model" if Path(model).is_dir() else "no such landmark model"
            raise UserError(f"{model}: {what}; {hint}")
        try:
            import mediapipe
        except ImportError as error:
            raise UserError(
                f"mediapipe cannot be imported ({error}); run: pip install 'jax-talker[landmarks]'"
            ) from None
        self._mp = mediapipe
        vision = mediapipe.tasks.vision
        options = vision.FaceLandmarkerOptions(
            base_options=mediapipe.tasks.BaseOptions(model_asset_path=str(model)),
            num_faces=MAX_FACES,
            output_face_blendshapes=True,
            output_facial_transformation_matrixes=True,
        )
        try:
            with native_stderr_silenced():
                self._landmarker = vision.FaceLandmarker.create_from_options(options)
                self._detect(np.zeros((64, 64, 3), np.uint8))  # the first call is the one that chatters
        except OSError as error:
            raise UserError(
                f"mediapipe's library cannot be loaded ({error}); on Debian and Ubuntu: apt install libegl1 libgles2; "
                "or give landmarks of your own with --landmarks=FILE.npz"
            ) from None
        except (RuntimeError, ValueError) as error:
            raise UserError(f"{model}: is not a face landmarker model ({str(error).splitlines()[0]}); {hint}") from None

    def __call__(self, rgb: UInt8[np.ndarray, "H W 3"], index: int) -> list[Face]:
        found, (height, width) = self._detect(rgb), rgb.shape[:2]
        answers = zip(
            found.face_landmarks, found.face_blendshapes, found.facial_transformation_matrixes, strict=True
        )  # fmt: skip
        faces = []
        for landmarks, blendshapes, gl_from_mediapipe in answers:
            points = np.array([(p.x, p.y, p.z) for p in landmarks]) * (width, height, width)
            scores = {s.category_name: s.score for s in blendshapes}
            faces.append(
                Face(
                    points=points[:, :2],
                    depth=points[:, 2],
                    rotation=CAM_FROM_GL @ np.asarray(gl_from_mediapipe)[:3, :3] @ MEDIAPIPE_FROM_HEAD,
                    scores=np.array([scores[name] for name in BLENDSHAPES], np.float32),
                )
            )
        return faces

    def check_length(self, frames: int) -> None:
        pass  # any number of pictures will do

    def _detect(self, rgb: np.ndarray) -> Any:
        image = self._mp.Image(image_format=self._mp.ImageFormat.SRGB, data=np.ascontiguousarray(rgb))
        return self._landmarker.detect(image)

    def __enter__(self) -> "MediaPipeLandmarker":
        return self

    def __exit__(self, *error: object) -> None:
        self._landmarker.close()  # left to __del__, it raises at the interpreter's exit


@contextmanager
def native_stderr_silenced() -> Iterator[None]:
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
