"""Asked to end: SIGTERM of a scheduler that takes the machine away, or Ctrl-C. A loop ends its step and saves first.

A program listens (``listening``, ``may_be_stopped``), a loop is patient (``patient``) and asks (``asked``). Signals
belong to the process, so what is asked for is kept here, once. They arrive in the main thread; a loop may run in any.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import jax
import numpy as np
from jax.experimental import multihost_utils

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):
    """The work was ended because somebody asked for it; what was done is saved. ``number`` is the signal's."""

    def __init__(self, told: str, number: int):
        super().__init__(told)
        self.number = number


class _Asked:
    """What signals have asked of this process."""

    def __init__(self) -> None:
        self.number: int | None = None  # of the first signal
        self.patient = 0  # loops that ask between their steps

    def hear(self, number: int, _: FrameType | None) -> None:
        """The handler: the first signal waits for a patient loop, whatever else it meets ends at once."""
        first, self.number = self.number is None, self.number or number
        if first and self.patient:
            os.write(2, b"\nending after this step; once more ends at once\n")  # print may be what was interrupted
            return
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise Stopped("stopped at once", number)


_asked = _Asked()


def asked() -> int | None:
    """The number of the signal that asked this process to end; None: go on."""
    return _asked.number


def agreed() -> int | None:
    """``asked``, of any of the processes that train together: all must end at the same step. All must call it."""
    if jax.process_count() == 1:
        return asked()
    everyone = multihost_utils.process_allgather(np.int32(asked() or 0))
    return int(np.max(everyone)) or None


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """SIGTERM, and Ctrl-C once, let a loop end its step and save; outside of loops SIGTERM raises Stopped at once and
    Ctrl-C KeyboardInterrupt, as a second signal does everywhere.

    In another thread than the main one nothing is changed: Python's handlers can be set there alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _asked.number = None
    before = {number: signal.signal(number, _asked.hear) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _asked.number = None


@contextlib.contextmanager
def patient() -> Iterator[None]:
    """What is done inside asks ``asked`` often enough to be waited for."""
    _asked.patient += 1
    try:
        yield
    finally:
        _asked.patient -= 1


@contextlib.contextmanager
def may_be_stopped(going_on: str) -> Iterator[None]:
    """Listen; work that is stopped is no error, and ends in one line that says how it goes on."""
    try:
        with listening():
            yield
    except Stopped as stopped:
        print(f"{stopped}; {going_on}", file=sys.stderr)
