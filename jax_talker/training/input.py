"""A run's batches, made ahead of the steps that need them and sent to the devices, by Grain."""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

WORKERS = min(8, os.cpu_count() or 1)  # threads, each at a batch of its own: decoding does not hold Python's lock
DEPTH = max(2, WORKERS)  # batches that are made and not asked for yet


class Input:
    """An iterator over ``put(batch(k))`` for k of ``first`` … ``last`` − 1, the next ones made while a step runs.

    ``batch(k)`` is what the step after k others is shown: a function of k alone, called by several threads at once. So
    the state's step is all there is of a position, and Grain's own would only say it again: a resumed run begins at
    ``first = state.step``. What ``batch`` or ``put`` raises is raised where that batch would have come. Use as a
    context manager: leaving ends the threads, each with the batch that it is at.
    """

    def __init__(self, batch: Callable[[int], Any], put: Callable[[Any], Any], first: int, last: int):
        import grain  # a third of a second that no other program should wait for

        options = grain.ReadOptions(num_threads=WORKERS, prefetch_buffer_size=DEPTH)
        made = grain.MapDataset.range(first, max(first, last)).map(batch).map(put)
        self._batches = iter(made.to_iter_dataset(options))
        self._waited, self._since = 0.0, time.monotonic()

    def __enter__(self) -> "Input":
        return self

    def __exit__(self, *_: object) -> None:
        self._batches.close()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        begun = time.monotonic()
        try:
            return next(self._batches)
        finally:
            self._waited += time.monotonic() - begun

    def share_waited(self) -> float:
        """The share of time since it was last asked for (or since the beginning) that went into waiting for a batch.

        Steps run on while the host waits, so devices were idle for want of input for so long at most.
        """
        now = time.monotonic()
        share = self._waited / max(now - self._since, 1e-9)
        self._waited, self._since = 0.0, now
        return share
