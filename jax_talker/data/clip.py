"""The clip folder: what ``prepare`` and the procedural head write and everything else reads.

    clip.json            format, fps (25), size, frames, sample_rate (16000), source (what it was made from), views
    frames/000000.png    the head on white, sRGB, size × size
    masks/000000.png     8 bit: red = upper face, green = lower face, blue = head
    arrays.npz           label [T, 25] EG3D camera labels · blink [T] 0 open … 1 closed · landmarks [T, P, 2] pixels
                         and whatever else the maker knows per frame (landmarks_3d, pose, motion, …), first axis T
    audio.wav            16 kHz mono, 16 bit
    views/<name>/        frames, masks and arrays of further synchronised cameras (no audio), where there are any

A clip is written beside its place and moved there when it is whole, so that nothing half-written is ever left behind.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
import soundfile

from jax_talker.errors import UserError

FORMAT = 1
FPS = 25
SAMPLE_RATE = 16_000
REQUIRED_ARRAYS = ("label", "blink", "landmarks")


@dataclass(frozen=True)
class Clip:
    """One camera's frames of a prepared clip; images are read when asked for, arrays at once."""

    root: Path
    size: int
    frames: int
    arrays: Mapping[str, np.ndarray]  # first axis: frame
    source: Mapping[str, object] = field(default_factory=dict)
    view_names: tuple[str, ...] = ()

    def image(self, index: int) -> np.ndarray:
        """Frame ``index`` as [H, W, 3] uint8 sRGB."""
        return _read_png(self.root / "frames" / f"{index:06d}.png")

    def masks(self, index: int) -> np.ndarray:
        """Masks of frame ``index`` as [H, W, 3] uint8: upper face, lower face, head; 255 inside."""
        return _read_png(self.root / "masks" / f"{index:06d}.png")

    def audio(self) -> np.ndarray:
        """The clip's sound, [samples] float32 in [−1, 1] at 16 kHz."""
        sound, rate = soundfile.read(self.root / "audio.wav", dtype="float32")
        if rate != SAMPLE_RATE or sound.ndim != 1:
            raise UserError(f"{self.root / 'audio.wav'}: must be {SAMPLE_RATE} Hz mono, found {rate} Hz, {sound.shape}")
        return sound

    def view(self, name: str) -> "Clip":
        """A further synchronised camera of the same clip. It has no sound of its own."""
        if name not in self.view_names:
            raise UserError(f"{self.root}: no view {name!r}; it has {list(self.view_names) or 'none'}")
        root = self.root / "views" / name
        return Clip(root, self.size, self.frames, _read_arrays(root, self.frames), self.source)


def open_clip(root: str | Path) -> Clip:
    """Open a clip folder; a UserError says what is missing and how to make one."""
    root = Path(root)
    path = root / "clip.json"
    if not path.is_file():
        raise UserError(f"{root}: not a clip folder (no clip.json); make one with python -m jax_talker.prepare")
    try:
        meta = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: damaged ({error}); prepare the clip again") from None
    if meta.get("format") != FORMAT:
        raise UserError(f"{path}: clip format {meta.get('format')!r}, this version reads {FORMAT}; prepare it again")
    views = tuple(meta.get("views", ()))
    return Clip(root, meta["size"], meta["frames"], _read_arrays(root, meta["frames"]), meta["source"], views)


def check_output(root: str | Path, overwrite: bool) -> None:
    """UserError unless a clip may be written at ``root``. Only clips are overwritten, never some other folder."""
    root = Path(root)
    if not root.exists():
        return
    if not overwrite:
        raise UserError(f"{root}: exists already; pass --overwrite or choose another folder")
    if not root.is_dir() or (any(root.iterdir()) and not (root / "clip.json").is_file()):
        raise UserError(f"{root}: is not a clip folder, so it is not overwritten; choose another folder")


