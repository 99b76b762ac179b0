"""The one error of this room."""

from jax_talker.errors import UserError


class CheckpointError(UserError):
    """A checkpoint that cannot be used: damaged, hostile, of another program, or with unsupported options.

    Messages quote names from the file, which may hold anything: what does not print (line ends and terminal controls
    among it) is shown as its escape, so that the message stays one line.
    """

    def __init__(self, message: str):
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in message))
