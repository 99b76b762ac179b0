"""A recording's cameras: from the faces that were found to where the head is in every frame, as it is stored."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from jax_talker.data.camera.calibration import Calibrated, calibrate
from jax_talker.data.camera.crop import Crop
from jax_talker.data.camera.photometric import refine_on_pixels, spanned
from jax_talker.data.camera.pose import HeadTrack, moved, track_head, world_landmarks
from jax_talker.data.camera.pose_fit import Fit
from jax_talker.data.clip.clip import FPS
from jax_talker.data.clip.findings import Finding
from jax_talker.data.cut.cutting import Heads
from jax_talker.data.cut.matte import HeadView, lowest_chin
from jax_talker.data.preparation.options import Options
from jax_talker.data.track.blink import blink_from_openness, eye_openness, read_openface_blink
from jax_talker.data.track.faces import Face, FaceTrack, box_of, sides_of
from jax_talker.data.track.following import Followed
from jax_talker.data.track.gaze import gaze
from jax_talker.data.track.landmarks import LandmarkScheme, scheme_of
from jax_talker.errors import UserError

WITHOUT_IRISES = 468  # of MediaPipe's points; eyes turn by themselves


@dataclass(frozen=True)
class CameraTrack:
    """What is known of one camera's T frames before any of them is cut out."""

    first: int  # number of the footage's picture that is frame 0
    points: Float64[np.ndarray, "T P 2"]  # px of the source
    scheme: LandmarkScheme
    head: HeadTrack
    arrays: dict[str, np.ndarray]  # float32, first axis T
    findings: tuple[Finding, ...]
    refined: bool = False  # on pixels

    @property
    def frames(self) -> int:
        return len(self.points)

    def heads(self) -> Heads:
        """For cutting them out."""
        up = self.head.cam_from_world[:, :2, 1]
        up = up / np.linalg.norm(up, axis=1, keepdims=True)
        crops = [Crop(centre, float(side)) for centre, side in zip(self.head.centre, self.head.side, strict=True)]
        chin = lowest_chin(crops, self.points, up, self.scheme)
        views = [HeadView(*frame, chin) for frame in zip(crops, self.points, up, strict=True)]
        return Heads(self.first, views, self.arrays["landmarks"].astype(np.float64), self.scheme)


def track_front(
    followed: Followed,
    options: Options,
    *,
    start: float,
    boundaries: Sequence[int] = (),
    pictures: Callable[[], Iterable[UInt8[np.ndarray, "H W 3"]]] | None = None,
) -> CameraTrack:
    """Head pose, crop, blink and gaze of the face that was followed; ``start`` is the footage's, in seconds,
    ``boundaries`` are frames of the face's stretch with which another recording begins. With the frames' ``pictures``,
    poses are refined on pixels, where landmarks have depth."""
    track = followed.track
    scheme = scheme_of(track.points.shape[1])
    if options.pose == "matrix" and track.rotation is None:
        raise UserError("--pose=matrix: these landmarks come without head rotations; use --landmarks mediapipe")
    head = track_head(
        track.points,
        scheme,
        depth=track.depth,
        rotation=track.rotation,
        smooth=options.smooth,
        focal=options.focal,
        source=options.pose,  # type: ignore[arg-type]  # checked by Options
        weight=track.detected,
        boundaries=boundaries,
    )
    better = _refined(track, head, options, boundaries, pictures)
    head = better or head
    openness = eye_openness(track.points, scheme, head.side, head.euler[:, 1], up=head.cam_from_world[:, :2, 1])
    if options.blink is None:
        blink = blink_from_openness(openness, head.euler)
    else:
        begin = start + followed.first / FPS
        blink = read_openface_blink(Path(options.blink), len(openness), fps=FPS, start=begin)
    arrays = _placed(track.points, head, options) | {
        "blink": blink,
        "confidence": track.detected,
        "eye_openness": openness,
    }
    if track.depth is not None:
        arrays["landmarks_3d"] = world_landmarks(track.points, track.depth, head, options.focal)
    if track.scores is not None:
        arrays["expression"] = track.scores
    looking = gaze(
        track.points,
        scheme,
        rotation=head.cam_from_world[:, :3, :3],
        side=head.side,
        focal=options.focal,
        blink=blink,
        boundaries=boundaries,
    )
    if looking is not None:
        arrays["gaze"] = looking
    return CameraTrack(
        followed.first, track.points, scheme, head, _stored(arrays), followed.findings, better is not None
    )


def _refined(
    track: FaceTrack,
    head: HeadTrack,
    options: Options,
    boundaries: Sequence[int],
    pictures: Callable[[], Iterable[UInt8[np.ndarray, "H W 3"]]] | None,
) -> HeadTrack | None:
    """The track refined on pixels; None without pictures, or where landmarks have no depth to span a surface."""
    if pictures is None or track.depth is None:
        return None
    landmarks = np.median(world_landmarks(track.points, track.depth, head, options.focal), 0)
    fit = Fit(head.cam_from_world[:, :3, :3], head.centre, head.side)
    fit = refine_on_pixels(
        pictures(),
        spanned(landmarks[:WITHOUT_IRISES]),
        fit,
        focal=options.focal,
        smooth=options.smooth,
        boundaries=boundaries,
    )
    return moved(head, fit, options.focal, boundaries)


def track_sides(
    front: CameraTrack, found: Mapping[str, Sequence[Sequence[Face]]], options: Options, *, boundaries: Sequence[int]
) -> dict[str, CameraTrack]:
    """The synchronised cameras beside the front one, from the faces in all their pictures; blink is the front's."""
    kept = slice(front.first, front.first + front.frames)
    points = {name: largest_faces(faces[kept], front.points.shape[1]) for name, faces in found.items()}
    calibrated = calibrate(
        front.head,
        front.points,
        points,
        front.scheme,
        focal=options.focal,
        smooth=options.smooth,
        boundaries=boundaries,
    )
    return {name: _side(front, side, options) for name, side in calibrated.items()}


def largest_faces(found: Sequence[Sequence[Face]], count: int) -> Float64[np.ndarray, "T count 2"]:
    """Landmarks of the largest face in every picture, NaN where there is none."""
    points = np.full((len(found), count, 2), np.nan)
    for t, faces in enumerate(found):
        if faces:
            points[t] = max((face.points for face in faces), key=lambda p: float(sides_of(box_of(p)[None])[0]))
    return points


def _side(front: CameraTrack, side: Calibrated, options: Options) -> CameraTrack:
    arrays = _placed(side.points, side.head, options)
    arrays["blink"] = front.arrays["blink"]
    arrays["confidence"] = side.seen.astype(np.float32)
    return CameraTrack(front.first, side.points, front.scheme, side.head, _stored(arrays), side.findings)


def _placed(points: np.ndarray, head: HeadTrack, options: Options) -> dict[str, np.ndarray]:
    scale = (options.size / head.side)[:, None, None]
    return {
        "label": head.label,
        "landmarks": (points - head.centre[:, None]) * scale + options.size / 2,
        "pose": head.euler,
        "crop": np.column_stack([head.centre, head.side]),
        "fit_error": head.error * options.size,
    }


def _stored(arrays: Mapping[str, np.ndarray]) -> dict[str, Float32[np.ndarray, "T ..."]]:
    return {name: values.astype(np.float32) for name, values in arrays.items()}
