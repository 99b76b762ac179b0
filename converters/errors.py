"""The one error of this room."""

from jax_talker.errors import UserError


class CheckpointError(UserError):
    """A checkpoint that cannot be used: damaged, hostile, of another program, or with unsupported options."""
