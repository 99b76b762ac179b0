"""From recordings to a clip folder: what ``python -m jax_talker.prepare`` does.

A recording is read four times, so that memory does not grow with its pictures: for faces, from which head poses and
crops follow; for refining these on pixels; for the colours that the matte learns; and to cut out the heads. What is
finished is kept in the clip's unfinished folder, and the same command goes on there after an interruption.
"""

import contextlib
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from tqdm import tqdm

from jax_talker.data.check.contact_sheet import SheetFrame, clip_frames, contact_sheet, project_axes
from jax_talker.data.check.doctor import examine, in_order, read_signals, start_of
from jax_talker.data.check.quality import Quality
from jax_talker.data.check.report import html_report, worth_showing
from jax_talker.data.clip.clip import FPS, SAMPLE_RATE, Clip, open_clip
from jax_talker.data.clip.clip_writer import ClipWriter, check_output
from jax_talker.data.clip.findings import Finding, Severity
from jax_talker.data.cut.alpha_files import AlphaFiles, NoMatte, OwnAlpha
from jax_talker.data.cut.cutting import CutOptions, Parser, cut_out, shown_picture
from jax_talker.data.cut.matte import HeadMatte, Matte
from jax_talker.data.cut.person_matte import PersonMatte
from jax_talker.data.cut.segmenter import Segmenter
from jax_talker.data.preparation.camera import CameraTrack, track_front, track_sides
from jax_talker.data.preparation.options import MATTES, NAMED_LANDMARKERS, Options
from jax_talker.data.read.audio import num_video_frames
from jax_talker.data.read.boundaries import boundaries_within
from jax_talker.data.read.footage import Footage
from jax_talker.data.track.detection import detect
from jax_talker.data.track.faces import Face
from jax_talker.data.track.following import Followed, broken_recordings, follow_face
from jax_talker.data.track.landmarkers import make_landmarker
from jax_talker.data.track.shots import find_cuts
from jax_talker.errors import UserError

FRONT = "front"
MATTE_SAMPLES = 32  # frames from which a clip's colours are learnt
SHEET_FRAMES = 6  # evenly spread over the clip; the extremes of yaw and pitch join them
SOUND_MISSING = 0.2  # s; a clip whose sound ends this much earlier ends with it, below that silence is added
MOST_WORKERS = 8  # threads; with more, decoding is what takes the time
# Progress: (things, label, total, already done) → the things, with a bar while they are used.
Bars = Callable[[Iterable[Any], str, int | None, int], Iterable[Any]]


@dataclass(frozen=True)
class Prepared:
    """What came of it."""

    root: Path
    frames: int
    summary: str
    findings: tuple[Finding, ...]
    new: bool  # False: the clip was there already, made alike of the same files


