"""From recordings to a clip folder: what ``python -m jax_talker.prepare`` does.

A recording is read three times, so that memory does not grow with its pictures: for faces, from which head poses and
crops follow; for the colours that the matte learns; and to cut out the heads. What is finished is kept in the clip's
unfinished folder, and the same command goes on there after an interruption.
"""

import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32
from tqdm import tqdm

from jax_talker.data.alpha_files import AlphaFiles, NoMatte
from jax_talker.data.audio import num_video_frames
from jax_talker.data.camera import CameraTrack, track_camera
from jax_talker.data.clip import FPS, SAMPLE_RATE, open_clip
from jax_talker.data.clip_writer import ClipWriter, check_output
from jax_talker.data.contact_sheet import SheetFrame, contact_sheet, project_axes
from jax_talker.data.cutting import Knife, Parser, cut_out, shown_picture
from jax_talker.data.detection import detect
from jax_talker.data.doctor import examine
from jax_talker.data.findings import Finding, Severity
from jax_talker.data.following import follow_face
from jax_talker.data.footage import Footage
from jax_talker.data.landmarkers import make_landmarker
from jax_talker.data.matte import HeadMatte, Matte
from jax_talker.data.options import Options
from jax_talker.data.quality import Quality
from jax_talker.data.report import html_report
from jax_talker.data.shots import find_cuts
from jax_talker.errors import UserError

MATTE_SAMPLES = 32  # frames from which a clip's colours are learnt
SHEET_FRAMES = 6  # evenly spread over the clip; the extremes of yaw and pitch join them
SOUND_MISSING = 0.2  # s; a clip whose sound ends this much earlier ends with it, below that silence is added
MOST_WORKERS = 8  # threads; with more, decoding is what takes the time


@dataclass(frozen=True)
class Prepared:
    """What came of it."""

    root: Path
    frames: int
    summary: str
    findings: tuple[Finding, ...]
    new: bool  # False: the clip was there already, made alike of the same files


def prepare_clip(
    footage: Footage,
    out: str | Path,
    options: Options | None = None,
    *,
    parser: Parser | None = None,
    bars: bool = True,
) -> Prepared:
    """Write the clip folder ``out`` from one camera's recording; docs/prepare.md says what it holds.

    ``parser`` gives each pixel's class, where ``options.parsing`` names one. UserError says what is wrong with the
    recording or an option; nothing is left at ``out`` then. Interrupted, it goes on where it was when called again, and
    where the same clip is there already it does nothing.
    """
    out, options = Path(out), options or Options()
    job = options.job(dict(footage.describe()), footage.files())
    if (done := _already(out, job, options.overwrite)) is not None:
        return done
    sound = footage.sound()
    with ClipWriter(out, size=options.size, source={}, overwrite=options.overwrite, job=job) as writer:
        work = _Work(writer, footage, options, parser, _Bars(bars))
        camera, short = work.follow(sound)
        arrays = {**camera.arrays, **work.cut_out(camera)}
        begin = camera.first * SAMPLE_RATE // FPS
        samples = camera.frames * SAMPLE_RATE // FPS
        sound = np.pad(sound, (0, max(0, begin + samples - len(sound))))[begin : begin + samples]
        quality = Quality(camera.head, arrays["blink"], camera.track.detected, arrays["outside"], sound, options.size)
        writer.finish(arrays, sound, source=work.describe(camera, quality))
        clip = open_clip(writer.folder)
        findings = (*short, *camera.findings, *examine(clip))
        writer.write_findings(findings)
        shown, title = work.shown(camera), f"{Path(footage.name).name}: {quality.summary()}"
        sheet = contact_sheet(shown, camera.scheme, title=title, tracks=quality.tracks(), sound=sound)
        cv2.imwrite(str(writer.folder / "contact_sheet.png"), sheet[..., ::-1])
        (writer.folder / "report.html").write_text(html_report(clip, findings, shown), encoding="utf-8")
    return Prepared(out, camera.frames, quality.summary(), findings, new=True)


def _already(out: Path, job: str, overwrite: bool) -> Prepared | None:
    """The clip at ``out`` if the same job made it and every part is whole; UserError if it may not be replaced."""
    if overwrite or not (out / "clip.json").is_file():
        check_output(out, overwrite)
        return None
    clip = open_clip(out)
    if clip.job != job:
        raise UserError(
            f"{out}: exists already, made of other files or with other options; pass --overwrite or choose another folder"
        )
    for name in clip.files.damaged():
        raise UserError(f"{out / name}: damaged or missing; prepare the clip again with --overwrite")
    return Prepared(out, clip.frames, str(clip.source["summary"]), clip.findings(), new=False)


