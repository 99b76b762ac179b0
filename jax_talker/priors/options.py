"""Frozen dataclasses of options, to and from JSON, with every value's type checked on the way in."""

import dataclasses
import reprlib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from jax_talker.errors import UserError

Config = TypeVar("Config")
LARGEST_FLOAT = 1e6  # of an option: far beyond any that a generator has


def to_json(config: Any) -> dict[str, Any]:
    """Plain JSON values of a dataclass's fields."""
    return dataclasses.asdict(config)


def from_json(cls: type[Config], stored: Mapping[str, Any]) -> Config:
    """Inverse of :func:`to_json`; a UserError names options that are unknown or of the wrong type."""
    hints = typing.get_type_hints(cls)
    if unknown := sorted(set(stored) - set(hints)):
        raise UserError(f"unknown {cls.__name__} options {reprlib.repr(unknown)}; this version knows {sorted(hints)}")
    return cls(**{name: _read(f"{cls.__name__}.{name}", hints[name], value) for name, value in stored.items()})


def check_ranges(config: Any, ranges: Mapping[str, tuple[float, float]]) -> None:
    """A UserError names the first option that is smaller or larger than any generator's (files may say anything)."""
    for name, (low, high) in ranges.items():
        if not low <= (value := getattr(config, name)) <= high:
            raise UserError(f"option {name} must be at least {low} and at most {high}, got {value}")


def _read(name: str, hint: Any, value: Any) -> Any:
    """``value`` as its annotation wants it: JSON has lists for tuples, and integers where floats are meant."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):  # X | None
        return None if value is None else _read(name, inner[0], value)
    if origin is tuple and isinstance(value, list | tuple):
        count = len(value) if inner[-1] is Ellipsis else len(inner)
        if len(value) == count:
            return tuple(_read(name, inner[0], item) for item in value)
    elif hint is float and type(value) in (int, float) and abs(value) < LARGEST_FLOAT:
        return float(value)  # neither infinite nor not a number
    elif hint in (int, bool, str) and type(value) is hint:
        return value
    raise UserError(f"option {name} cannot be {reprlib.repr(value)}; {getattr(hint, '__name__', hint)} expected")
