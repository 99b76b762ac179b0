"""Random pictures of random people: who, what they do, under which light and from where, all drawn from seeds."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from jax_talker.people.expression import random_expression
from jax_talker.people.figure import Figure
from jax_talker.people.identity import Person, random_person
from jax_talker.people.light import Light, random_light
from jax_talker.people.pack import Pack
from jax_talker.people.picture import Picture, take
from jax_talker.procedural.corpus import random_label


@dataclass(frozen=True)
class Shot:
    """One picture and all that it was made of."""

    person: Person
    units: np.ndarray  # [52] ARKit weights
    light: Light
    label: np.ndarray  # [25] EG3D
    picture: Picture


def shots(pack: Pack, seeds: Iterable[int], *, moments: int, views: int, size: int, fine: int = 3) -> Iterator[Shot]:
    """``moments`` random expressions, each in its own light, of the person of each seed, seen by ``views`` cameras.

    Every other camera stands anywhere around the head, the others mostly in front. A person's shots depend on their
    seed alone. ``fine`` is the supersampling: 2 is faster by half and rougher at hair.
    """
    for seed in seeds:
        figure = Figure(pack, random_person(pack, seed))
        rng = np.random.default_rng([int.from_bytes(b"shots"), seed])
        for _ in range(moments):
            units, light = random_expression(pack.units, rng), random_light(rng)
            lit = figure.lit(figure.pose(units), light)
            for view in range(views):
                label = random_label(rng, anywhere=view % 2 == 1)
                yield Shot(figure.person, units, light, label, take(figure, lit, label, size, fine=fine))