class _Work:
    """The steps of one clip, with what they share."""

    def __init__(self, writer: ClipWriter, footage: Footage, options: Options, parser: Parser | None, bar: "_Bars"):
        self._writer, self._footage, self._options, self._parser, self._bar = writer, footage, options, parser, bar
        self._workers = options.workers or min(os.cpu_count() or 1, MOST_WORKERS)

    def follow(self, sound: Float32[np.ndarray, " samples"]) -> tuple[CameraTrack, tuple[Finding, ...]]:
        """Find the face in all pictures and follow it."""
        footage, options = self._footage, self._options
        make = functools.partial(make_landmarker, options.landmarks, model=options.landmark_model)
        folder = self._writer.progress / "found"
        self._found = found = detect(footage, make, folder, workers=self._workers, bar=self._bar)
        frames, short = _frames_with_sound(len(found.faces), sound, footage)
        followed = follow_face(
            found.faces[:frames],
            find_cuts(found.signatures[:frames]),
            joins=footage.joins,
            picture_size=found.picture_size,
            fps=FPS,
            start=footage.start,
            where=footage.name,
        )
        return track_camera(followed, options, start=footage.start), short

    def cut_out(self, camera: CameraTrack) -> dict[str, np.ndarray]:
        """Write frames and masks; returns what was measured in them."""
        options, parsed = self._options, self._parser is not None and self._options.matte == "auto"
        knife = Knife(options.size, NoMatte() if parsed else self._matte(camera), self._parser, parser_alpha=parsed)
        shown = set(self._worth_showing(camera))
        return cut_out(
            self._writer,
            self._footage,
            camera.heads(),
            knife,
            view=None,
            shown=shown,
            workers=self._workers,
            bar=self._bar,
        )

    def _matte(self, camera: CameraTrack) -> Matte:
        options = self._options
        if options.matte == "none":
            return NoMatte()
        if options.matte != "auto":
            return AlphaFiles(options.matte, frames=len(self._found.faces), start=self._footage.start)
        wanted = np.unique(np.linspace(0, camera.frames - 1, MATTE_SAMPLES).astype(int)).tolist()
        pictures, views = [], camera.heads().views
        stream = self._footage.pictures(camera.first)
        for index, picture in enumerate(self._bar(stream, "learning colours", wanted[-1] + 1, 0)):
            if index in wanted:
                pictures.append(picture)
            if index == wanted[-1]:
                break
        return HeadMatte(pictures, [views[i] for i in wanted], camera.scheme, options.focal)

    def _worth_showing(self, camera: CameraTrack) -> list[int]:
        even = np.linspace(0, camera.frames - 1, SHEET_FRAMES).astype(int).tolist()
        extremes = [int(f(camera.head.euler[:, i])) for i in (0, 1) for f in (np.argmin, np.argmax)]
        return sorted({*even, *extremes})

    def shown(self, camera: CameraTrack) -> list[SheetFrame]:
        """Frames for people to look at, once the clip is written."""
        clip, views, size = open_clip(self._writer.folder), camera.heads().views, self._options.size
        frames = []
        for index in self._worth_showing(camera):
            picture, crop = shown_picture(self._writer, None, index), views[index].crop
            axes = project_axes(camera.head.cam_from_world[index], camera.head.nose_tip, self._options.focal, size)
            landmarks = camera.arrays["landmarks"][index].astype(np.float64)
            seen = crop.cut(picture, size)
            frames.append(SheetFrame(index, picture, crop, seen, clip.image(index), clip.masks(index), landmarks, axes))
        return frames

    def describe(self, camera: CameraTrack, quality: Quality) -> dict[str, object]:
        """How the clip was made, for its clip.json. File names only: folders are nobody else's business."""

        def name(path: str | Path | None, otherwise: str) -> str:
            return otherwise if path is None else Path(path).name

        options, footage = self._options, self._footage
        return {
            **footage.describe(),
            "start": footage.start + camera.first / FPS,  # of the clip's first frame
            "landmarks": name(options.landmarks, ""),
            "landmark_scheme": camera.scheme.name,
            "expression_names": list(self._found.score_names),
            "matte": name(options.matte, ""),
            "parsing": name(options.parsing, "none"),
            "blink": name(options.blink, "eyelid landmarks"),
            "focal": options.focal,
            "smooth": options.smooth,
            "joins": [join - camera.first for join in footage.joins if 0 < join - camera.first < camera.frames],
            "summary": quality.summary(),
        }


def _frames_with_sound(
    frames: int, sound: Float32[np.ndarray, " samples"], footage: Footage
) -> tuple[int, tuple[Finding, ...]]:
    missing = frames - num_video_frames(len(sound))
    if missing <= SOUND_MISSING * FPS:
        return frames, ()
    if missing >= frames:
        raise UserError(f"{footage.name}: its sound ends before {footage.start:g} s, where the clip begins")
    end = footage.start + frames / FPS
    message = f"the sound ends {missing / FPS:.2f} s before the picture, and the clip ends with it"
    advice = "give the whole sound with --sound if there is more of it"
    return frames - missing, (Finding("short_sound", Severity.WARNING, end - missing / FPS, end, message, advice),)


class _Bars:
    """Progress: (things, label, total, already done) → the things, with a bar while they are used."""

    def __init__(self, shown: bool):
        self._shown = shown

    def __call__(self, things: Iterable[Any], label: str, total: int | None, done: int) -> Iterable[Any]:
        return tqdm(things, desc=label, total=total, initial=done, unit="frame", disable=not self._shown)
