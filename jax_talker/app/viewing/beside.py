"""The viewer beside a training: a process of its own, which shows the head as it is learnt."""

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager

from jax_talker.app.run_folder import RunFolder
from jax_talker.errors import UserError
from jax_talker.training import processes


def viewed(folder: RunFolder) -> AbstractContextManager[None]:
    """``view --follow`` of what is trained in ``folder`` meanwhile. UserError where viser is not installed."""
    if importlib.util.find_spec("viser") is None:
        raise UserError("--view needs viser, which is not installed; run: pip install 'jax-talker[view]'")
    return _viewer(folder)


@contextlib.contextmanager
def _viewer(folder: RunFolder) -> Iterator[None]:
    if not processes.writes():  # of processes that train together one is looked at
        yield
        return
    command = [sys.executable, "-m", "jax_talker.view", "--run", str(folder.root), "--follow"]
    # By the processor: of an accelerator's memory JAX gives nearly all to the training.
    viewer = subprocess.Popen(command, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    try:
        yield
    finally:
        viewer.terminate()
        viewer.wait()
