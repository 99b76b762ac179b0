"""Film a synthetic person who speaks: a clip folder with frames, sound, landmarks and masks from all cameras."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from jax_talker import geometry
from jax_talker.data.check.contact_sheet import clip_frames, contact_sheet
from jax_talker.data.clip.clip import Clip, open_clip
from jax_talker.data.clip.clip_writer import ClipWriter
from jax_talker.data.cut.face_parts import FacePart as P
from jax_talker.data.cut.masks import region_masks
from jax_talker.data.track.landmarks import scheme_of
from jax_talker.people.expression import Performance, perform
from jax_talker.people.figure import PARTS, Figure
from jax_talker.people.identity import random_person
from jax_talker.people.light import Light, random_light
from jax_talker.people.pack import Pack
from jax_talker.people.picture import Picture, take
from jax_talker.procedural import motion

CLASSES = {"nothing": P.BACKGROUND, "skin": P.SKIN, "ears": P.LEFT_EAR, "neck": P.NECK, "scalp": P.HAIR, "hair": P.HAIR}
CLASSES |= {"eyes": P.LEFT_EYE, "lashes": P.LEFT_EYE, "mouth": P.MOUTH, "teeth": P.MOUTH, "tongue": P.MOUTH}
FACE_PARTS = np.array([CLASSES[name] for name in PARTS], np.uint8)  # what a face parser calls figure.PARTS
SHOWN = 8  # frames on the contact sheet, evenly spread
Progress = Callable[..., Iterable]


@dataclass(frozen=True)
class Scene:
    """Everything a film needs: who, under which light, and what they do."""

    figure: Figure
    light: Light
    acting: Performance


def make_scene(pack: Pack, seed: int, seconds: float, *, turn: float = 1.0) -> Scene:
    """The person of a seed, speaking in their own light; ``turn`` times the usual turning of the head."""
    light = random_light(np.random.default_rng([int.from_bytes(b"lamp"), seed]))
    return Scene(Figure(pack, random_person(pack, seed)), light, perform(pack.units, seed, seconds, turn=turn))


def labels(scene: Scene, yaw: float, pitch: float) -> np.ndarray:
    """EG3D labels [T, 25] of a fixed camera at (yaw, pitch) degrees, as seen from the turning head."""
    head_from_world = geometry.invert_rigid(motion.world_from_head(scene.acting.angles))
    return geometry.make_label(head_from_world @ geometry.orbit(yaw, pitch))


def film(scene: Scene, cameras: Mapping[str, tuple[float, float]], size: int) -> Iterator[dict[str, Picture]]:
    """Every frame's pictures by camera; frames are made ahead by a thread for each core and come in order.

    The light turns with the head: what a generator of heads can learn.
    """
    seen = {name: labels(scene, *angles) for name, angles in cameras.items()}
    scene.figure.textures  # noqa: B018  (painted once, before the threads ask for it)

    def shoot(i: int) -> dict[str, Picture]:
        lit = scene.figure.lit(scene.figure.pose(scene.acting.units[i]), scene.light)
        return {name: take(scene.figure, lit, label[i], size) for name, label in seen.items()}

    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque = deque()
        for i in range(len(scene.acting.units)):
            waiting.append(pool.submit(shoot, i))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def clip_masks(picture: Picture) -> np.ndarray:
    """Upper face, lower face and head, [H, W, 3] uint8: the regions that ``prepare`` finds with face parsing, from the
    true parts and landmarks."""
    upper, lower = region_masks(picture.landmarks, scheme_of(68), len(picture.part), FACE_PARTS[picture.part])
    return np.stack([upper, lower, (picture.alpha * 255 + 0.5).astype(np.uint8)], -1)


def film_clip(
    root: str | Path,
    scene: Scene,
    *,
    size: int,
    source: Mapping[str, object],
    views: Mapping[str, tuple[float, float]] | None = None,
    overwrite: bool = False,
    progress: Progress = lambda frames, total: frames,
) -> Clip:
    """Film from the front and from further ``views`` (name → yaw, pitch in degrees) into a clip folder."""
    cameras = {"front": (0.0, 0.0), **dict(views or {})}
    points: dict[str, list[np.ndarray]] = {name: [] for name in cameras}
    acting = scene.acting
    with ClipWriter(root, size=size, source=source, overwrite=overwrite) as writer:
        for shots in progress(film(scene, cameras, size), total=len(acting.units)):
            for name, picture in shots.items():
                writer.add(picture.on(), clip_masks(picture), view=None if name == "front" else name)
                points[name].append(picture.landmarks)
        arrays = {
            name: {"label": labels(scene, *angles), "blink": acting.blink, "landmarks": np.stack(points[name])}
            for name, angles in cameras.items()
        }
        arrays["front"]["motion"] = acting.units
        arrays["front"]["angles"] = acting.angles.astype(np.float32)
        writer.finish(arrays.pop("front"), acting.sound, views=arrays)
    clip = open_clip(root)
    cv2.imwrite(str(clip.root / "contact_sheet.png"), _sheet(clip, scene.figure.pack.units)[..., ::-1])
    return clip


def _sheet(clip: Clip, names: tuple[str, ...]) -> np.ndarray:
    """Pictures, landmarks, head axes and masks of a few frames above the curves of angles, mouth and lids."""
    frames = clip_frames(clip, np.linspace(0, clip.frames - 1, min(SHOWN, clip.frames)).astype(int).tolist())
    world_from_cam = geometry.split_label(clip.arrays["label"])[0][:, :3, :3] * np.array([1, -1, -1])
    yaw, pitch, roll = Rotation.from_matrix(world_from_cam).as_euler("YXZ", degrees=True).T
    unit = dict(zip(names, clip.arrays["motion"].T, strict=True))
    tracks = {
        "camera, degrees": {"yaw": yaw, "pitch": -pitch, "roll": roll},
        "mouth": {name: unit[name] for name in ("jawOpen", "mouthFunnel", "mouthPressLeft", "mouthSmileLeft")},
        "lids and brows": {"blink": clip.arrays["blink"], "brows": unit["browInnerUp"]},
    }
    title = f"synthetic person, {clip.frames} frames at {clip.size}²"
    return contact_sheet(
        frames, scheme_of(clip.arrays["landmarks"].shape[1]), title=title, tracks=tracks, sound=clip.audio()
    )
