"""Sync-C, Sync-D and offset of one video: does its mouth say what is heard? The truth's pictures are not looked at."""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any

import jax
import numpy as np

from jax_talker.app.judging.meters import BATCH, Pair
from jax_talker.app.judging.pictures import Pictures
from jax_talker.app.judging.score import Result, Score
from jax_talker.audio.mfcc import mfcc
from jax_talker.data.clip.clip import FPS, SAMPLE_RATE
from jax_talker.data.track.faces import box_of
from jax_talker.metrics import sync as measures
from jax_talker.networks import syncnet

MISSED = 25  # frames without a face that are bridged, as in the original
SHORT = 100  # frames; the original leaves shorter tracks out
TITLES = {"sync_c": "Sync-C", "sync_d": "Sync-D", "sync_offset": "Sync offset"}


class SyncMeter:
    """syncnet_python's crop, cepstra and search; boxes are those of the landmarks, where the original has S3FD's, and
    pictures do not go through its JPEG and XVID files.

    The pictures are gone through a second time, because crops are smoothed over frames that are yet to come.
    """

    needs_faces = True

    def __init__(self, params: dict[str, Any], pred: Pictures):
        self._params, self._pred = params, pred
        self._boxes: list[np.ndarray | None] = []
        self._lips, self._sound = jax.jit(syncnet.embed_lips), jax.jit(syncnet.embed_sound)

    def add(self, pair: Pair) -> None:
        self._boxes += [None if face is None else box_of(face.points) for face in pair.pred_faces]

    def scores(self) -> list[Result]:
        first, boxes = longest_track(self._boxes)
        sound = self._pred.sound() if self._pred.sound else np.zeros(0, np.float32)
        sound = sound[round(first / FPS * SAMPLE_RATE) : round((first + len(boxes)) / FPS * SAMPLE_RATE)]
        count = syncnet.windows(len(boxes), len(sound))
        if not count:
            return [Score(name, title, np.nan, note="too short, or no face") for name, title in TITLES.items()]
        lips = self._embedded_lips(first, boxes, count)
        samples = np.clip(np.round(sound * 32768), -32768, 32767).astype(np.int16)
        cepstra = mfcc(samples, syncnet.CEPSTRA)
        parts = [syncnet.heard(cepstra, i, min(BATCH, count - i)) for i in range(0, count, BATCH)]
        voice = np.concatenate([np.asarray(self._sound(self._params, _filled(p)))[: len(p)] for p in parts])
        found = measures.search(lips, voice)
        note = f"of {len(boxes)} frames; the original leaves out tracks below {SHORT}" if len(boxes) <= SHORT else ""
        return [
            Score("sync_c", TITLES["sync_c"], found.confidence, "", "higher", None, note),
            Score("sync_d", TITLES["sync_d"], found.distance, "", "lower"),
            Score("sync_offset", TITLES["sync_offset"], float(found.offset), "frames", "zero", digits=0),
        ]

    def _embedded_lips(self, first: int, boxes: np.ndarray, count: int) -> np.ndarray:
        """[count, 1024]; holds five crops and a batch of windows at a time."""
        seen = _windows(islice(self._pred.frames(), first, None), measures.crops(boxes), count)
        out = []
        while part := list(islice(seen, BATCH)):
            out.append(np.asarray(self._lips(self._params, _filled(np.stack(part))))[: len(part)])
        return np.concatenate(out)


def _windows(pictures: Iterator[np.ndarray], crops: list[measures.Crop], count: int) -> Iterator[np.ndarray]:
    """``count`` windows of five successive crops, BGR in 0 … 255."""
    recent: deque[np.ndarray] = deque(maxlen=syncnet.FRAMES)
    for picture, crop in zip(islice(pictures, count + syncnet.FRAMES - 1), crops, strict=False):
        recent.append(measures.cropped(picture, crop, syncnet.SIZE)[..., ::-1])
        if len(recent) == syncnet.FRAMES:
            yield np.stack(recent).astype(np.float32)


def _filled(batch: np.ndarray) -> np.ndarray:
    return np.concatenate([batch, np.repeat(batch[-1:], BATCH - len(batch), 0)])


def longest_track(boxes: list[np.ndarray | None]) -> tuple[int, np.ndarray]:
    """(first frame, boxes [T, 4]) of the longest stretch without more than ``MISSED`` missed frames in a row; gaps are
    interpolated linearly. (0, none) where there is no face at all.
    """
    known = {i: box for i, box in enumerate(boxes) if box is not None}
    if not known:
        return 0, np.zeros((0, 4))
    seen = np.array([*known])
    parts = np.split(seen, np.flatnonzero(np.diff(seen) > MISSED + 1) + 1)
    part = max(parts, key=lambda p: p[-1] - p[0])
    every = np.arange(part[0], part[-1] + 1)
    values = np.stack([known[int(i)] for i in part])
    return int(part[0]), np.stack([np.interp(every, part, column) for column in values.T], 1)
