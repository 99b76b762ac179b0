"""A file that comes through a pipe: ``ffmpeg … | python -m jax_talker.render --audio - …``."""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from jax_talker.errors import UserError

STDIN = "-"
EMPTY = "-: standard input is empty; what writes into the pipe may have failed"
COPIED = 1 << 20  # bytes at once


@contextlib.contextmanager
def as_file(given: str | Path) -> Iterator[Path]:
    """``given`` itself; for "-" a temporary file with all that standard input holds, since sound is decoded twice.

    UserError where nothing comes.
    """
    if str(given) != STDIN:
        yield Path(given)
        return
    check_piped()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "standard input"
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file, COPIED)
        if path.stat().st_size == 0:
            raise UserError(EMPTY)
        yield path


def check_piped() -> None:
    """UserError where standard input is a keyboard or nothing at all."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UserError("-: nothing is piped in; for example: cat speech.wav | python -m jax_talker.render --audio - …")
