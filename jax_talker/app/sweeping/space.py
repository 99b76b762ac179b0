"""What a sweep tries: for fields of the configuration, by their dotted names, where their values come from."""

import itertools
import math
import runpy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jax_talker.errors import UserError

Values = dict[str, Any]  # dotted name → value, of one trial


@dataclass(frozen=True)
class Axis:
    """One field. ``kind`` is one of KINDS; ``given`` its two bounds (both included) or its values."""

    kind: str
    given: tuple

    def draw(self, rng: np.random.Generator) -> Any:
        """A value at random; not of ``each``, all of whose values are tried."""
        if self.kind == "choice":
            return self.given[int(rng.integers(len(self.given)))]
        low, high = self.given
        if self.kind == "integer":
            return int(rng.integers(low, high + 1))
        if self.kind == "log_uniform":
            return float(math.exp(rng.uniform(math.log(low), math.log(high))))
        return float(rng.uniform(low, high))


LISTED = ("choice", "each")  # kinds whose values are written down
KINDS = ("uniform", "log_uniform", "integer", *LISTED)
Space = dict[str, Axis]


def read_space(path: str | Path) -> Space:
    """The space of a file like those in configs/sweeps/: ``get_space()`` returns {name: {kind: bounds or values}}."""
    try:
        told = runpy.run_path(str(path))["get_space"]()
    except FileNotFoundError:
        raise UserError(f"--space {path}: no such file") from None
    except (SyntaxError, KeyError) as error:
        raise UserError(f"--space {path}: {error} (it must define get_space(); see configs/sweeps/)") from None
    return space_of(told, str(path))


def space_of(told: Mapping[str, Any], where: str) -> Space:
    """The axes that are ``told`` as {name: {kind: bounds or values}}; UserError, naming ``where``, for nonsense."""
    return {name: _axis(name, axis, where) for name, axis in told.items()}


def each_of(space: Space) -> list[str]:
    """The names of all of whose values every setting is tried with, as people."""
    return [name for name, axis in space.items() if axis.kind == "each"]


def settings(space: Space, count: int, seed: int) -> Iterator[Values]:
    """``count`` settings drawn at random, each with every combination of the values of ``each``.

    A pure function of ``seed`` and the setting's number: a sweep that is gone on with draws what it would have drawn.
    """
    names = each_of(space)
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        drawn = {name: axis.draw(rng) for name, axis in space.items() if axis.kind != "each"}
        for combination in itertools.product(*(space[name].given for name in names)):
            yield drawn | dict(zip(names, combination, strict=True))


def _axis(name: str, told: Any, where: str) -> Axis:
    def wrong(why: str) -> UserError:
        return UserError(f"{where}: {name}: {why}; write it as {{kind: (…)}}, the kind one of {', '.join(KINDS)}")

    if not isinstance(told, Mapping) or len(told) != 1:
        raise wrong(f"{told!r} is no axis")
    (kind, given), *_ = told.items()
    if kind not in KINDS:
        raise wrong(f"there is no kind {kind!r}")
    if not isinstance(given, list | tuple) or not given:
        raise wrong(f"{given!r} has no values")
    if kind in LISTED:
        return Axis(kind, tuple(tuple(value) if isinstance(value, list) else value for value in given))
    if len(given) != 2 or not all(isinstance(x, int | float) for x in given) or not given[0] < given[1]:
        raise wrong(f"{given!r} are not two bounds, the lower one first")
    if kind == "log_uniform" and given[0] <= 0:
        raise wrong("a logarithm needs a lower bound above 0")
    if kind == "integer" and not all(isinstance(x, int) for x in given):
        raise wrong(f"{given!r} are not whole numbers")
    return Axis(kind, tuple(given))
