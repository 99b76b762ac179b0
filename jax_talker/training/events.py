"""TensorBoard's files. tensorboardX imports PyTorch where that is installed: log.py imports this file only to write."""

import io
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image  # matplotlib brings it
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto import event_pb2, summary_pb2

Event, Summary = event_pb2.Event, summary_pb2.Summary  # type: ignore[attr-defined]  # protobuf makes them at run time
FRAME = 40  # ms


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

    def video(self, step: int, name: str, frames: np.ndarray) -> None:
        """Successive pictures [T, H, W, 3] of bytes, as a GIF, which is what TensorBoard plays."""
        pictures = [Image.fromarray(frame) for frame in frames]
        encoded = io.BytesIO()
        pictures[0].save(encoded, "GIF", save_all=True, append_images=pictures[1:], duration=FRAME, loop=0)
        _, height, width, channels = frames.shape
        shown = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=encoded.getvalue())
        self._write(step, Summary(value=[Summary.Value(tag=name, image=shown)]))

    def close(self) -> None:
        self._writer.close()

    def _write(self, step: int, what: Any) -> None:
        self._writer.write_event(Event(summary=what, step=step, wall_time=time.time()))
        self._writer.flush()
