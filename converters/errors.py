"""The one error of this room."""

from pathlib import Path

from jax_talker.errors import UserError

LONGEST = 300  # characters of a message; what a file makes us quote may be as long as the file


class CheckpointError(UserError):
    """A checkpoint that cannot be used: damaged, hostile, of another program, or with unsupported options.

    Messages quote names from the file, which may hold anything: they are cut, and what does not print (line ends and
    terminal controls among it) is shown as its escape, so that the message stays one line. ``path`` is never cut.
    """

    def __init__(self, message: object, path: Path | None = None):
        text = str(message)
        text = text if len(text) <= LONGEST else text[: LONGEST - 60] + " … " + text[-57:]
        super().__init__(_printable(text if path is None else f"{path}: {text}"))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
