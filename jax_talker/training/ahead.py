"""Batches made ahead of time in a thread, so that a device does not wait for its input."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

DEPTH = 2  # batches that are made and not asked for yet


class Ahead:
    """An iterator over ``put(batch)``, in order, of which the next ones are made while a step runs.

    What ``batches`` raises is raised where that batch would have come. Use as a context manager: leaving ends the
    thread. What batches hold is theirs alone to decide, so it is the same with and without this.
    """

    def __init__(self, batches: Iterator[Any], put: Callable[[Any], Any], depth: int = DEPTH):
        self._batches, self._put = batches, put
        self._made: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(depth)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._make, name="batches", daemon=True)
        self._waited, self._since = 0.0, time.monotonic()

    def __enter__(self) -> "Ahead":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        while self._thread.is_alive():  # it may wait for room
            try:
                self._made.get(timeout=0.05)
            except queue.Empty:
                continue
        self._thread.join()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        begun = time.monotonic()
        batch, error = self._made.get()
        self._waited += time.monotonic() - begun
        if error is not None:
            raise error
        return batch

    def share_waited(self) -> float:
        """The share of time since it was last asked for (or since the beginning) that went into waiting for a batch.

        Steps run on while the host waits, so devices were idle for want of input for so long at most.
        """
        now = time.monotonic()
        share = self._waited / max(now - self._since, 1e-9)
        self._waited, self._since = 0.0, now
        return share

    def _make(self) -> None:
        try:
            while not self._ended.is_set():
                self._made.put((self._put(next(self._batches)), None))
        except BaseException as error:  # whatever it is, it is raised in the loop, not lost in this thread
            self._made.put((None, error))
