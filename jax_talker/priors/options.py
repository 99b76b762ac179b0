"""Frozen dataclasses of options, to and from JSON, with every value's type checked on the way in."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from jax_talker.errors import UserError

Config = TypeVar("Config")


def to_json(config: Any) -> dict[str, Any]:
    """Plain JSON values of a dataclass's fields."""
    return dataclasses.asdict(config)


def from_json(cls: type[Config], stored: Mapping[str, Any]) -> Config:
    """Inverse of :func:`to_json`; a UserError names options that are unknown or of the wrong type."""
    hints = typing.get_type_hints(cls)
    if unknown := sorted(set(stored) - set(hints)):
        raise UserError(f"unknown {cls.__name__} options {unknown}; this version knows {sorted(hints)}")
    return cls(**{name: _read(f"{cls.__name__}.{name}", hints[name], value) for name, value in stored.items()})


def _read(name: str, hint: Any, value: Any) -> Any:
    """``value`` as its annotation wants it: JSON has lists for tuples, and integers where floats are meant."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):  # X | None
        return None if value is None else _read(name, inner[0], value)
    if origin is tuple and isinstance(value, list | tuple):
        count = len(value) if inner[-1] is Ellipsis else len(inner)
        if len(value) == count:
            return tuple(_read(name, inner[0], item) for item in value)
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif hint in (int, bool, str) and type(value) is hint:
        return value
    raise UserError(f"option {name} cannot be {value!r}; {getattr(hint, '__name__', hint)} expected")
