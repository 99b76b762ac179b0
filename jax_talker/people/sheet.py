"""Sheets to look at: many people, one person's expressions, all around, and eyes and mouth enlarged."""

from collections.abc import Sequence

import cv2
import numpy as np

from jax_talker import geometry
from jax_talker.people.expression import FRIENDLY, MOODS, VISEMES, gaze_units, random_expression, unit_vector, within
from jax_talker.people.figure import Figure
from jax_talker.people.identity import random_person
from jax_talker.people.light import Light, random_light, studio
from jax_talker.people.pack import Pack
from jax_talker.people.picture import Picture, take

AROUND = (0, 30, 60, 90, 135, 180, 225, 300)  # degrees of yaw
EYES, MOUTH = (36, 48), (48, 68)  # iBUG points of both


def shot(figure: Figure, units: np.ndarray, light: Light, yaw: float, pitch: float, size: int) -> Picture:
    """One picture by a camera at (yaw, pitch) degrees."""
    lit = figure.lit(figure.pose(units), light)
    return take(figure, lit, geometry.make_label(geometry.orbit(yaw, pitch)), size)


def named_expressions(names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Twelve expressions that tell whether a face works: name → weights [52]."""
    plain = unit_vector(names, FRIENDLY)
    out = {name: plain + unit_vector(names, VISEMES[name]) for name in ("a", "i", "o", "u", "f", "s")}
    out |= {mood: plain + unit_vector(names, MOODS[mood]) for mood in ("smile", "laugh", "frown", "surprise")}
    out["blink"] = plain + unit_vector(names, {"eyeBlink": 1.0})
    out["looks aside"] = plain + gaze_units(names, np.array([18.0]), np.array([-6.0]))[0]
    return {name: within(names, units) for name, units in out.items()}


def people(pack: Pack, seeds: Sequence[int], size: int) -> np.ndarray:
    """Each person plain from the front in the studio's light, and expressive from 30° aside in a light of their own."""
    tiles = []
    for seed in seeds:
        figure, rng = Figure(pack, random_person(pack, seed)), np.random.default_rng(seed)
        plain = unit_vector(pack.units, FRIENDLY)
        other = random_expression(pack.units, rng)
        pair = [
            shot(figure, plain, studio(), 0, 0, size),
            shot(figure, other, random_light(rng), float(rng.choice([-30, 30])), 5, size),
        ]
        tiles.append(np.concatenate([_named(p.on(), f"{seed}" if k == 0 else "") for k, p in enumerate(pair)], 1))
    return _grid(tiles, 4)


def expressions(pack: Pack, seed: int, size: int) -> np.ndarray:
    """One person's named expressions."""
    figure = Figure(pack, random_person(pack, seed))
    tiles = [
        _named(shot(figure, units, studio(), 0, 0, size).on(), name)
        for name, units in named_expressions(pack.units).items()
    ]
    return _grid(tiles, 6)


def around(pack: Pack, seed: int, size: int) -> np.ndarray:
    """One person from all around."""
    figure = Figure(pack, random_person(pack, seed))
    units = within(pack.units, unit_vector(pack.units, FRIENDLY))
    return _grid([_named(shot(figure, units, studio(), yaw, 5, size).on(), f"{yaw}") for yaw in AROUND], 8)


def close_ups(pack: Pack, seeds: Sequence[int], size: int) -> np.ndarray:
    """Eyes and mouth of each person, cut from pictures at three times the size, eyes open and mouth saying ``e``."""
    tiles = []
    for seed in seeds:
        figure = Figure(pack, random_person(pack, seed))
        units = within(pack.units, unit_vector(pack.units, FRIENDLY) + unit_vector(pack.units, VISEMES["e"]))
        picture = shot(figure, units, studio(), 0, 0, 3 * size)
        cuts = [_cut(picture, *which, size) for which in (EYES, MOUTH)]
        tiles.append(np.concatenate([_named(cuts[0], f"{seed}"), cuts[1]], 0))
    return _grid(tiles, 8)


def sheet(pack: Pack, first_seed: int, size: int) -> np.ndarray:
    """All of it on one page [H, W, 3] uint8."""
    seeds = range(first_seed, first_seed + 16)
    pages = [people(pack, seeds, size), close_ups(pack, seeds[:8], size)]
    pages += [expressions(pack, seed, size) for seed in seeds[:2]]
    pages += [around(pack, seed, size) for seed in seeds[:3]]
    width = max(p.shape[1] for p in pages)
    scaled = [cv2.copyMakeBorder(p, 0, 8, 0, width - p.shape[1], cv2.BORDER_CONSTANT, value=(255,) * 3) for p in pages]
    return np.concatenate(scaled)


def _cut(picture: Picture, first: int, last: int, size: int) -> np.ndarray:
    """A square around some landmarks, [size, size, 3]."""
    points = picture.landmarks[first:last]
    middle, half = points.mean(0), 0.62 * float(np.ptp(points, axis=0).max())
    corners = (middle + half * np.array([[-1, -1], [1, -1], [-1, 1]])).astype(np.float32)
    onto = np.array([[0, 0], [size, 0], [0, size]], np.float32)
    return cv2.warpAffine(picture.on(), cv2.getAffineTransform(corners, onto), (size, size), flags=cv2.INTER_AREA)


def _named(tile: np.ndarray, name: str) -> np.ndarray:
    return cv2.putText(tile.copy(), name, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (90, 90, 90), 1, cv2.LINE_AA)


def _grid(tiles: list[np.ndarray], columns: int) -> np.ndarray:
    tiles = tiles + [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    return np.concatenate([np.concatenate(tiles[k : k + columns], 1) for k in range(0, len(tiles), columns)])
