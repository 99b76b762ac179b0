"""Whose head lies where: run folders that are found again by the video's content and what was asked for."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jax_talker.errors import UserError

FILE = "talk.json"
FORMAT = 1
SHOWN = 8  # digits of the key in a folder's name
PLACE = Path("runs")


def key_of(video: Path, asked: Mapping[str, Any]) -> str:
    """A number of the video's content (not its name or place) and of everything that shapes the head."""
    try:
        with video.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{video}: no such video") from None
    told = json.dumps([FORMAT, content, asked], sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()


def folder_for(video: Path, key: str, keep: str | None, place: Path = PLACE) -> Path:
    """``keep``, or a folder in ``place`` that is called after the video; UserError where another head lies there."""
    if keep is None:
        return place / f"{re.sub(r'[^A-Za-z0-9_-]+', '_', video.stem)[:40] or 'video'}-{key[:SHOWN]}"
    root = Path(keep)
    path = root / FILE
    if path.is_file():
        try:
            known = json.loads(path.read_text(encoding="utf-8"))["key"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: damaged ({error}); name another folder with --keep") from None
        if known != key:
            raise UserError(f"{root}: holds the head of another video, or one made with other options; name another")
    elif root.is_dir() and any(child.name != ".lock" for child in root.iterdir()):
        raise UserError(f"{root}: exists already and is no folder of this program; name another with --keep")
    return root


def claim(root: Path, key: str, asked: Mapping[str, Any]) -> None:
    """Write down whose head this is."""
    path = root / FILE
    if path.is_file():
        return
    beside = path.with_name(f".{FILE}.{os.getpid()}.partial")
    stored = {"format": FORMAT, "key": key, "asked": asked}
    beside.write_text(json.dumps(stored, indent=1, default=str) + "\n", encoding="utf-8")
    beside.replace(path)
