"""The one error that a program prints as a line instead of a traceback, and what is asked before any work is done."""

import tempfile
from pathlib import Path


class UserError(Exception):
    """Something only the user can put right. The message says what is wrong, where, and what to do about it."""


def check_writable(folder: Path, name: object) -> None:
    """UserError about ``name`` unless files can be made in ``folder``, or in the nearest folder above that exists.

    A file is made there and is gone again: permissions do not tell of disks that are mounted for reading only.
    """
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise UserError(f"{name}: cannot write there ({error.strerror})") from None
