"""The truth about every texel of a generator's plane: where it is, its colour, which way it faces, how open it lies."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import no_type_check

import numpy as np

from jax_talker.people import painting
from jax_talker.people.expression import random_expression
from jax_talker.people.figure import COMMON, PARTS, Figure, Lit, Posed
from jax_talker.people.identity import Person, random_person
from jax_talker.people.layout import make_layout
from jax_talker.people.light import Light, random_light
from jax_talker.people.pack import Pack
from jax_talker.people.raster import LINEAR, display, mirrored
from jax_talker.people.skin import Canvas, skin
from jax_talker.procedural.compiled import njit


@dataclass(frozen=True)
class Planes:
    """One person in one expression under one light, [S, S, …]; 0 where the layout has nothing."""

    position: np.ndarray  # [S, S, 3] world
    normal: np.ndarray  # [S, S, 3] unit
    color: np.ndarray  # [S, S, 3] sRGB as pictures show it
    alpha: np.ndarray  # [S, S] opacity: 1 but for lashes
    openness: np.ndarray  # [S, S] share of all directions that the texel sees, 0 hidden … 1


class TextureSpace:
    """A layout with what reads textures at its texels; one for all people of a pack."""

    def __init__(self, pack: Pack, size: int):
        self.pack, self.layout = pack, make_layout(pack, size)
        piece = self.layout.mesh.texture[np.maximum(self.layout.face, 0)]
        coordinates = self.layout.texture_coordinates()
        self._where = {name: self.layout.valid & (piece == k) for k, name in enumerate(COMMON)}
        self._canvas = {
            name: Canvas(coordinates[where], self.layout.level[where]) for name, where in self._where.items()
        }
        self._wet = self.layout.valid & (self.layout.mesh.parts[np.maximum(self.layout.face, 0)] == PARTS.index("eyes"))

    def albedo(self, person: Person) -> np.ndarray:
        """sRGB of the textures and their gloss, or the lashes' opacity, [S, S, 4] uint8; hair is not in it."""
        painted = {
            "skin": skin(self.pack, person, self._canvas["skin"]),
            "eyes": painting.eyes(self.pack, person, self._canvas["eyes"].read),
            "teeth": painting.teeth(self.pack, self._canvas["teeth"].read),
            "tongue": painting.tongue(self.pack, self._canvas["tongue"].read),
            "lashes": painting.lashes(self.pack, person, self._canvas["lashes"].read),
        }
        out = np.zeros((*self.layout.face.shape, 4), np.uint8)
        for name, where in self._where.items():
            out[where] = painted[name][0]
        return out

    def planes(self, albedo: np.ndarray, figure: Figure, posed: Posed, lit: Lit) -> Planes:
        """The planes of a lit figure with the ``albedo`` of its person."""
        count = self.layout.mesh.vertex_count
        values = [lit.vertices, posed.normals, lit.light, lit.shine[:, :3], posed.seen.mean(1, keepdims=True)]
        whole = self.layout.interpolate(np.concatenate([v[:count] for v in values], 1))
        position, normal, light, shine, openness = np.split(whole, [3, 6, 9, 12], -1)
        length = np.linalg.norm(normal, axis=-1, keepdims=True)
        normal = normal / np.where(length > 0, length, 1)
        alpha = np.where(self._where["lashes"], albedo[..., 3] / np.float32(255), self.layout.valid).astype(np.float32)
        color = _shade(self.layout.valid, albedo, light, shine, normal, self._wet, lit.mirrors)
        return Planes(position, figure.shape.frame.turn(normal), color, alpha, openness[..., 0])


@dataclass(frozen=True)
class Sample:
    """One moment of one person, with all that a generator may be told about it."""

    person: Person
    units: np.ndarray  # [52] ARKit weights
    light: Light
    planes: Planes


def samples(
    space: TextureSpace, seeds: Iterable[int], expressions: int, *, shadows_move: bool = True
) -> Iterator[Sample]:
    """``expressions`` random moments, each in its own light, of the person of each seed; a pure function of the seeds.

    Without ``shadows_move`` all of a person's moments keep the shadows of the first, which is several times as fast.
    """
    for seed in seeds:
        person = random_person(space.pack, seed)
        figure, albedo = Figure(space.pack, person), space.albedo(person)
        rng = np.random.default_rng([int.from_bytes(b"moments"), seed])
        seen = None
        for _ in range(expressions):
            units, light = random_expression(space.pack.units, rng), random_light(rng)
            posed = figure.pose(units, seen=seen)
            seen = None if shadows_move else posed.seen
            yield Sample(person, units, light, space.planes(albedo, figure, posed, figure.lit(posed, light)))


@njit(nogil=True, fastmath=True)
@no_type_check
def _shade(valid, albedo, light, shine, normal, wet, mirrors):
    """sRGB [S, S, 3], as ``raster.shaded`` has it."""
    out = np.zeros((*valid.shape, 3), np.float32)
    for row in range(valid.shape[0]):
        for col in range(valid.shape[1]):
            if not valid[row, col]:
                continue
            gloss = albedo[row, col, 3] * np.float32(1 / 255)
            for k in range(3):
                lit = LINEAR[albedo[row, col, k]] * light[row, col, k] + gloss * shine[row, col, k]
                if wet[row, col]:
                    lit += mirrored(normal[row, col, 0], normal[row, col, 1], normal[row, col, 2], mirrors, k)
                out[row, col, k] = display(lit)
    return out
