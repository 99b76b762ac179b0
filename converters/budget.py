"""What one file may cost in all, whoever spends it: the reader, flattening, and the report.

A file may name a thing once and use it a million times, so its length bounds neither memory nor time. Everything that
is made or walked through because the file says so is paid for here, and one that wants too much is refused.
"""

import time

from converters.errors import CheckpointError

# A full-size generator has about 80,000 opcodes, 460 tensors, 300 modules and 80 options.
LIMITS = {
    "pickle opcodes": 500_000,  # one may cost 300 bytes
    "tensors": 20_000,
    "modules": 20_000,
    "values": 200_000,  # of options, of nested dictionaries, of lists that are copied
    "characters of names": 16_000_000,  # of dotted names, which repeat what they begin with
}
SECONDS = 5.0  # of processor time, and as much again for every 50 MB
BYTES = 50_000_000
BETWEEN = 512  # payments between two looks at the clock


class Budget:
    """The account of one file of ``length`` bytes."""

    def __init__(self, length: int = 0):
        self._left = dict(LIMITS) | {"bytes read again": 2 * length + 1_000_000}
        self._limits = dict(self._left)
        self._seconds = SECONDS * (1 + length / BYTES)
        self._end = time.thread_time() + self._seconds
        self._payments = 0

    def spend(self, what: str, amount: int = 1) -> None:
        """Pay, or raise CheckpointError."""
        left = self._left[what] = self._left[what] - amount
        if left < 0:
            raise CheckpointError(f"more than {self._limits[what]:,} {what}, which no such file needs")
        self._payments += 1
        if self._payments % BETWEEN == 0 and time.thread_time() > self._end:
            raise CheckpointError(f"takes longer to read than {self._seconds:.0f} seconds, which no such file needs")
