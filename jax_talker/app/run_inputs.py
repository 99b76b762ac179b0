"""What a run is made of: its clip and its prior, told apart by content and not by where they lie."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jax_talker.data.batches.dataset import Split
from jax_talker.data.clip import checksums
from jax_talker.data.clip.clip import Clip, open_clip
from jax_talker.errors import UserError
from jax_talker.priors import store

LOOKED_AT = 32  # frames, evenly spread, whose masks are looked at before any work


@dataclass(frozen=True)
class Input:
    """Something that a run is made of: where it was, and the SHA-256 of its content (hex)."""

    kind: str  # "clip" or "prior"
    path: str
    sha256: str
    size: int = 0  # of a clip's pictures, pixels

    def record(self, root: Path) -> dict[str, Any]:
        """As it is stored with the run at ``root``: where it was in the file system, and as seen from the run."""
        where = os.path.abspath(self.path) if Path(self.path).exists() else self.path  # "small" is a name, no place
        stored = {"path": where, "sha256": self.sha256}
        if self.kind == "clip":
            stored |= {"from_run": os.path.relpath(os.path.realpath(where), root.resolve()), "size": self.size}
        return stored


def clip_input(clip: Clip) -> Input:
    """The clip by the checksum of its checksums."""
    return Input("clip", str(clip.root), _clip_sum(clip), clip.size)


def prior_input(path_or_name: str) -> Input:
    """The prior by its arrays and options; UserError where there is none."""
    folder = store.find(path_or_name)
    hashed = hashlib.sha256()
    for name in (store.CONFIG, store.PARAMS):
        try:
            with (folder / name).open("rb") as file:
                hashed.update(hashlib.file_digest(file, "sha256").digest())
        except FileNotFoundError:
            raise UserError(f"{folder / name}: missing; convert or train the prior again") from None
    return Input("prior", str(path_or_name), hashed.hexdigest())


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


def _places(root: Path, record: Mapping[str, Any] | None, configured: str | None) -> Iterator[Path]:
    """Where a run's clip may be: as seen from the run, where it was, as typed, and as typed when all was moved."""
    root = root.resolve()
    if record:
        yield Path(os.path.normpath(root / record["from_run"]))
        yield Path(record["path"])
    if configured:
        yield Path(configured)
        for above in root.parents:
            yield above / configured
        yield root / Path(configured).name


def _clip_sum(clip: Clip) -> str:
    return checksums.digest((clip.root / checksums.NAME).read_bytes())
