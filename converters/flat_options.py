"""The original programs' nested options by dotted names, and what is refused among them."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from converters.budget import Budget
from converters.errors import CheckpointError
from converters.quoting import short


def flatten(options: Any, budget: Budget | None = None) -> dict[str, Any]:
    """{"mapping": {"layers": 2}} → {"mapping.layers": 2}; anything but a dictionary has no options."""
    budget = budget or Budget()
    flat: dict[str, Any] = {}

    def add(value: Mapping[str, Any], prefix: str) -> None:
        for key, item in value.items():
            name = f"{prefix}{key}"
            budget.spend("values")
            budget.spend("characters of names", len(name))
            if isinstance(item, dict):
                add(item, f"{name}.")
            else:
                flat[name] = item

    if isinstance(options, dict):
        add(options, "")
    return flat


def check_required(options: Mapping[str, Any], required: Mapping[str, tuple[Any, ...]]) -> None:
    """Options that change what is generated in ways that the port does not have must have a supported value.

    An option that is absent (an older program) counts as the first of its values.
    """
    for name, values in required.items():
        if options.get(name, values[0]) not in values:
            raise CheckpointError(f"option {name}={short(options[name])} is not supported (only {values[0]!r})")


def refuse_unknown(options: Mapping[str, Any], *, known: Iterable[str], ignored: str) -> None:
    """An unknown option that is switched off cannot matter; one that is on might change everything."""
    for name in sorted(set(options) - set(known)):
        if not re.fullmatch(ignored, name) and options[name] not in (None, False, 0, []):
            value = short(options[name])
            raise CheckpointError(f"option {name}={value} is unknown (a newer program?) and not supported")