def prepare_clip(
    footage: Footage | Mapping[str, Footage],
    out: str | Path,
    options: Options | None = None,
    *,
    parser: Parser | None = None,
    findings: Iterable[Finding] = (),
    bars: Bars | bool = True,
) -> Prepared:
    """Write the clip folder ``out`` from one camera's recording, or from those of several by name, "front" among them.

    docs/prepare.md says what it holds. ``parser`` gives each pixel's class, where ``options.parsing`` names one;
    ``findings`` join what is found here. UserError says what is wrong with the recording or an option; nothing is left
    at ``out`` then. Interrupted, it goes on where it was when called again, and where the same clip is there already it
    does nothing.
    """
    out, options = Path(out), options or Options()
    cameras = dict(footage) if isinstance(footage, Mapping) else {FRONT: footage}
    job = options.job([f.describe() for f in cameras.values()], [p for f in cameras.values() for p in f.files()])
    if (done := _already(out, job, options.overwrite)) is not None:
        return done
    _check_several(cameras, options)
    front = cameras[FRONT]
    with ClipWriter(out, size=options.size, source={}, overwrite=options.overwrite, job=job) as writer:
        sound = front.sound()
        bar = _Bars(bars) if isinstance(bars, bool) else bars
        work = {name: _Work(name, writer, f, sound, options, parser, bar) for name, f in cameras.items()}
        tracks, short = _track(work, options)
        arrays = {name: {**track.arrays, **work[name].cut_out(track)} for name, track in tracks.items()}
        camera, own = tracks.pop(FRONT), arrays.pop(FRONT)
        begin, samples = (n * SAMPLE_RATE // FPS for n in (camera.first, camera.frames))
        sound = work[FRONT].sound
        sound = np.pad(sound, (0, max(0, begin + samples - len(sound))))[begin : begin + samples]
        quality = Quality(camera.head, own["blink"], own["confidence"], own["outside"], sound, options.size)
        source = work[FRONT].describe(camera) | {"summary": quality.summary()}
        writer.finish(own, sound, views=arrays, source=source)
        made = (*findings, *short, *camera.findings, *(f for side in tracks.values() for f in side.findings))
        writer.write_findings(made)
        clip = open_clip(writer.folder)
        signals = read_signals(clip)
        found, shown = in_order((*made, *examine(clip, signals))), work[FRONT].shown(camera, clip)
        beside = [frame for name, side in tracks.items() for frame in work[name].shown(side, clip.view(name))]
        title = f"{Path(front.name).name}: {quality.summary()}"
        sheet = contact_sheet([*shown, *beside], camera.scheme, title=title, tracks=quality.tracks(), sound=sound)
        (writer.folder / "contact_sheet.png").write_bytes(cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())
        telling = clip_frames(clip, worth_showing(found, clip.frames, start_of(clip)))
        report = html_report(replace(clip, root=out), found, telling, signals)
        (writer.folder / "report.html").write_text(report, encoding="utf-8", errors="xmlcharrefreplace")
    return Prepared(out, camera.frames, quality.summary(), found, new=True)


def check_clip(root: str | Path) -> tuple[Finding, ...]:
    """What there is to know about a clip folder: what was found when it was made, and what the doctor finds now.

    UserError names the first part that is damaged or missing.
    """
    clip = open_clip(root)
    for name in clip.files.damaged():
        raise UserError(f"{clip.root / name}: damaged or missing; prepare the clip again with --overwrite")
    return in_order((*clip.findings(), *examine(clip)))


def _check_several(cameras: Mapping[str, Footage], options: Options) -> None:
    if len(cameras) > 1 and options.matte not in MATTES:
        raise UserError(f"--matte={options.matte}: with several cameras use {' or '.join(MATTES)}")
    own = options.landmarks not in NAMED_LANDMARKERS and not Path(options.landmarks).is_dir()
    if len(cameras) > 1 and own:
        raise UserError(f"--landmarks={options.landmarks}: several cameras need a folder with a VIEW.npz for each")


def _track(work: "dict[str, _Work]", options: Options) -> tuple[dict[str, CameraTrack], tuple[Finding, ...]]:
    """Every camera's track, the front one's first, and what is to be said about the sound."""
    front = work[FRONT]
    for one in work.values():
        one.find()
    left_out = _leave_out_broken(work)
    faces = {name: one.faces for name, one in work.items()}
    followed, short = front.follow()
    boundaries = boundaries_within(front.footage.boundaries, followed.first, followed.last - followed.first)
    # Several cameras are calibrated on landmarks; one of them on pixels would not fit the others.
    refine = options.refine and options.pose == "landmarks" and len(work) == 1
    pictures = functools.partial(front.pictures, followed, "refining poses") if refine else None
    camera = track_front(followed, options, start=front.footage.start, boundaries=boundaries, pictures=pictures)
    sides = {name: found for name, found in faces.items() if name != FRONT}
    tracks = track_sides(camera, sides, options, boundaries=boundaries) if sides else {}
    at = front.footage.start + camera.first / FPS  # sides' findings count from the clip's first frame
    for name, side in tracks.items():
        found = tuple(replace(f, begin=f.begin + at, end=f.end + at) for f in side.findings)
        tracks[name] = replace(side, findings=found)
    return {FRONT: camera, **tracks}, (*left_out, *short)


def _leave_out_broken(work: "dict[str, _Work]") -> tuple[Finding, ...]:
    """Where footage is joined from several recordings: leave out those through which the face cannot be followed."""
    front = work[FRONT]
    names, boundaries = front.footage.recording_names, front.footage.boundaries
    broken = front.broken()
    if not boundaries or not broken or len(broken) == len(names):
        return ()  # one recording is cut where it breaks (following.py); of only broken ones the longest part is kept
    message = "{} is left out: its face is lost for a while, or there is a cut"
    findings = []
    for number in broken:
        begin = ([0, *boundaries])[number] / FPS
        findings.append(Finding("recording_left_out", Severity.WARNING, begin, begin, message.format(names[number])))
    for one in work.values():
        one.leave_out(broken)
    return tuple(findings)


def _already(out: Path, job: str, overwrite: bool) -> Prepared | None:
    """The clip at ``out`` if the same job made it and every part is whole; UserError if it may not be replaced."""
    if overwrite or not (out / "clip.json").is_file():
        check_output(out, overwrite)
        return None
    clip = open_clip(out)
    if clip.job != job:
        raise UserError(
            f"{out}: exists already, made of other files or with other options; pass --overwrite or choose another "
            "folder"
        )
    return Prepared(out, clip.frames, str(clip.source["summary"]), check_clip(out), new=False)


class _Work:
    """The steps of one camera, with what they share."""

    def __init__(
        self,
        name: str,
        writer: ClipWriter,
        footage: Footage,
        sound: Float32[np.ndarray, " samples"],
        options: Options,
        parser: Parser | None,
        bar: Bars,
    ):
        self._name, self._writer, self._options, self._parser, self._bar = name, writer, options, parser, bar
        self.footage, self.sound = footage, sound
        self._view = None if name == FRONT else name
        self._workers = options.workers or min(os.cpu_count() or 1, MOST_WORKERS)

    def find(self) -> None:
        """Faces in all pictures."""
        kind = self._options.landmarks
        if kind not in NAMED_LANDMARKERS and Path(kind).is_dir():  # several cameras' landmark files
            kind = str(Path(kind) / f"{self._name}.npz")
        make = functools.partial(make_landmarker, kind, model=self._options.landmark_model)
        folder = self._writer.progress / "found" / self._name
        self._found = detect(self.footage, make, folder, workers=self._workers, bar=self._bar)

    @property
    def faces(self) -> list[list[Face]]:
        """Of every picture."""
        return self._found.faces

    def broken(self) -> list[int]:
        """Recordings through which no face can be followed."""
        return broken_recordings(self._found.faces, find_cuts(self._found.signatures), self.footage.boundaries)

    def leave_out(self, recordings: list[int]) -> None:
        """Go on without some recordings."""
        number = np.searchsorted(self.footage.boundaries, np.arange(len(self._found.faces)), side="right")
        kept = np.flatnonzero(~np.isin(number, recordings))
        faces = [self._found.faces[i] for i in kept]
        self._found = replace(self._found, faces=faces, signatures=self._found.signatures[kept])
        self.footage = self.footage.without(recordings)
        self.sound = self.footage.sound()

    def follow(self) -> tuple[Followed, tuple[Finding, ...]]:
        """One face through the pictures that have sound; and what is to be said about the sound."""
        footage, found = self.footage, self._found
        frames, short = _frames_with_sound(len(found.faces), self.sound, footage)
        followed = follow_face(
            found.faces[:frames],
            find_cuts(found.signatures[:frames]),
            boundaries=footage.boundaries,
            picture_size=found.picture_size,
            fps=FPS,
            start=footage.start,
            where=footage.name,
        )
        return followed, short

    def pictures(self, followed: Followed, label: str) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """Those of a stretch."""
        frames = followed.last - followed.first
        stream = itertools.islice(self.footage.pictures(followed.first), frames)
        yield from self._bar(stream, label, frames, 0)

    def cut_out(self, camera: CameraTrack) -> dict[str, np.ndarray]:
        """Write frames and masks; returns what was measured in them."""
        options = self._options
        parsed = self._parser is not None and options.matte == "auto" and options.matte_model is None
        with contextlib.ExitStack() as opened:
            matte = NoMatte() if parsed and self.footage.alpha_path is None else self._matte(camera, opened)
            return cut_out(
                self._writer,
                self.footage,
                camera.heads(),
                CutOptions(options.size, options.focal, matte, self._parser, parser_alpha=parsed),
                view=self._view,
                shown=set(self._worth_showing(camera)),
                workers=self._workers,
                bar=self._bar,
            )

    def _matte(self, camera: CameraTrack, opened: contextlib.ExitStack) -> Matte:
        options = self._options
        if options.matte == "none":
            return NoMatte()
        if options.matte != "auto":
            return AlphaFiles(options.matte, frames=len(self._found.faces), start=self.footage.start)
        if options.matte_model is None and (path := self.footage.alpha_path) is not None:
            frames, start = len(self._found.faces), self.footage.start
            return OwnAlpha(path, frames=frames, start=start, scheme=camera.scheme, focal=options.focal)
        wanted = np.unique(np.linspace(0, camera.frames - 1, MATTE_SAMPLES).astype(int)).tolist()
        pictures, views = [], camera.heads().views
        stream = self.footage.pictures(camera.first)
        for index, picture in enumerate(self._bar(stream, "learning colours", wanted[-1] + 1, 0)):
            if index in wanted:
                pictures.append(picture)
            if index == wanted[-1]:
                break
        learnt = pictures, [views[i] for i in wanted], camera.scheme, options.focal
        if options.matte_model is None:
            return HeadMatte(*learnt)
        return PersonMatte(opened.enter_context(Segmenter(options.matte_model)), *learnt)

    def _worth_showing(self, camera: CameraTrack) -> list[int]:
        if self._view:
            return [camera.frames // 2]
        even = np.linspace(0, camera.frames - 1, SHEET_FRAMES).astype(int).tolist()
        extremes = [int(f(camera.head.euler[:, i])) for i in (0, 1) for f in (np.argmin, np.argmax)]
        return sorted({*even, *extremes})

    def shown(self, camera: CameraTrack, clip: Clip) -> list[SheetFrame]:
        """Frames for people to look at, once the clip is written."""
        views, size, frames = camera.heads().views, self._options.size, []
        for index in self._worth_showing(camera):
            picture, crop = self._picture(camera, index), views[index].crop
            axes = project_axes(camera.head.cam_from_world[index], camera.head.nose_tip, self._options.focal, size)
            landmarks = camera.arrays["landmarks"][index].astype(np.float64)
            seen = crop.cut(picture, size)
            images = clip.image(index), clip.masks(index), clip.valid(index)
            frames.append(SheetFrame(index, picture, crop, seen, *images, landmarks, axes, self._view or ""))
        return frames

    def _picture(self, camera: CameraTrack, index: int) -> UInt8[np.ndarray, "H W 3"]:
        return shown_picture(self._writer, self.footage, self._view, index, camera.first + index)

    def describe(self, camera: CameraTrack) -> dict[str, object]:
        """How the clip was made, for its clip.json. File names only: folders are nobody else's business."""

        def name(path: str | Path | None, otherwise: str) -> str:
            return otherwise if path is None else Path(path).name

        options, footage = self._options, self.footage
        raw, steady = camera.head.jitter_raw, camera.head.jitter
        return {
            **footage.describe(),
            "start": footage.start + camera.first / FPS,  # of the clip's first frame
            "landmarks": self._found.landmarker,
            "landmarks_from": name(options.landmark_model, name(options.landmarks, "")),
            "landmark_scheme": camera.scheme.name,
            "expression_names": list(self._found.score_names),
            "matte": name(options.matte, ""),
            "matte_model": name(options.matte_model, ""),
            "parsing": name(options.parsing, "none"),
            "blink": name(options.blink, "eyelid landmarks"),
            "focal": options.focal,
            "smooth": options.smooth,
            "refined": camera.refined,
            "jitter": {  # yaw, pitch, roll in degrees; crop x, y, side in px: RMS of second differences
                "before": [*raw.degrees.tolist(), *raw.pixels.tolist()],
                "after": [*steady.degrees.tolist(), *steady.pixels.tolist()],
            },
            "boundaries": list(boundaries_within(footage.boundaries, camera.first, camera.frames)),
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
    """``Bars`` in the terminal."""

    def __init__(self, shown: bool):
        self._shown = shown

    def __call__(self, things: Iterable[Any], label: str, total: int | None, done: int) -> Iterable[Any]:
        return tqdm(things, desc=label, total=total, initial=done, unit="frame", disable=not self._shown)
