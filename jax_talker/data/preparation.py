"""From a person's video to a clip folder: what ``python -m jax_talker.prepare`` does.

The video is decoded twice, so that memory does not grow with its pictures: once for landmarks, from which head poses
and crops follow, and once to cut out the heads.
"""

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from tqdm import tqdm

from jax_talker import geometry
from jax_talker.data.alpha_files import AlphaFiles, whole_crop
from jax_talker.data.audio import load_sound, num_video_frames
from jax_talker.data.blink import blink_from_openness, eye_openness, read_openface_blink
from jax_talker.data.clip import FPS, SAMPLE_RATE, ClipWriter, check_output
from jax_talker.data.contact_sheet import SheetFrame, contact_sheet, project_axes
from jax_talker.data.crop import Crop
from jax_talker.data.faces import Face, FaceTrack
from jax_talker.data.following import follow_face
from jax_talker.data.landmarkers import make_landmarker
from jax_talker.data.landmarks import LandmarkScheme, scheme_of
from jax_talker.data.masks import region_masks
from jax_talker.data.matte import HeadMatte, HeadView, on_white
from jax_talker.data.pose import HeadTrack, track_head, world_landmarks
from jax_talker.data.quality import Quality
from jax_talker.data.shots import find_cuts, signature
from jax_talker.data.video import VideoInfo, probe, read_frames
from jax_talker.errors import UserError

MATTE_SAMPLES = 32  # frames from which a clip's colours are learnt
SHEET_FRAMES = 6  # evenly spread over the clip; the extremes of yaw and pitch join them
SOUND_MISSING = 0.2  # s; a clip whose sound ends this much earlier ends with it, below that silence is added
SMALLEST_SIZE = 32  # px
MATTES = ("auto", "none")


@dataclass(frozen=True)
class Options:
    """How a video is prepared; the flags of ``python -m jax_talker.prepare`` say the same."""

    landmarks: str = "auto"  # mediapipe, face-alignment or a file of landmarks
    landmark_model: str | Path | None = None
    size: int = 512  # px
    start: float = 0.0  # s
    duration: float | None = None  # s; None: to the end
    focal: float = geometry.FOCAL  # of the labels; smaller shows more around the face
    smooth: float = 1.0  # frames; width of the temporal filter on the landmarks that carry crop and pose
    matte: str = "auto"  # auto, none, or a folder of alpha pictures or a video of them
    blink: str | Path | None = None  # an OpenFace CSV instead of eyelid landmarks
    sound: str | Path | None = None  # a file with the video's sound, when the video has none of its own
    overwrite: bool = False

    def __post_init__(self):
        if self.size < SMALLEST_SIZE or self.focal <= 0 or self.smooth < 0:
            raise UserError(
                f"size must be at least {SMALLEST_SIZE}, focal positive and smooth not negative; "
                f"got {self.size}, {self.focal:g} and {self.smooth:g}"
            )


@dataclass(frozen=True)
class Prepared:
    """What came of it."""

    root: Path
    frames: int
    summary: str
    warnings: tuple[str, ...]


