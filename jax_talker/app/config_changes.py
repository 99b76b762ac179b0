"""What differs between the configuration that a run was made with and the one that it is to be resumed with."""

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jax_talker.errors import UserError

# What does not make another run of it: how it is shown and saved, where things lie (their content is compared by its
# hash), on what it computes, and how long it goes on.
HARMLESS = (
    *("log.*", "devices.*", "render.*", "prepare.*"),
    *("data.clip", "data.features_weights", "prior.path"),
    *("train.steps", "train.hear_steps", "personalize.invert_steps", "personalize.tune_steps"),
)
_UNKNOWN = object()  # of a field that one of them does not have


@dataclass(frozen=True)
class Change:
    """A field that differs; reads as ``train.rate: 0.001 → 0.002``."""

    name: str
    old: Any
    new: Any

    @property
    def harmless(self) -> bool:
        """Also a field that another version of this program did not have: nobody chose it."""
        one_sided = _UNKNOWN in (self.old, self.new)
        return one_sided or any(fnmatch.fnmatchcase(self.name, pattern) for pattern in HARMLESS)

    def __str__(self) -> str:
        old, new = ("nothing" if value is _UNKNOWN else repr(value) for value in (self.old, self.new))
        return f"{self.name}: {old} → {new}"


def between(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Every field that differs, by its dotted name."""
    was, now = _flat(old), _flat(new)
    pairs = {name: (was.get(name, _UNKNOWN), now.get(name, _UNKNOWN)) for name in sorted(was.keys() | now.keys())}
    return [Change(name, *pair) for name, pair in pairs.items() if pair[0] != pair[1]]


def check(root: Path, changes: Iterable[Change]) -> None:
    """UserError that shows what is not harmless, as a list of old → new."""
    if told := [f"\n  {change}" for change in changes if not change.harmless]:
        raise UserError(
            f"{root}: was made with another configuration:{''.join(told)}\n"
            "resume with the one it was made with, or pass --allow-changes to go on with the new one"
        )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            out |= _flat(value, f"{prefix}{name}.")
        else:
            out[prefix + name] = list(value) if isinstance(value, tuple) else value
    return out
