"""What a run is made of: its clip, its prior and its audio features, told apart by content, not by where they lie."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jax_talker.audio import level
from jax_talker.audio.choice import choose, where_from
from jax_talker.data.batches.dataset import Split
from jax_talker.data.clip import checksums
from jax_talker.data.clip.clip import Clip, open_clip
from jax_talker.errors import UserError
from jax_talker.priors import store

LOOKED_AT = 32  # frames, evenly spread, whose masks are looked at before any work


@dataclass(frozen=True)
class Input:
    """Something that a run is made of: where it was, and the SHA-256 of its content (hex)."""

    kind: str  # "clip", "prior" or "features"
    path: str
    sha256: str
    size: int = 0  # of a clip's pictures, pixels

    def record(self, root: Path) -> dict[str, Any]:
        """As it is stored with the run at ``root``: where it was in the file system, and as seen from the run."""
        there = Path(self.path).exists()  # "small" and "logmel" are names, no places
        where = os.path.abspath(self.path) if there else self.path
        stored = {"path": where, "sha256": self.sha256}
        if self.kind == "clip" or (self.kind == "features" and there):
            stored |= {"from_run": os.path.relpath(os.path.realpath(where), root.resolve())}
        return stored | ({"size": self.size} if self.kind == "clip" else {})


def clip_input(clip: Clip) -> Input:
    """The clip by the checksum of its checksums."""
    return Input("clip", str(clip.root), _clip_sum(clip), clip.size)


def prior_input(path_or_name: str, *, beside: bool = True) -> Input:
    """The prior by its arrays and options and, unless what lies ``beside`` them does not matter, its expression units
    and encoder; UserError where there is none."""
    folder = store.find(path_or_name)
    hashed = hashlib.sha256()
    more = [name for name in (store.EXPRESSIONS, store.ENCODER) if beside and (folder / name).is_file()]
    for name in (store.CONFIG, store.PARAMS, *more):
        try:
            with (folder / name).open("rb") as file:
                hashed.update(hashlib.file_digest(file, "sha256").digest())
        except FileNotFoundError:
            raise UserError(f"{folder / name}: missing; convert or train the prior again") from None
    return Input("prior", str(path_or_name), hashed.hexdigest())


def features_input(name: str, weights: str | None) -> Input:
    """An extractor by itself and its weights (choice.choose); UserError where there is none."""
    return Input("features", weights or name, choose(name, weights).digest)


def with_level(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with the level at which its head hears: that of the first runs, where it kept none itself.
    Those of priors hear nothing, and stay as they are."""
    if config.get("task") != "talker":
        return dict(config)
    data = config.get("data", {})
    return {**config, "data": {**data, "level": {**asdict(level.FIRST), **data.get("level", {})}}}


def check_level(root: Path, stored: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """UserError where the run at ``root`` would be gone on with at another level than it has heard so far."""
    was, now = (with_level(one).get("data", {}).get("level", {}) for one in (stored, config))
    if changed := sorted(name for name in was.keys() | now.keys() if was.get(name) != now.get(name)):
        told = ", ".join(f"{name} {was.get(name)!r}, not {now.get(name)!r}" for name in changed)
        flags = " ".join(f"--config.data.level.{name}={was.get(name)}" for name in changed)
        raise UserError(f"{root}: hears speech at another level ({told} dB); pass {flags}, or another --workdir")


def check_trainable(batch: int, clip: Clip, split: Split) -> None:
    """UserError, before minutes of work, for what training the talker could not use."""
    if batch < 2 or batch % 2:
        raise UserError(
            f"config.train.batch: {batch}, but successive frames come in couples; take an even number, at least 2"
        )
    shown = split.train[np.linspace(0, len(split.train) - 1, min(LOOKED_AT, len(split.train))).astype(int)]
    covered = np.max([clip.masks(int(index)).max((0, 1)) for index in shown], axis=0)
    if lacking := [name for name, most in zip(("upper", "lower", "head"), covered, strict=True) if most == 0]:
        raise UserError(
            f"{clip.root}: the {' and the '.join(lacking)} mask is empty in all of {len(shown)} frames that were "
            "looked at, so there is nothing to learn the face's motion from; prepare the clip again (docs/prepare.md)"
        )


def find_clip(root: Path, record: Mapping[str, Any] | None, configured: str | None, given: str | None) -> Clip:
    """The clip that the run at ``root`` was trained on, wherever it or the project went; ``given`` is --clip.

    ``record`` is what the run knows about it (Input.record; None in runs of earlier versions), ``configured`` the path
    as it was typed then. UserError where it is not found, or where what is there is another clip.
    """
    if given:
        clip = open_clip(given)
        if record and _clip_sum(clip) != record["sha256"]:
            raise UserError(
                f"--clip {given}: is another clip than the one that {root} was trained on ({record['path']}, "
                f"SHA-256 {record['sha256'][:12]}…), or was prepared anew since"
            )
        return clip
    others = []
    for place in dict.fromkeys(_places(root, record, configured)):
        if not (place / "clip.json").is_file():
            continue
        clip = open_clip(place)
        if not record or _clip_sum(clip) == record["sha256"]:
            return clip
        others.append(str(place))
    was = record["path"] if record else configured
    if others:
        raise UserError(
            f"{root}: {' and '.join(others)} is another clip than the one it was trained on ({was}), or was prepared "
            "anew since; say with --clip where the clip is"
        )
    raise UserError(f"{root}: the clip it was trained on ({was}) is not there any more; say with --clip where it is")


def find_features(
    root: Path, record: Mapping[str, Any] | None, name: str, configured: str | None, given: str | None
) -> str | None:
    """Where the weights of the extractor ``name`` are with which the run at ``root`` was trained; None where it has
    none. ``given`` is --features-weights, the rest as in find_clip. UserError where they are not found, or others."""
    if not configured:
        if record and choose(name, given).digest != record["sha256"]:
            raise UserError(f"{root}: was trained with {name} features of another version; train in another --workdir")
        return given
    was = record["path"] if record else configured
    others, lacking = [], ""
    for place in [Path(given)] if given else dict.fromkeys(_places(root, record, configured)):
        if not place.exists():
            continue
        try:
            digest = choose(name, str(place)).digest
        except UserError as error:
            if given:
                raise
            lacking = lacking or f" ({error})"  # a folder of that name with other things in it is no place of theirs
            continue
        if not record or digest == record["sha256"]:
            return str(place)
        others.append(str(place))
    if others:
        raise UserError(
            f"{root}: {' and '.join(others)} holds other {name} weights than the run was trained with ({was}), or this "
            "version makes other features of them; say with --features-weights where those are"
        )
    raise UserError(
        f"{root}: the {name} weights that it was trained with ({given or was}) are not there{lacking}; say with "
        f"--features-weights where they are; {where_from(name)} makes them anew"
    )


def _places(root: Path, record: Mapping[str, Any] | None, configured: str | None) -> Iterator[Path]:
    """Where a run's clip or weights may be: as seen from the run, where it was, as typed, as typed when all moved."""
    root = root.resolve()
    if record:
        yield from (Path(os.path.normpath(root / record[name])) for name in ("from_run",) if name in record)
        yield Path(record["path"])
    if configured:
        yield Path(configured)
        for above in root.parents:
            yield above / configured
        yield root / Path(configured).name


def _clip_sum(clip: Clip) -> str:
    return checksums.digest((clip.root / checksums.NAME).read_bytes())
