"""A pickle reader that cannot execute anything: it knows the opcodes, and builds plain values and inert records.

``pickle.load`` imports names and calls them; whoever writes the file chooses both. Here a name in the file is only a
:class:`Global`, two strings. A call of one is either one of the few functions that :class:`Machine` was given, or it
becomes a :class:`Record` of its arguments when its name is on the allow-list, or the file is refused. Nothing is ever
imported, no attribute is looked up, and the result of a call can never be called.

Every opcode costs a bounded amount, and the :class:`Budget` bounds their number: the memo is a dictionary (the C
unpickler allocates an array as long as the file says), hashing never descends into containers, and calls that copy what
the file may name again and again pay for it.
"""

import struct
from typing import Any

from converters.errors import CheckpointError
from converters.pickle_opcodes import HANDLERS, STOP
from converters.pickle_stack import Call, Stack
from converters.pickle_values import Data, Global, Record, describe

__all__ = ["Call", "Data", "Global", "Machine", "Record", "describe"]


class Machine(Stack):
    """A pickle, and the loop that reads it."""

    def run(self) -> Any:
        """The value of the pickle that starts here; afterwards ``position`` is the byte behind it."""
        while True:
            offset = self.position
            try:
                self.budget.spend("pickle opcodes")
                opcode = self.take(1)[0]
                if opcode == STOP:
                    if len(self.stack) != 1 or self.marks:
                        raise CheckpointError("the pickle ends in the middle of a value")
                    return self.stack.pop()
                handler = HANDLERS.get(opcode)
                if handler is None:
                    raise CheckpointError(f"pickle opcode 0x{opcode:02x}, which no checkpoint uses")
                handler(self)
            except CheckpointError as error:
                raise CheckpointError(f"at byte {offset}: {error}") from None
            except (IndexError, KeyError, ValueError, struct.error) as error:  # UnicodeDecodeError is a ValueError
                raise CheckpointError(f"at byte {offset}: damaged pickle ({type(error).__name__})") from None
