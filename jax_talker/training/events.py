"""TensorBoard's files. tensorboardX imports PyTorch where that is installed: log.py imports this file only to write."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto import event_pb2


class Events:
    """Written by the caller's thread: SummaryWriter's own dies of a full disk, and the run waits for it."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"), f".{os.getpid()}")

    def scalar(self, step: int, name: str, value: float) -> None:
        self._write(step, summary.scalar(name, value))

    def image(self, step: int, name: str, pixels: np.ndarray) -> None:
        """A picture [H, W, 3] of bytes."""
        self._write(step, summary.image(name, pixels, dataformats="HWC"))

    def close(self) -> None:
        self._writer.close()

    def _write(self, step: int, what: Any) -> None:
        event = event_pb2.Event  # type: ignore[attr-defined]  # protobuf makes it at run time
        self._writer.write_event(event(summary=what, step=step, wall_time=time.time()))
        self._writer.flush()
