"""The clip folder: what ``prepare`` and the procedural head write (clip_writer.py) and everything else reads.

    clip.json            format, fps (25), size, frames, sample_rate (16000), source (what it was made from), views, job
                         (what it was made of and how, as one number), sums (SHA-256 of SHA256SUMS)
    frames/000000.png    the head on white, sRGB, size × size
    masks/000000.png     8 bit: red = upper face, green = lower face, blue = head
    valid/000000.png     8 bit: 255 where the picture is the truth, 0 beyond the source picture and below where the
                         neck fades out; only of frames that have such places
    parts/000000.png     8 bit: the class of each pixel (data/cut/parsing.py); only where a face parser was given
    arrays.npz           label [T, 25] EG3D camera labels · blink [T] 0 open … 1 closed · landmarks [T, P, 2] pixels
                         and whatever else the maker knows per frame (landmarks_3d, pose, motion, …), first axis T
    audio.wav            16 kHz mono, 16 bit
    views/<name>/        frames, masks and arrays of further synchronised cameras (no audio), where there are any
    SHA256SUMS           a checksum for each of the files above, as sha256sum writes them
    findings.json        what was found while it was made (data/clip/findings.py)
    contact_sheet.png, report.html   for people
    features/            audio features, kept for the next run (audio/hearing.py): no part of the clip, may be deleted

Every part is checked against its checksum when it is read, so a damaged file is named and never trained on.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from zipfile import BadZipFile

import cv2
import numpy as np
import soundfile

from jax_talker.data.clip.checksums import Checksums
from jax_talker.data.clip.findings import Finding
from jax_talker.errors import UserError

FORMAT = 2
FPS = 25
SAMPLE_RATE = 16_000
REQUIRED_ARRAYS = ("label", "blink", "landmarks")
SHARES = ("blink", "confidence", "outside", "expression")  # arrays whose values are in [0, 1]
ROUNDING = 1e-3  # beyond that range
MAY_BE_MISSING = ("fit_error",)  # NaN where a side camera does not see the face
FINDINGS = "findings.json"


@dataclass(frozen=True)
class Clip:
    """One camera's frames of a prepared clip; images are read when asked for, arrays at once."""

    root: Path
    size: int
    frames: int
    arrays: Mapping[str, np.ndarray]  # first axis: frame
    files: Checksums
    source: Mapping[str, object] = field(default_factory=dict)
    view_names: tuple[str, ...] = ()
    job: str = ""  # equal for two clips that were made alike of the same
    folder: str = ""  # of this camera, relative to root: "" or "views/<name>/"

    def image(self, index: int) -> np.ndarray:
        """Frame ``index`` as [H, W, 3] uint8 sRGB."""
        return self._picture("frames", index, cv2.IMREAD_COLOR_RGB)

    def masks(self, index: int) -> np.ndarray:
        """Masks of frame ``index`` as [H, W, 3] uint8: upper face, lower face, head; 255 inside."""
        return self._picture("masks", index, cv2.IMREAD_COLOR_RGB)

    def valid(self, index: int) -> np.ndarray:
        """Where frame ``index`` is the truth, [H, W] uint8: 255, or 0 beyond the source picture and below where the
        neck fades out. There the head may go on, whatever frame and head mask show."""
        if f"{self.folder}valid/{index:06d}.png" not in self.files.sums:
            return np.full((self.size, self.size), 255, np.uint8)
        return self._picture("valid", index, cv2.IMREAD_GRAYSCALE)

    @property
    def has_parts(self) -> bool:
        """Whether a face parser's classes were stored."""
        return f"{self.folder}parts/{0:06d}.png" in self.files.sums

    def parts(self, index: int) -> np.ndarray:
        """Each pixel's class in frame ``index`` as [H, W] uint8 (data/cut/parsing.py), where ``has_parts``."""
        return self._picture("parts", index, cv2.IMREAD_GRAYSCALE)

    def audio(self) -> np.ndarray:
        """The clip's sound, [samples] float32 in [−1, 1] at 16 kHz. Views have the first camera's."""
        sound, rate = soundfile.read(io.BytesIO(self.files.load("audio.wav")), dtype="float32")
        if rate != SAMPLE_RATE or sound.ndim != 1:
            raise UserError(f"{self.root / 'audio.wav'}: must be {SAMPLE_RATE} Hz mono, found {rate} Hz, {sound.shape}")
        return sound

    def view(self, name: str) -> "Clip":
        """A further synchronised camera of the same clip."""
        if name not in self.view_names:
            raise UserError(f"{self.root}: no view {name!r}; it has {list(self.view_names) or 'none'}")
        folder = f"views/{name}/"
        arrays = _arrays(self.files, f"{folder}arrays.npz", self.frames)
        return replace(self, arrays=arrays, view_names=(), folder=folder)

    @property
    def boundaries(self) -> tuple[int, ...]:
        """Frames with which another recording begins, where a clip is joined from several (MEAD)."""
        stored = self.source.get("boundaries", self.source.get("joins", ()))  # as older clips call them
        if not isinstance(stored, list | tuple):
            return ()
        return tuple(b for b in stored if isinstance(b, int) and 0 < b < self.frames)

    def findings(self) -> tuple[Finding, ...]:
        """What was found in the video while it was prepared; () where nothing was written down."""
        path = self.root / FINDINGS
        if not path.is_file():
            return ()
        try:
            return tuple(Finding.from_json(stored) for stored in json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path}: not a list of findings ({error}); delete it, or prepare the clip again") from None

    def _picture(self, kind: str, index: int, flags: int) -> np.ndarray:
        name = f"{self.folder}{kind}/{index:06d}.png"
        pixels = cv2.imdecode(np.frombuffer(self.files.load(name), np.uint8), flags)
        if pixels is None:
            raise UserError(f"{self.root / name}: not a picture; prepare the clip again with --overwrite")
        return np.ascontiguousarray(pixels)


