"""A checksum for every part of a clip, in the format of ``sha256sum``: ``sha256sum -c SHA256SUMS`` checks it too."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jax_talker.errors import UserError

NAME = "SHA256SUMS"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Checksums:
    """What the parts of a clip folder must hash to; reads them and says which one is missing or damaged."""

    root: Path
    sums: Mapping[str, str] = field(repr=False)  # path relative to root, with / → SHA-256 in hex

    @classmethod
    def read(cls, root: Path, expected: str) -> "Checksums":
        """The list of a folder; ``expected`` is its own SHA-256."""
        path = root / NAME
        content = _content(path)
        if digest(content) != expected:
            raise _damaged(path)
        lines = content.decode().splitlines()
        return cls(root, {name: value for value, _, name in (line.partition("  ") for line in lines)})

    def load(self, name: str) -> bytes:
        """The content of one part, checked."""
        content = _content(self.root / name)
        if digest(content) != self.sums.get(name):
            raise _damaged(self.root / name)
        return content

    def damaged(self) -> Iterator[str]:
        """The names of all parts that are missing or not what they were."""
        for name in self.sums:
            try:
                self.load(name)
            except UserError:
                yield name


def write(root: Path, sums: Mapping[str, str]) -> str:
    """Write the list of ``sums`` into ``root``; returns its own SHA-256."""
    content = "".join(f"{value}  {name}\n" for name, value in sorted(sums.items())).encode()
    (root / NAME).write_bytes(content)
    return digest(content)


def sums_of(root: Path, names: Iterable[str]) -> dict[str, str]:
    """Checksums of files that lie in ``root``."""
    return {name: digest((root / name).read_bytes()) for name in names}


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: missing; prepare the clip again with --overwrite") from None


def _damaged(path: Path) -> UserError:
    return UserError(
        f"{path}: damaged or changed since it was prepared (its checksum differs); prepare the clip again with "
        "--overwrite"
    )