class ClipWriter:
    """Writes one clip folder; use it as a context manager. On any error nothing is left at ``root``.

    >>> with ClipWriter("data/may", size=128, source={"video": "may.mp4"}) as writer:
    ...     writer.add(image, masks)                       # once a frame, in order
    ...     writer.add(side_image, side_masks, view="left")
    ...     writer.finish({"label": …, "blink": …, "landmarks": …}, audio, views={"left": {…}})
    """

    def __init__(self, root: str | Path, *, size: int, source: Mapping[str, object], overwrite: bool = False):
        self.root = Path(root)
        self._size = size
        self._source = dict(source)
        self._counts: dict[str | None, int] = {}
        self._finished = False
        check_output(self.root, overwrite)
        self._made = [p for p in self.root.absolute().parents if not p.exists()]  # innermost first
        self.root.parent.mkdir(parents=True, exist_ok=True)
        self._work = self.root.parent / f".{self.root.name}.{os.getpid()}.partial"
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir()

    def __enter__(self) -> "ClipWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if kind is None and self._finished:
            old = self._work.with_suffix(".old")
            if self.root.exists():
                self.root.rename(old)
            self._work.rename(self.root)
            shutil.rmtree(old, ignore_errors=True)
        else:
            shutil.rmtree(self._work, ignore_errors=True)
            for folder in self._made:
                with contextlib.suppress(OSError):  # somebody else has put something there meanwhile
                    folder.rmdir()

    @property
    def folder(self) -> Path:
        """Where extra files (a contact sheet) may be written before the clip moves to its place."""
        return self._work

    def add(self, image: np.ndarray, masks: np.ndarray, *, view: str | None = None) -> None:
        """Append a frame: image [H, W, 3] uint8 sRGB, masks [H, W, 3] uint8 (upper, lower, head)."""
        index = self._counts.get(view, 0)
        for kind, pixels in (("frames", image), ("masks", masks)):
            if pixels.shape != (self._size, self._size, 3) or pixels.dtype != np.uint8:
                raise ValueError(
                    f"{kind} must be uint8 [{self._size}, {self._size}, 3], got {pixels.dtype} {pixels.shape}"
                )
            folder = self._folder(view) / kind
            folder.mkdir(parents=True, exist_ok=True)
            if not cv2.imwrite(str(folder / f"{index:06d}.png"), pixels[..., ::-1]):
                raise OSError(f"{folder}: could not write frame {index}; is the disk full?")
        self._counts[view] = index + 1

    def finish(
        self,
        arrays: Mapping[str, np.ndarray],
        audio: np.ndarray,
        *,
        views: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    ) -> None:
        """Write arrays, sound and clip.json. ``audio`` is [samples] float in [−1, 1] at 16 kHz."""
        views = views or {}
        frames = self._counts.get(None, 0)
        for view, per_frame in ((None, arrays), *views.items()):
            if self._counts.get(view, 0) != frames:
                raise ValueError(f"view {view!r} has {self._counts.get(view, 0)} frames, the clip has {frames}")
            _check_arrays(per_frame, frames, where=f"view {view!r}")
            stored = {name: np.asarray(a) for name, a in per_frame.items()}
            np.savez_compressed(self._folder(view) / "arrays.npz", allow_pickle=False, **stored)
        soundfile.write(self._work / "audio.wav", np.clip(audio, -1, 1), SAMPLE_RATE, subtype="PCM_16")
        meta = {
            "format": FORMAT,
            "fps": FPS,
            "size": self._size,
            "frames": frames,
            "sample_rate": SAMPLE_RATE,
            "source": self._source,
            "views": list(views),
        }
        (self._work / "clip.json").write_text(json.dumps(meta, indent=2))
        self._finished = True

    def _folder(self, view: str | None) -> Path:
        return self._work if view is None else self._work / "views" / view


def _read_png(path: Path) -> np.ndarray:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise UserError(f"{path}: missing or damaged; prepare the clip again")
    return np.ascontiguousarray(pixels[..., ::-1])


def _read_arrays(root: Path, frames: int) -> dict[str, np.ndarray]:
    path = root / "arrays.npz"
    if not path.is_file():
        raise UserError(f"{path}: missing; prepare the clip again")
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    try:
        _check_arrays(arrays, frames, where=str(path))
    except ValueError as error:
        raise UserError(f"{error}; prepare the clip again") from None
    return arrays


def _check_arrays(arrays: Mapping[str, np.ndarray], frames: int, *, where: str) -> None:
    if missing := [name for name in REQUIRED_ARRAYS if name not in arrays]:
        raise ValueError(f"{where}: arrays lack {missing}")
    if wrong := {name: np.shape(a) for name, a in arrays.items() if len(a) != frames}:
        raise ValueError(f"{where}: arrays must have first axis {frames} (frames), found {wrong}")
