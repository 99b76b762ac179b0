"""The contact sheet of a filmed clip: the one that ``prepare`` draws for real video, with the truth in it."""

import functools
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from jax_talker import geometry
from jax_talker.data.check.contact_sheet import clip_frames, contact_sheet
from jax_talker.data.clip.clip import Clip, open_clip
from jax_talker.data.track.landmarks import scheme_of
from jax_talker.procedural.filming import Scene, write_clip

SHOWN = 8  # frames, evenly spread


def film_clip(
    root: str | Path,
    scene: Scene,
    *,
    size: int,
    source: Mapping[str, object],
    views: Mapping[str, tuple[float, float]],
    overwrite: bool = False,
) -> Clip:
    """Film a scene into a clip folder, with a bar, and put its contact sheet there."""
    bar = functools.partial(tqdm, desc="film", unit="frame", dynamic_ncols=True)
    write_clip(root, scene, size=size, source=source, views=views, overwrite=overwrite, progress=bar)
    clip = open_clip(root)
    motion = clip.arrays["motion"].T
    tracks = {
        "mouth": dict(zip(("jaw", "width", "rounding"), motion[:3], strict=True)),
        "lids and brows": {"blink": clip.arrays["blink"], "brows": motion[5]},
    }
    draw_sheet(clip, "procedural person", tracks)
    return clip


def draw_sheet(clip: Clip, who: str, tracks: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Draw the clip's ``contact_sheet.png``: pictures, landmarks, head axes and masks of a few frames above curves [T].

    The curves are those of the camera's angles, then ``tracks``.
    """
    frames = clip_frames(clip, np.linspace(0, clip.frames - 1, min(SHOWN, clip.frames)).astype(int).tolist())
    world_from_cam = geometry.split_label(clip.arrays["label"])[0][:, :3, :3] * np.array([1, -1, -1])
    yaw, pitch, roll = Rotation.from_matrix(world_from_cam).as_euler("YXZ", degrees=True).T
    tracks = {"camera, degrees": {"yaw": yaw, "pitch": -pitch, "roll": roll}, **tracks}
    scheme = scheme_of(clip.arrays["landmarks"].shape[1])
    title = f"{who}, {clip.frames} frames at {clip.size}²"
    sheet = contact_sheet(frames, scheme, title=title, tracks=tracks, sound=clip.audio())
    cv2.imwrite(str(clip.root / "contact_sheet.png"), sheet[..., ::-1])
