"""The original programs' nested options by dotted names, and what is refused among them."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from converters.errors import CheckpointError


def flatten(options: Any, prefix: str = "") -> dict[str, Any]:
    """{"mapping": {"layers": 2}} → {"mapping.layers": 2}; anything but a dictionary has no options."""
    if not isinstance(options, dict):
        return {}
    flat: dict[str, Any] = {}
    for name, value in options.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def check_required(options: Mapping[str, Any], required: Mapping[str, tuple[Any, ...]]) -> None:
    """Options that change what is generated in ways that the port does not have must have a supported value.

    An option that is absent (an older program) counts as the first of its values.
    """
    for name, values in required.items():
        if options.get(name, values[0]) not in values:
            raise CheckpointError(f"option {name}={options[name]!r} is not supported (only {values[0]!r})")


def refuse_unknown(options: Mapping[str, Any], *, known: Iterable[str], ignored: str) -> None:
    """An unknown option that is switched off cannot matter; one that is on might change everything."""
    for name in sorted(set(options) - set(known)):
        if not re.fullmatch(ignored, name) and options[name] not in (None, False, 0, []):
            raise CheckpointError(f"option {name}={options[name]!r} is unknown (a newer program?) and not supported")
