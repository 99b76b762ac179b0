"""Writes a clip folder (clip.py says what it holds), beside its place; it is moved there when it is whole.

So nothing half-written ever has the name of a clip. A job that can be continued keeps its unfinished folder when it is
interrupted, under a name that says which job it is: ``.NAME.KEY.partial``.
"""

import contextlib
import io
import json
import os
import re
import shutil
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
import soundfile
from filelock import FileLock, Timeout

from jax_talker.data.clip import checksums
from jax_talker.data.clip.clip import FINDINGS, FORMAT, FPS, SAMPLE_RATE, check_arrays
from jax_talker.data.clip.findings import Finding
from jax_talker.errors import UserError, check_writable

# Lossless, and chosen by measurement at 512² (docs/prepare.md): pictures want speed, masks pack well at little cost.
FAST = [
    *(cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
]
PACKED = [
    *(cv2.IMWRITE_PNG_COMPRESSION, 3, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_DEFAULT),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
]
PROGRESS = "progress"  # what a job notes for itself while it is not finished
LOCK = "lock"  # held by the process that works in an unfinished folder


def check_output(root: str | Path, overwrite: bool) -> None:
    """UserError unless a clip may be written at ``root``. Only clips are overwritten, never some other folder."""
    root = Path(root)
    if not root.exists():
        return
    if not overwrite:
        raise UserError(f"{root}: exists already; pass --overwrite or choose another folder")
    if not root.is_dir() or (any(root.iterdir()) and not (root / "clip.json").is_file()):
        raise UserError(f"{root}: is not a clip folder, so it is not overwritten; choose another folder")
    if root.is_mount():
        raise UserError(f"{root}: a disk is mounted there, which a clip cannot replace; name a folder in it")


class ClipWriter:
    """Writes one clip folder; use it as a context manager.

    >>> with ClipWriter("data/may", size=128, source={"video": "may.mp4"}) as writer:
    ...     writer.add(image, masks)                       # once a frame, in order; or put(index, …) in any order
    ...     writer.add(side_image, side_masks, view="left")
    ...     writer.finish({"label": …, "blink": …, "landmarks": …}, audio, views={"left": {…}})

    On any error nothing is left at ``root``. With ``job``, the unfinished folder outlives everything but a UserError,
    and a writer with the same ``job`` goes on in it; two at a time are refused.
    """

    def __init__(
        self, root: str | Path, *, size: int, source: Mapping[str, object], overwrite: bool = False, job: str = ""
    ):
        self.root, self._size, self._source, self._job = Path(root), size, dict(source), job
        self._counts: dict[str | None, int] = {}
        self._sums: dict[str, str] = {}
        self._finished, self._overwrite, self._threads = False, overwrite, threading.Lock()
        check_output(self.root, overwrite)
        self._place = self.root.resolve()  # a link stays one: what it leads to is written
        self._made = [p for p in self._place.parents if not p.exists()]  # innermost first
        self._work = self._place.parent / f".{self._place.name}.{job or os.getpid()}.partial"
        if not job:
            shutil.rmtree(self._work, ignore_errors=True)
        check_writable(self._place.parent, self.root)
        self._lock = _lock(self._work)
        try:
            self._work.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            raise UserError(f"{self.root}: another process is making this clip; wait for it, or stop it") from None
        except OSError as error:
            raise UserError(f"{self.root}: cannot write there ({error.strerror})") from None

    def __enter__(self) -> "ClipWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        try:
            if kind is None and self._finished:
                try:
                    self._take_place()
                except UserError:
                    if not self._job:
                        shutil.rmtree(self._work, ignore_errors=True)
                    raise
            elif not self._job or error is None or isinstance(error, UserError):
                shutil.rmtree(self._work, ignore_errors=True)
                for folder in self._made:
                    with contextlib.suppress(OSError):  # somebody else has put something there meanwhile
                        folder.rmdir()
        finally:
            self._lock.release()

    def _take_place(self) -> None:
        check_output(self.root, self._overwrite)  # once more: the work took long
        self._lock.release()
        (self._work / LOCK).unlink(missing_ok=True)
        old = self._work.with_suffix(".old")
        if self._place.exists():
            shutil.rmtree(old, ignore_errors=True)  # left by a process that was killed here
            self._place.rename(old)
        try:
            self._work.rename(self._place)
        except OSError:
            if old.exists():
                old.rename(self._place)
            raise
        shutil.rmtree(self.root / PROGRESS, ignore_errors=True)
        ours = re.compile(rf"\.{re.escape(self._place.name)}\.([0-9a-f]{{16}}|[0-9]+)\.(partial|old)")
        for left in self._place.parent.iterdir():  # unfinished work on the same clip, by nobody any more
            if ours.fullmatch(left.name) and left.is_dir():
                with contextlib.suppress(Timeout, OSError), _lock(left):
                    shutil.rmtree(left, ignore_errors=True)

    @property
    def folder(self) -> Path:
        """Where extra files (a contact sheet) may be written before the clip moves to its place."""
        return self._work

    @property
    def progress(self) -> Path:
        """Where a job keeps notes for itself; gone when the clip is whole."""
        folder = self._work / PROGRESS
        folder.mkdir(exist_ok=True)
        return folder

    def add(self, image: np.ndarray, masks: np.ndarray, *, view: str | None = None) -> None:
        """Append a frame: image [H, W, 3] uint8 sRGB, masks [H, W, 3] uint8 (upper, lower, head)."""
        index = self._counts.get(view, 0)
        self.put(index, image, masks, view=view)
        self._counts[view] = index + 1

    def put(
        self,
        index: int,
        image: np.ndarray,
        masks: np.ndarray,
        parts: np.ndarray | None = None,
        *,
        valid: np.ndarray | None = None,
        view: str | None = None,
    ) -> dict[str, str]:
        """Write frame ``index``, in any order and from any thread; ``parts`` [H, W] uint8 are a parser's classes.

        ``valid`` [H, W] uint8 is 255 where the picture is the truth, 0 elsewhere; without it everywhere.

        Returns the checksums of what should now be on disk, for a job to keep (``trust``).
        """
        sums = {}
        shape = (self._size, self._size, 3)
        flat = shape[:2]
        valid = None if valid is None or valid.min() == 255 else valid
        given = (("frames", image, shape), ("masks", masks, shape), ("parts", parts, flat), ("valid", valid, flat))
        for kind, pixels, wanted in given:
            if pixels is None:
                continue
            if pixels.shape != wanted or pixels.dtype != np.uint8:
                raise ValueError(f"{kind} must be uint8 {list(wanted)}, got {pixels.dtype} {pixels.shape}")
            _, encoded = cv2.imencode(
                ".png",
                pixels[..., ::-1] if pixels.ndim == 3 else pixels,
                PACKED if kind in ("masks", "valid") else FAST,
            )
            name = f"{_prefix(view)}{kind}/{index:06d}.png"
            path = self._work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            content = encoded.tobytes()
            path.write_bytes(content)
            sums[name] = checksums.digest(content)
        self.trust(sums)
        return sums

    def trust(self, sums: Mapping[str, str]) -> None:
        """Checksums of parts that were written before, in this process or in one that was interrupted."""
        with self._threads:
            self._sums.update(sums)

    def finish(
        self,
        arrays: Mapping[str, np.ndarray],
        audio: np.ndarray,
        *,
        views: Mapping[str, Mapping[str, np.ndarray]] | None = None,
        source: Mapping[str, object] | None = None,
    ) -> None:
        """Write arrays, sound, checksums and clip.json. ``audio`` is [samples] float in [−1, 1] at 16 kHz.

        ``source`` joins what the writer was given at first.
        """
        cameras = {None: arrays, **(views or {})}
        written = {view: sorted((self._work / f"{_prefix(view)}frames").glob("*.png")) for view in cameras}
        frames = len(written[None])
        for view, per_frame in cameras.items():
            if [p.name for p in written[view]] != [f"{i:06d}.png" for i in range(frames)]:
                raise ValueError(f"view {view!r} has {len(written[view])} frames, the clip has {frames}")
            check_arrays(per_frame, frames, where=f"view {view!r}")
            stored: dict[str, Any] = {name: np.asarray(a) for name, a in per_frame.items()}
            np.savez_compressed(self._work / f"{_prefix(view)}arrays.npz", allow_pickle=False, **stored)
        wave = io.BytesIO()  # a full disk is an OSError then, as everywhere else
        soundfile.write(wave, np.clip(audio, -1, 1), SAMPLE_RATE, subtype="PCM_16", format="WAV")
        (self._work / "audio.wav").write_bytes(wave.getvalue())
        names = {p.relative_to(self._work).as_posix() for p in self._work.rglob("*") if p.is_file()}
        parts = {name for name in names if name.startswith(_PARTS) or name.startswith("views/")}
        self._sums |= checksums.sums_of(self._work, parts - set(self._sums))
        meta = {
            "format": FORMAT,
            "fps": FPS,
            "size": self._size,
            "frames": frames,
            "sample_rate": SAMPLE_RATE,
            "source": {**self._source, **(source or {})},
            "views": [view for view in cameras if view],
            "job": self._job,
            "sums": checksums.write(self._work, {name: self._sums[name] for name in parts}),
        }
        (self._work / "clip.json").write_text(json.dumps(meta, indent=2, allow_nan=False), encoding="utf-8")
        self._finished = True

    def write_findings(self, findings: Iterable[Finding]) -> None:
        """Put findings.json beside the clip's parts."""
        stored = [finding.as_json() for finding in findings]
        text = json.dumps(stored, indent=1, ensure_ascii=False, allow_nan=False)
        # Half characters of file names in no encoding become JSON's own escapes.
        (self._work / FINDINGS).write_text(text, encoding="utf-8", errors="backslashreplace")


_PARTS = ("frames/", "masks/", "valid/", "parts/", "arrays.npz", "audio.wav")


def _prefix(view: str | None) -> str:
    return f"views/{view}/" if view else ""


def _lock(work: Path) -> FileLock:
    return FileLock(work / LOCK, timeout=0)
