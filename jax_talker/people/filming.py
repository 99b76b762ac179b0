"""Film a synthetic person who speaks: a clip folder with frames, sound, landmarks and masks from all cameras."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jax_talker.data.clip.clip import Clip, open_clip
from jax_talker.data.cut.face_parts import FacePart as P
from jax_talker.data.cut.masks import region_masks
from jax_talker.data.track.landmarks import scheme_of
from jax_talker.errors import UserError
from jax_talker.people.expression import Performance, perform
from jax_talker.people.figure import PARTS, Figure
from jax_talker.people.identity import random_person
from jax_talker.people.light import Light, random_light
from jax_talker.people.pack import Pack
from jax_talker.people.picture import Picture, take
from jax_talker.procedural.sheet import draw_sheet
from jax_talker.procedural.shooting import Shot, in_order, labels, write_shots

CLASSES = {"nothing": P.BACKGROUND, "skin": P.SKIN, "ears": P.LEFT_EAR, "neck": P.NECK, "scalp": P.HAIR, "hair": P.HAIR}
CLASSES |= {"eyes": P.LEFT_EYE, "lashes": P.LEFT_EYE, "mouth": P.MOUTH, "teeth": P.MOUTH, "tongue": P.MOUTH}
FACE_PARTS = np.array([CLASSES[name] for name in PARTS], np.uint8)  # what a face parser calls figure.PARTS
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


def film(scene: Scene, cameras: Mapping[str, tuple[float, float]], size: int) -> Iterator[dict[str, Shot]]:
    """Every frame's shots by camera; frames are made ahead and come in order.

    The light turns with the head: what a generator of heads can learn.
    """
    seen = {name: labels(scene.acting.angles, *at) for name, at in cameras.items()}
    scene.figure.textures  # noqa: B018  (painted once, before the threads ask for it)

    def shoot(i: int) -> dict[str, Shot]:
        lit = scene.figure.lit(scene.figure.pose(scene.acting.units[i]), scene.light)
        taken = {name: take(scene.figure, lit, label[i], size) for name, label in seen.items()}
        return {name: (picture.on(), clip_masks(picture), picture.landmarks) for name, picture in taken.items()}

    return in_order(shoot, len(scene.acting.units))


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
    """Film from the front and from further ``views`` (name → yaw, pitch in degrees) into a clip folder.

    Its ``source`` has the names of the units in its ``motion``, too.
    """
    cameras = {"front": (0.0, 0.0), **dict(views or {})}
    acting = scene.acting
    write_shots(
        root,
        progress(film(scene, cameras, size), total=len(acting.units)),
        cameras,
        size=size,
        sound=acting.sound,
        blink=acting.blink,
        angles=acting.angles,
        truth=acting.units,
        source={**source, "motion": list(scene.figure.pack.units)},
        overwrite=overwrite,
    )
    clip = open_clip(root)
    draw_clip_sheet(clip)
    return clip


def units_of(clip: Clip) -> tuple[str, ...]:
    """The names of the units in the ``motion`` of a clip of ``film_clip``. UserError for one that does not say them."""
    names: Any = clip.source.get("motion")
    if not names:
        raise UserError(f"{clip.root}: does not say which units its motion has; film it again")
    return tuple(names)


def draw_clip_sheet(clip: Clip) -> None:
    """Draw the contact sheet of a clip of ``film_clip``, also of one that was packed."""
    unit = dict(zip(units_of(clip), clip.arrays["motion"].T, strict=True))
    tracks = {
        "mouth": {name: unit[name] for name in ("jawOpen", "mouthFunnel", "mouthPressLeft", "mouthSmileLeft")},
        "lids and brows": {"blink": clip.arrays["blink"], "brows": unit["browInnerUp"]},
    }
    draw_sheet(clip, "synthetic person", tracks)