def open_clip(root: str | Path) -> Clip:
    """Open a clip folder; a UserError says what is missing or damaged and how to make one."""
    root = Path(root)
    path = root / "clip.json"
    if not path.is_file():
        raise UserError(f"{root}: not a clip folder (no clip.json); make one with python -m jax_talker.prepare")
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        version = meta.get("format")
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path}: damaged ({error}); prepare the clip again with --overwrite") from None
    if version != FORMAT:
        raise UserError(
            f"{path}: clip format {version!r}, this version reads {FORMAT}; prepare it again with --overwrite"
        )
    try:
        size, frames, source, sums = (meta[name] for name in ("size", "frames", "source", "sums"))
        views, job = tuple(meta.get("views", ())), str(meta.get("job", ""))
    except KeyError as error:
        raise UserError(f"{path}: damaged (no {error}); prepare the clip again with --overwrite") from None
    files = Checksums.read(root, sums)
    return Clip(root, size, frames, _arrays(files, "arrays.npz", frames), files, source, views, job)


def check_arrays(arrays: Mapping[str, np.ndarray], frames: int, *, where: str) -> None:
    """ValueError unless ``arrays`` are what a clip of so many frames holds: shapes, and values that can be."""
    if missing := [name for name in REQUIRED_ARRAYS if name not in arrays]:
        raise ValueError(f"{where}: arrays lack {missing}")
    if wrong := {name: np.shape(a) for name, a in arrays.items() if np.shape(a)[:1] != (frames,)}:
        raise ValueError(f"{where}: arrays must have first axis {frames} (frames), found {wrong}")
    for name, values in arrays.items():
        if not np.issubdtype(np.asarray(values).dtype, np.number):
            raise ValueError(f"{where}: {name} holds {np.asarray(values).dtype}, not numbers")
        if name not in MAY_BE_MISSING:
            _check_values(name, np.asarray(values), where)


def _check_values(name: str, values: np.ndarray, where: str) -> None:
    within = np.isfinite(values)
    if name in SHARES:
        within &= (values >= -ROUNDING) & (values <= 1 + ROUNDING)
    if not within.all():
        first = np.argwhere(~within)[0]
        allowed = "between 0 and 1" if name in SHARES else "a finite number"
        raise ValueError(f"{where}: {name} of frame {first[0]} is {values[tuple(first)]:g}, not {allowed}")


def _arrays(files: Checksums, name: str, frames: int) -> dict[str, np.ndarray]:
    where = files.root / name
    try:
        with np.load(io.BytesIO(files.load(name)), allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        check_arrays(arrays, frames, where=str(where))
    except (ValueError, OSError, BadZipFile) as error:
        raise UserError(f"{where}: {error}; prepare the clip again with --overwrite") from None
    return arrays
