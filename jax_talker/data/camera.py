"""One camera of a recording: from the faces that were found to where the head is in every frame, as it is stored."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from jax_talker.data.blink import blink_from_openness, eye_openness, read_openface_blink
from jax_talker.data.clip import FPS
from jax_talker.data.crop import Crop
from jax_talker.data.cutting import Heads
from jax_talker.data.findings import Finding
from jax_talker.data.following import FaceTrack, Followed
from jax_talker.data.landmarks import LandmarkScheme, scheme_of
from jax_talker.data.matte import HeadView
from jax_talker.data.options import Options
from jax_talker.data.pose import HeadTrack, track_head, world_landmarks


@dataclass(frozen=True)
class CameraTrack:
    """What is known of T frames before any of them is cut out."""

    first: int  # number of the footage's picture that is frame 0
    track: FaceTrack
    scheme: LandmarkScheme
    head: HeadTrack
    arrays: dict[str, Float32[np.ndarray, "T ..."]]
    findings: tuple[Finding, ...]

    @property
    def frames(self) -> int:
        return len(self.head.side)

    def heads(self) -> Heads:
        """For cutting them out."""
        views = []
        for t in range(self.frames):
            up = self.head.cam_from_world[t, :2, 1]
            crop = Crop(self.head.centre[t], float(self.head.side[t]))
            views.append(HeadView(crop, self.track.points[t], up / np.linalg.norm(up)))
        return Heads(self.first, views, self.arrays["landmarks"].astype(np.float64), self.scheme)


def track_camera(followed: Followed, options: Options, *, start: float) -> CameraTrack:
    """Head pose, crop and blink of the face that was followed; ``start`` is the footage's, in seconds."""
    track = followed.track
    scheme = scheme_of(track.points.shape[1])
    head = track_head(
        track.points, scheme, depth=track.depth, rotation=track.rotation, smooth=options.smooth, focal=options.focal
    )
    openness = eye_openness(track.points, scheme, head.side, head.euler[:, 1])
    if options.blink is None:
        blink = blink_from_openness(openness)
    else:
        begin = start + followed.first / FPS
        blink = read_openface_blink(Path(options.blink), len(openness), fps=FPS, start=begin)
    size = options.size
    arrays = {
        "label": head.label,
        "blink": blink,
        "landmarks": (track.points - head.centre[:, None]) * (size / head.side)[:, None, None] + size / 2,
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
    stored = {name: values.astype(np.float32) for name, values in arrays.items()}
    return CameraTrack(followed.first, track, scheme, head, stored, followed.findings)
