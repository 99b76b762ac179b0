"""Files in folders, in tar archives, and in tars within tars, found and opened alike.

Nothing is ever unpacked by the name that an archive gives: an uncompressed tar holds each member as one run of bytes,
so a file is a region (path, offset, size) and its name is only matched and shown.
"""

import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

DEEPEST = 3  # tars within tars that are looked into; MEAD has two


@dataclass(frozen=True)
class Stored:
    """One file: the bytes [offset, offset + size) of ``path``."""

    name: str  # from the searched folder on, archives included: video.tar/video/front/angry/level_1/001.mp4
    path: Path
    size: int
    offset: int = 0  # 0 for a file of its own; an archive's members begin after a header

    def open(self) -> io.BufferedReader:
        """A seekable stream of exactly these bytes."""
        return io.BufferedReader(_Region(self))

    @contextmanager
    def as_file(self) -> Iterator[Path]:
        """A path with exactly these bytes: the file itself, or a copy that is removed afterwards."""
        if self.offset == 0:
            yield self.path
            return
        with tempfile.TemporaryDirectory(prefix="jax_talker.") as folder:
            copy = Path(folder) / f"member{PurePosixPath(self.name).suffix}"
            with self.open() as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            yield copy


@dataclass(frozen=True)
class Problem:
    """Something in an archive that cannot be used; the rest is."""

    where: str
    what: str


def find_files(folder: Path) -> tuple[list[Stored], list[Problem]]:
    """Every file below ``folder``, files of their own before members of archives, each kind in the names' order."""
    loose: list[Stored] = []
    members: list[Stored] = []
    problems: list[Problem] = []
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent) / name
            if not path.is_file():
                continue  # a dangling link, a socket
            stored = Stored(path.relative_to(folder).as_posix(), path, path.stat().st_size)
            if path.suffix.lower() == ".tar":
                members += _members(stored, problems, depth=1)
            else:
                loose.append(stored)
    return loose + members, problems


def _members(archive: Stored, problems: list[Problem], depth: int) -> list[Stored]:
    """The regular files of an archive, and of archives in it. What is wrong is added to ``problems``."""
    found: list[Stored] = []
    with archive.open() as stream:
        try:
            tar = tarfile.open(fileobj=stream, mode="r:")  # noqa: SIM115  (closed with its stream)
        except (tarfile.TarError, OSError) as error:
            problems.append(Problem(archive.name, f"no tar archive, or a compressed one ({error}); unpack it yourself"))
            return found
        last = "its beginning"
        while True:
            try:
                member = tar.next()
            except (tarfile.TarError, OSError, ValueError) as error:
                problems.append(Problem(archive.name, f"cut off or damaged after {last} ({error}); download it again"))
                return found
            if member is None:
                break
            last = member.name
            name, end = f"{archive.name}/{member.name}", member.offset_data + member.size
            if not member.isreg() or member.issparse():
                continue  # folders and links; MEAD has no sparse files
            if ".." in PurePosixPath(member.name).parts:
                problems.append(Problem(name, "its name leaves the archive's own folder; left out"))
            elif end > archive.size:
                problems.append(Problem(name, f"the archive ends {end - archive.size} bytes before it does"))
            else:
                stored = Stored(name, archive.path, member.size, archive.offset + member.offset_data)
                is_tar = PurePosixPath(member.name).suffix.lower() == ".tar"
                found += _members(stored, problems, depth + 1) if is_tar and depth < DEEPEST else [stored]
        stream.seek(tar.offset)
        if any(stream.read(tarfile.BLOCKSIZE) or b"?"):  # an archive ends with blocks of zeros
            problems.append(Problem(archive.name, f"cut off or damaged after {last}; download it again"))
    return found


class _Region(io.RawIOBase):
    """A part of a file as a file."""

    def __init__(self, stored: Stored):
        self._file, self._begin, self._size, self._at = stored.path.open("rb"), stored.offset, stored.size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        wanted = max(0, min(len(view), self._size - self._at))
        self._file.seek(self._begin + self._at)
        got = self._file.readinto(view[:wanted])
        self._at += got
        return got

    def close(self) -> None:
        self._file.close()
        super().close()
