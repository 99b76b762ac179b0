"""Film a procedural head: a clip folder with frames, sound, cameras, landmarks and masks from any number of cameras."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jax_talker.blinking import blinks
from jax_talker.data.clip.clip import FPS
from jax_talker.errors import UserError
from jax_talker.procedural import motion, shooting, speech
from jax_talker.procedural.head import Head, picture
from jax_talker.procedural.identity import Identity, Motion, random_identity, vector
from jax_talker.procedural.landmarks import VERTICES
from jax_talker.procedural.render import project
from jax_talker.procedural.shooting import Shot, in_order, write_shots
from jax_talker.procedural.skull import to_world


@dataclass(frozen=True)
class Scene:
    """Everything a film needs: who, what is said, and how the face and the head move, frame by frame."""

    person: Identity
    voice: speech.Voice
    speech: speech.Speech
    motions: list[Motion]
    angles: np.ndarray  # [T, 3] degrees of head turning


def make_scene(seed: int, seconds: float, *, person: Identity | None = None, turn: float = 1.0) -> Scene:
    """A person (drawn from the seed unless given) who speaks, blinks, moves brows and turns the head.

    Speech, blinks, brows and turning come from independent random streams, so that none tells anything of another.
    """
    who, voices, words, lids, brow, turns = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(6))
    frames = round(seconds * FPS)
    voice = speech.random_voice(voices)
    talk = speech.speak(seconds, words, voice)
    mouth = talk.mouth_at(np.arange(frames) / FPS)
    closed = blinks(frames, lids)
    height = motion.brows(frames, brow)
    motions = [
        Motion(float(j), float(w), float(r), upper_lid=float(c), lower_lid=float(0.5 * c), brow=float(h))
        for (j, w, r), c, h in zip(mouth, closed, height, strict=True)
    ]
    return Scene(person or random_identity(who), voice, talk, motions, motion.turning(frames, turns, amount=turn))


def parse_numbers(text: str, **known: float) -> dict[str, float]:
    """``seed=3,seconds=20`` → numbers by name; names that are not mentioned keep their value in ``known``."""
    found = dict(known)
    for part in text.split(","):
        name, _, value = (piece.strip() for piece in part.partition("="))
        try:
            if name not in known:
                raise ValueError
            found[name] = float(value)
        except ValueError:
            raise UserError(f"{text!r}: cannot read {part!r}; give {', '.join(f'{k}=NUMBER' for k in known)}") from None
    return found


def labels(scene: Scene, yaw: float, pitch: float) -> np.ndarray:
    """EG3D labels [T, 25] of a fixed camera at (yaw, pitch) degrees, as seen from the turning head."""
    return shooting.labels(scene.angles, yaw, pitch)


def film(scene: Scene, cameras: Mapping[str, tuple[float, float]], size: int) -> Iterator[dict[str, Shot]]:
    """For every frame and camera name: image [H, W, 3] uint8, masks [H, W, 3] uint8, landmarks [68, 2] pixels.

    Frames are made ahead and come in order.
    """
    head = Head(scene.person)
    seen = {name: labels(scene, *angles) for name, angles in cameras.items()}

    def shoot(i: int) -> dict[str, Shot]:
        mesh = head.mesh(scene.motions[i])
        points = to_world(head.face.vertices(scene.motions[i])[VERTICES])
        return {
            name: (*picture(mesh, label[i], size), project(points, label[i], size)[0].astype(np.float32))
            for name, label in seen.items()
        }

    return in_order(shoot, len(scene.motions))


def write_clip(
    root: str | Path,
    scene: Scene,
    *,
    size: int,
    source: Mapping[str, object],
    views: Mapping[str, tuple[float, float]] | None = None,
    overwrite: bool = False,
    progress=lambda iterable, total: iterable,
) -> None:
    """Film the scene from the front and from further ``views`` (name → yaw, pitch in degrees) into a clip folder."""
    cameras = {"front": (0.0, 0.0), **dict(views or {})}
    write_shots(
        root,
        progress(film(scene, cameras, size), total=len(scene.motions)),
        cameras,
        size=size,
        sound=scene.speech.sound,
        blink=np.array([m.upper_lid for m in scene.motions], np.float32),
        angles=scene.angles,
        truth=np.stack([vector(m) for m in scene.motions]),
        source=source,
        overwrite=overwrite,
    )
