"""Asked to end: SIGTERM of a scheduler that takes the machine away, or Ctrl-C. A loop ends its step and saves first.

A program listens (``listening``, ``may_be_stopped``), a loop is patient (``patient``) and asks (``asked``). Signals
belong to the process, so what is asked for is kept here, once. They arrive in the main thread; a loop may run in any.

Processes that train together (jax.distributed) have to end after the same step, or one would wait for the others for
ever: there JAX's preemption service hears SIGTERM, and tells all of them which step that is.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import jax
from jax.experimental import multihost_utils

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(BaseException):
    """The work was ended because somebody asked for it; what was done is saved. ``number`` is the signal's.

    No Exception, as KeyboardInterrupt is none: it may come anywhere, and nobody who makes the best of errors may take
    it for one.
    """

    def __init__(self, told: str, number: int):
        super().__init__(told)
        self.number = number


class _Asked:
    """What signals have asked of this process."""

    def __init__(self) -> None:
        self.number: int | None = None  # of the first signal
        self.patient = 0  # loops that ask between their steps
        self.times = 0  # that a loop has asked together with other processes

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
    """The number of the signal that asked this process to end; None: go on.

    Processes that train together all ask between the same steps, and all get the same answer.
    """
    if not jax.distributed.is_initialized():
        return _asked.number
    _asked.times += 1  # over all stages: the service wants numbers that only grow
    return signal.SIGTERM if multihost_utils.reached_preemption_sync_point(_asked.times) else None


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """SIGTERM, and Ctrl-C once, let a loop end its step and save; outside of loops SIGTERM raises Stopped at once and
    Ctrl-C KeyboardInterrupt, as a second signal does everywhere.

    In another thread than the main one nothing is changed: Python's handlers can be set there alone. Nor is it in
    one of several processes, where signals are JAX's.
    """
    if threading.current_thread() is not threading.main_thread() or jax.distributed.is_initialized():
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
