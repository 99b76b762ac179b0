"""What all made-up people are filmed with: fixed cameras around a turning head, shots made ahead, a clip folder."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from jax_talker import geometry
from jax_talker.data.clip.clip_writer import ClipWriter
from jax_talker.procedural import motion

Made = TypeVar("Made")
Shot = tuple[
    np.ndarray, np.ndarray, np.ndarray
]  # image [H, W, 3] uint8, masks [H, W, 3] uint8, landmarks [K, 2] pixels


def labels(angles: np.ndarray, yaw: float, pitch: float) -> np.ndarray:
    """EG3D labels [T, 25] of a fixed camera at (yaw, pitch) degrees, seen from a head turned by ``angles`` [T, 3]."""
    head_from_world = geometry.invert_rigid(motion.world_from_head(angles))
    return geometry.make_label(head_from_world @ geometry.orbit(yaw, pitch))


def in_order(shoot: Callable[[int], Made], count: int) -> Iterator[Made]:
    """``shoot(0)``, ``shoot(1)`` …, made ahead by a thread for each core."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque = deque()
        for i in range(count):
            waiting.append(pool.submit(shoot, i))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def write_shots(
    root: str | Path,
    shots: Iterable[Mapping[str, Shot]],
    cameras: Mapping[str, tuple[float, float]],
    *,
    size: int,
    sound: np.ndarray,
    blink: np.ndarray,
    angles: np.ndarray,
    truth: np.ndarray,
    source: Mapping[str, object],
    overwrite: bool = False,
) -> None:
    """Shots of every frame, by camera, into a clip folder; its own camera is called ``front``.

    ``truth`` [T, K] is what the face did, kept as the clip's ``motion``.
    """
    points: dict[str, list[np.ndarray]] = {name: [] for name in cameras}
    with ClipWriter(root, size=size, source=source, overwrite=overwrite) as writer:
        for shot in shots:
            for name, (image, masks, landmarks) in shot.items():
                writer.add(image, masks, view=None if name == "front" else name)
                points[name].append(landmarks)
        arrays = {
            name: {"label": labels(angles, *at), "blink": blink, "landmarks": np.stack(points[name])}
            for name, at in cameras.items()
        }
        arrays["front"]["motion"] = truth.astype(np.float32)
        arrays["front"]["angles"] = angles.astype(np.float32)
        writer.finish(arrays.pop("front"), sound, views=arrays)
