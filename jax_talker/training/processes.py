"""Several processes that train together, on one machine or many: how they find each other, and which of them writes."""

import contextlib
from collections.abc import Iterator

import jax
from jax.experimental import multihost_utils

from jax_talker.errors import UserError


def join(coordinator: str | None, count: int | None, number: int | None) -> None:
    """Become process ``number`` of ``count``, before anything is computed.

    The first process listens at ``coordinator`` (HOST:PORT). Without any of the three the cluster is asked, where there
    is one that JAX knows (Slurm, Open MPI, Kubernetes, TPU pods).
    """
    given = (coordinator, count, number)
    if any(x is None for x in given) and any(x is not None for x in given):
        raise UserError("--coordinator, --processes and --process: give all three, or none and --cluster")
    if number is not None and count is not None and not 0 <= number < count:
        raise UserError(f"--process: {number}, but {count} processes count from 0 to {count - 1}")
    try:
        jax.distributed.initialize(coordinator, count, number)
    except (ValueError, RuntimeError) as error:  # no cluster that is known; nobody at the coordinator's address
        if "must be called before" in str(error):  # ours to mend
            raise
        first = str(error).strip().splitlines()[0]
        raise UserError(
            f"the processes did not find each other ({first}); give --coordinator=HOST:PORT --processes=N --process=K"
        ) from None


def writes() -> bool:
    """Whether this is the process that writes the run's folder and speaks; checkpoints are written by all together."""
    return jax.process_index() == 0


def meet(where: str) -> None:
    """Wait for all processes, each of which says the same ``where``."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(where)


@contextlib.contextmanager
def writer_first(where: str) -> Iterator[None]:
    """What is made in files inside is made by the process that writes; the others come after it and find it there."""
    if not writes():
        meet(where)
    try:
        yield
    finally:
        if writes():
            meet(where)
