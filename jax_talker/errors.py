"""The one error that a program prints as a line instead of a traceback."""


class UserError(Exception):
    """Something only the user can put right. The message says what is wrong, where, and what to do about it."""
