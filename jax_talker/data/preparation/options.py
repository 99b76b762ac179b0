"""How a recording is prepared, and the number by which two equal jobs know each other."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import jax_talker
from jax_talker import geometry
from jax_talker.data.clip.clip import FORMAT
from jax_talker.errors import UserError

SMALLEST_SIZE = 32  # px
MATTES = ("auto", "none")
POSES = ("landmarks", "matrix")
NAMED_LANDMARKERS = ("auto", "mediapipe", "face-alignment")  # whatever folders of these names there may be
RESULT = 4  # raised when the same recording and options give another clip than before: old work is not continued then
KEY_LENGTH = 16  # hexadecimal digits of a job's key: it names folders


@dataclass(frozen=True)
class Options:
    """The flags of ``python -m jax_talker.prepare`` say the same."""

    landmarks: str = "auto"  # auto, face-alignment, mediapipe, or a file of landmarks
    landmark_model: str | Path | None = None
    size: int = 512  # px
    focal: float = geometry.FOCAL  # of the labels; smaller shows more around the face
    smooth: float = 1.0  # frames; width of the temporal filter on crop and pose
    pose: str = "landmarks"  # what head poses are fitted to; "matrix": take MediaPipe's rotations as they are
    refine: bool = True  # head poses on pixels; for one camera, landmarks with depth, and ``pose`` landmarks
    matte: str = "auto"  # auto, none, or a folder of alpha pictures or a video of them
    matte_model: str | Path | None = None  # MediaPipe's selfie segmenter, for ``matte`` auto
    parsing: str | Path | None = None  # a converted face parser
    blink: str | Path | None = None  # an OpenFace CSV instead of eyelid landmarks
    overwrite: bool = False
    workers: int = 0  # threads; 0: one for each core. The result does not depend on it

    def __post_init__(self):
        if self.size < SMALLEST_SIZE or self.focal <= 0 or self.smooth < 0 or self.workers < 0:
            raise UserError(
                f"size must be at least {SMALLEST_SIZE}, focal positive, smooth and workers not negative; "
                f"got {self.size}, {self.focal:g}, {self.smooth:g} and {self.workers}"
            )
        if self.pose not in POSES:
            raise UserError(f"--pose={self.pose}: unknown; use one of {', '.join(POSES)}")
        if self.blink is not None and not Path(self.blink).is_file():
            raise UserError(f"{self.blink}: no such OpenFace CSV")
        if self.matte not in MATTES and not Path(self.matte).exists():
            raise UserError(f"--matte={self.matte}: neither {' nor '.join(MATTES)} nor a folder or video of alphas")
        if self.matte_model is not None and self.matte != "auto":
            raise UserError(f"--matte-model goes with --matte=auto, not with --matte={self.matte}")
        if self.matte_model is not None and not Path(self.matte_model).is_file():
            raise UserError(f"--matte-model={self.matte_model}: no such file")

    def job(self, description: object, sources: Iterable[Path]) -> str:
        """A key that changes with the options, with ``description``, and with any file that is read: its name, size and
        time of change (a folder's are its files')."""
        landmarks = None if self.landmarks in NAMED_LANDMARKERS else self.landmarks
        matte = None if self.matte in MATTES else self.matte
        read = (landmarks, self.landmark_model, matte, self.matte_model, self.parsing, self.blink)
        given = [Path(p) for p in read if p is not None]
        files = [path for path in given if path.exists()]
        files = [file for path in (*sources, *files) for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
        numbers = {name: getattr(self, name) for name in ("size", "focal", "smooth", "pose", "refine")}
        named = [self.landmarks if landmarks is None else "", self.matte if matte is None else "", *map(_name, given)]
        stamps = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
        version = [FORMAT, RESULT, jax_talker.__version__]
        told = json.dumps([version, numbers, named, description, stamps], sort_keys=True, default=str)
        return hashlib.sha256(told.encode()).hexdigest()[:KEY_LENGTH]


def _name(path: Path) -> str:
    return path.name