def prepare_clip(video: str | Path, out: str | Path, options: Options | None = None, *, bars: bool = True) -> Prepared:
    """Write the clip folder ``out`` from ``video``; docs/prepare.md says what it holds.

    UserError says what is wrong with the video or an option; nothing is left at ``out`` then.
    """
    video, out, options = Path(video), Path(out), options or Options()
    check_output(out, options.overwrite)
    info = probe(video)
    sound = load_sound(options.sound or video)[round(options.start * SAMPLE_RATE) :]
    samples = _Spread(MATTE_SAMPLES)
    faces, signatures, score_names = _find_faces(video, info, options, samples, bars)
    warnings: list[str] = []
    frames = _frames_with_sound(len(faces), sound, video, options, warnings)
    cuts = [c for c in find_cuts(signatures[:frames]) if c < frames]
    followed = follow_face(faces[:frames], cuts, picture_size=info.size, fps=FPS, start=options.start, where=str(video))
    track, frames, sound = followed.track, followed.last - followed.first, sound[followed.first * SAMPLE_RATE // FPS :]
    warnings += [finding.line() for finding in followed.findings if finding.kind not in ("face_gap", "two_faces")]
    options = replace(options, start=options.start + followed.first / FPS, duration=frames / FPS)
    samples.kept = {i - followed.first: p for i, p in samples.kept.items() if i >= followed.first}
    scheme = scheme_of(track.points.shape[1])
    head = track_head(
        track.points, scheme, depth=track.depth, rotation=track.rotation, smooth=options.smooth, focal=options.focal
    )
    arrays = _arrays(track, scheme, head, options)
    samples_length = frames * SAMPLE_RATE // FPS
    sound = np.pad(sound, (0, max(0, samples_length - len(sound))))[:samples_length]
    source = _source(video, info, options, scheme, score_names)
    with ClipWriter(out, size=options.size, source=source, overwrite=options.overwrite) as writer:
        shown, outside = _cut_out(writer, video, options, track, scheme, head, arrays, samples, bars)
        quality = Quality(head, arrays["blink"], track.detected, outside, sound, options.size)
        summary = quality.summary()
        title = f"{video.name}: {summary}"
        sheet = contact_sheet(shown, scheme, title=title, tracks=quality.tracks(), sound=sound)
        cv2.imwrite(str(writer.folder / "contact_sheet.png"), sheet[..., ::-1])
        writer.finish(arrays, sound)
    return Prepared(out, frames, summary, (*warnings, *quality.warnings()))


def _find_faces(
    video: Path, info: VideoInfo, options: Options, samples: "_Spread", bars: bool
) -> tuple[list[list[Face]], np.ndarray, tuple[str, ...]]:
    expected = None
    if info.duration:
        expected = max(1, round(min(info.duration - options.start, options.duration or math.inf) * FPS))
    pictures = read_frames(video, start=options.start, duration=options.duration)
    with make_landmarker(options.landmarks, model=options.landmark_model) as landmarker:
        faces, signatures = [], []
        for index, picture in enumerate(_bar(pictures, "finding the face", expected, bars)):
            samples.offer(picture)
            faces.append(landmarker(picture, index))
            signatures.append(signature(picture))
        landmarker.check_length(len(faces))
        return faces, np.array(signatures), landmarker.score_names


def _frames_with_sound(frames: int, sound: np.ndarray, video: Path, options: Options, warnings: list[str]) -> int:
    missing = frames - num_video_frames(len(sound))
    if missing <= SOUND_MISSING * FPS:
        return frames
    if missing >= frames:
        raise UserError(f"{options.sound or video}: its sound ends before {options.start:g} s, where the clip begins")
    warnings.append(f"the sound ends {missing / FPS:.2f} s before the picture, and the clip ends with it")
    return frames - missing


def _arrays(track: FaceTrack, scheme: LandmarkScheme, head: HeadTrack, options: Options) -> dict[str, np.ndarray]:
    """What is known of every frame, as it is stored."""
    openness = eye_openness(track.points, scheme, head.side, head.euler[:, 1])
    blink = blink_from_openness(openness)
    if options.blink is not None:
        blink = read_openface_blink(options.blink, len(openness), fps=FPS, start=options.start)
    size = options.size
    landmarks = (track.points - head.centre[:, None]) * (size / head.side)[:, None, None] + size / 2
    arrays = {
        "label": head.label,
        "blink": blink,
        "landmarks": landmarks,
        "pose": head.euler,
        "crop": np.column_stack([head.centre, head.side]),
        "confidence": track.detected,
        "eye_openness": openness,
        "fit_error": head.error * size,
    }
    if track.depth is not None:
        arrays["landmarks_3d"] = world_landmarks(track.points, track.depth, head, options.focal)
    if track.scores is not None:
        arrays["expression"] = track.scores
    return {name: values.astype(np.float32) for name, values in arrays.items()}


def _source(
    video: Path, info: VideoInfo, options: Options, scheme: LandmarkScheme, score_names: tuple[str, ...]
) -> dict[str, object]:
    """How the clip was made, for its clip.json. File names only: folders are nobody else's business."""

    def name(path: str | Path | None, otherwise: str) -> str:
        return otherwise if path is None else Path(path).name

    return {
        "video": video.name,
        "fps": info.fps,
        "size": list(info.size),
        "start": options.start,
        "duration": options.duration,
        "landmarks": name(options.landmarks, ""),
        "landmark_scheme": scheme.name,
        "expression_names": list(score_names),
        "matte": name(options.matte, ""),
        "blink": name(options.blink, "eyelid landmarks"),
        "sound": name(options.sound, video.name),
        "focal": options.focal,
        "smooth": options.smooth,
    }


def _cut_out(
    writer: ClipWriter,
    video: Path,
    options: Options,
    track: FaceTrack,
    scheme: LandmarkScheme,
    head: HeadTrack,
    arrays: dict[str, np.ndarray],
    samples: "_Spread",
    bars: bool,
) -> tuple[list[SheetFrame], Float32[np.ndarray, " T"]]:
    """Write every frame and its masks; returns the frames of the contact sheet and how much of each crop was unseen."""
    frames, size = len(head.side), options.size
    views = [_view(track, head, t) for t in range(frames)]
    matte = _matte(options, samples, views, scheme)
    worth_showing = {int(i) for i in np.linspace(0, frames - 1, SHEET_FRAMES)}
    worth_showing |= {int(f(head.euler[:, i])) for i in (0, 1) for f in (np.argmin, np.argmax)}
    shown, outside = [], []
    pictures = itertools.islice(read_frames(video, start=options.start, duration=options.duration), frames)
    for index, picture in enumerate(_bar(pictures, "cutting it out", frames, bars)):
        view, landmarks = views[index], arrays["landmarks"][index]
        seen = view.crop.cut(picture, size)
        alpha = matte(picture, view, seen)
        image = on_white(seen, alpha)
        regions = region_masks(landmarks, scheme, size)
        masks = np.dstack([*regions, np.round(alpha * 255).astype(np.uint8)])
        writer.add(image, masks)
        outside.append(1 - view.crop.inside(picture.shape, SMALLEST_SIZE).mean())
        if index in worth_showing:
            axes = project_axes(head.cam_from_world[index], head.nose_tip, options.focal, size)
            shown.append(SheetFrame(index, picture, view.crop, seen, image, masks, landmarks, axes))
    if len(outside) != frames:
        raise UserError(f"{video}: gave {frames} frames first and {len(outside)} when read again; is it being written?")
    return shown, np.array(outside, np.float32)


def _view(track: FaceTrack, head: HeadTrack, t: int) -> HeadView:
    up = head.cam_from_world[t, :2, 1]
    return HeadView(Crop(head.centre[t], float(head.side[t])), track.points[t], up / np.linalg.norm(up))


def _matte(
    options: Options, samples: "_Spread", views: list[HeadView], scheme: LandmarkScheme
) -> Callable[[np.ndarray, HeadView, np.ndarray], np.ndarray]:
    if options.matte == "none":
        return whole_crop
    if options.matte != "auto":
        if not Path(options.matte).exists():
            raise UserError(f"--matte={options.matte}: neither {' nor '.join(MATTES)} nor a folder or video of alphas")
        return AlphaFiles(options.matte, frames=len(views), start=options.start, duration=options.duration)
    usable = [(picture, views[i]) for i, picture in samples.kept.items() if i < len(views)]
    return HeadMatte([p for p, _ in usable], [v for _, v in usable], scheme, options.focal)


def _bar(pictures: Iterable[Any], label: str, total: int | None, shown: bool) -> Iterable[Any]:
    return tqdm(pictures, desc=label, total=total, unit="frame", disable=not shown)


class _Spread:
    """Keeps between half of ``most`` and ``most`` pictures, evenly spread over a sequence of unknown length."""

    def __init__(self, most: int):
        self._most, self._stride, self._seen = most, 1, 0
        self.kept: dict[int, UInt8[np.ndarray, "H W 3"]] = {}

    def offer(self, picture: UInt8[np.ndarray, "H W 3"]) -> None:
        if self._seen % self._stride == 0:
            self.kept[self._seen] = picture
            if len(self.kept) > self._most:
                self._stride *= 2
                self.kept = {i: p for i, p in self.kept.items() if i % self._stride == 0}
        self._seen += 1
