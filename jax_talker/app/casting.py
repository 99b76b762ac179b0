"""Whom the benchmark films: procedural people, or people with human faces from a pack of heads."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from jax_talker.data.clip.clip import FPS, SAMPLE_RATE, Clip, open_clip
from jax_talker.errors import UserError
from jax_talker.people import filming as people
from jax_talker.people.expression import Performance, perform
from jax_talker.people.pack import Pack
from jax_talker.procedural import filming as procedural

VOICES = 1_000_000  # between a person's seed and that of the other voice
Progress = Callable[..., Iterable]


@dataclass(frozen=True)
class Take:
    """What is filmed at once. ``film`` is write_clip of the person's kind, ``scene`` what it films, ``told`` what the
    clip says of it."""

    film: Callable[..., object]
    scene: procedural.Scene | people.Scene
    told: Mapping[str, object]

    def filmed(self, root: Path, *, size: int, views: Mapping[str, tuple[float, float]], progress: Progress) -> Clip:
        """The clip at ``root``, from the front and from ``views`` (name → yaw, pitch in degrees); filmed unless it is
        there. UserError where another one is."""
        told = {**self.told, "take": root.name}
        if (root / "clip.json").is_file():
            clip = open_clip(root)
            if clip.source.get("benchmark") != told or clip.size != size or clip.view_names != tuple(views):
                raise UserError(f"{root}: was filmed for a benchmark of other people or sizes; take another --out")
            return clip
        source = {"benchmark": told}
        self.film(root, self.scene, size=size, source=source, views=views, overwrite=True, progress=progress)
        return open_clip(root)


def takes(pack: Pack | None, seed: int, seconds: float, tail: float, other: float) -> dict[str, Take]:
    """Of the person of a seed: ``seconds`` to ``train`` on, the ``tail`` that they say next to ``test``, and ``other``
    seconds of words in another voice. Without a pack the person is procedural."""
    border = round(seconds * FPS)
    if pack is None:
        scene = procedural.make_scene(seed, seconds + tail)
        voice = procedural.make_scene(seed + VOICES, other, person=scene.person)
        parts = _cut(scene, 0, border), _cut(scene, border, len(scene.motions)), voice
        made = [Take(procedural.write_clip, part, {"seed": seed, "frames": len(part.motions)}) for part in parts]
    else:
        whole = people.make_scene(pack, seed, seconds + tail)
        ends = len(whole.acting.units)
        voice = perform(pack.units, seed + VOICES, other)
        acts = _act(whole.acting, 0, border), _act(whole.acting, border, ends), voice
        told = {"seed": seed, "people": "human"}
        made = [Take(people.film_clip, replace(whole, acting=act), {**told, "frames": len(act.units)}) for act in acts]
    return dict(zip(("train", "test", "other"), made, strict=True))


def _cut(scene: procedural.Scene, first: int, last: int) -> procedural.Scene:
    """Frames ``first`` to ``last`` of a scene; of its speech only the sound is cut, which is what is filmed of it."""
    return replace(
        scene,
        speech=replace(scene.speech, sound=_heard(scene.speech.sound, first, last)),
        motions=scene.motions[first:last],
        angles=scene.angles[first:last],
    )


def _act(acting: Performance, first: int, last: int) -> Performance:
    part = slice(first, last)
    sound = _heard(acting.sound, first, last)
    return Performance(acting.units[part], acting.blink[part], acting.angles[part], sound)


def _heard(sound: np.ndarray, first: int, last: int) -> np.ndarray:
    a, b = (round(i * SAMPLE_RATE / FPS) for i in (first, last))
    return sound[a:b]
