"""Faces in every picture of a recording, found by several threads, in chunks that are kept on disk.

A chunk that was finished is not looked at again when the work is interrupted and started anew, and the pictures
themselves never pile up: memory holds a few of them, however long the recording is.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from jax_talker.data.clip.chunks import Chunks
from jax_talker.data.read.footage import Footage
from jax_talker.data.track.closer import search_around, search_parts
from jax_talker.data.track.faces import Face, Landmarker
from jax_talker.data.track.shots import signature

CHUNK = 100  # pictures
AHEAD = 4  # pictures that wait for each thread
# Every so many pictures all parts of one without a face are looked at, between them only the faces' neighbourhood: so
# a small face costs little, and what is found depends neither on the threads nor on an interruption. Divides CHUNK,
# and no face is missed for longer than following.py fills in.
KEY = 5


@dataclass(frozen=True)
class Detections:
    """What was found in T pictures."""

    faces: list[list[Face]]  # of each picture
    signatures: np.ndarray  # [T, S], for finding cuts (shots.py)
    picture_size: tuple[int, int]  # width, height
    landmarker: str  # its name
    score_names: tuple[str, ...]  # of Face.scores


@dataclass(frozen=True)
class _Look:
    faces: list[Face]
    signature: np.ndarray
    size: tuple[int, int]


def detect(
    footage: Footage,
    make: Callable[[], Landmarker],
    folder: Path,
    *,
    workers: int,
    bar: Callable[[Iterable[Any], str, int | None, int], Iterable[Any]],
) -> Detections:
    """Look for faces in all pictures of ``footage``; ``make`` makes a landmarker, one for each of ``workers`` threads.

    Finished chunks are kept in ``folder``. ``bar`` shows progress: (pictures, label, total, already done).
    """
    chunks = Chunks(folder)
    if not chunks.whole:
        done = chunks.count()
        if done and len(chunks.get(done - 1)["count"]) < CHUNK:
            done -= 1  # the last chunk, and the process was killed before it could say so
        with _Team(make, workers) as team:
            pictures = bar(footage.pictures(done * CHUNK), "finding the face", footage.expected_frames, done * CHUNK)
            frames = done * CHUNK
            for number, looks in enumerate(_in_chunks(team.look_at(pictures, frames)), done):
                chunks.put(number, _packed(looks) | team.names())
                frames += len(looks)
            team.check_length(frames)
        chunks.end()
    return _joined(chunks)


def _in_chunks(looks: Iterable[_Look]) -> Iterator[list[_Look]]:
    """Groups of CHUNK; the last one is shorter, perhaps empty, and is how one sees that it is the last."""
    chunk: list[_Look] = []
    for look in looks:
        chunk.append(look)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    yield chunk


class _Team:
    """Threads with a landmarker each; answers come in the order of the pictures."""

    def __init__(self, make: Callable[[], Landmarker], workers: int):
        self._make, self._workers = make, workers
        self._own, self._all, self._lock = threading.local(), [], threading.Lock()

    def __enter__(self) -> "_Team":
        self._stack = ExitStack()
        self._hired = self._hire()  # in this thread, so that what is wrong with a model is said at once
        self._pool = self._stack.enter_context(ThreadPoolExecutor(self._workers))
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._stack.close()

    def names(self) -> dict[str, np.ndarray]:
        """Who looks, and what the scores mean."""
        return {"landmarker": np.array(self._all[0].name), "names": np.array(self._all[0].score_names, dtype=str)}

    def check_length(self, frames: int) -> None:
        for landmarker in self._all:
            landmarker.check_length(frames)

    def look_at(self, pictures: Iterable[Any], first: int) -> Iterator[_Look]:
        """What was found in pictures [H, W, 3] uint8, of which the next is number ``first``."""
        waiting: deque[Future[_Look]] = deque()
        key: Future[_Look] | None = None
        for index, picture in enumerate(pictures, first):
            if index % KEY == 0:
                key = None
            waiting.append(self._pool.submit(self._look, picture, index, key))
            key = key or waiting[-1]
            if len(waiting) > AHEAD * self._workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _look(self, picture: np.ndarray, index: int, key: Future[_Look] | None) -> _Look:
        """``key`` is the last key picture's, which was begun before; None for a key picture itself."""
        if not hasattr(self._own, "landmarker"):
            with self._lock:
                self._own.landmarker = self._hired or self._hire()
                self._hired = None
        landmarker: Landmarker = self._own.landmarker
        faces = landmarker(picture, index)
        if not faces and landmarker.reach > 0:

            def look(part: np.ndarray) -> list[Face]:
                return landmarker(part, index)

            if key is None:
                faces = search_parts(look, picture, landmarker.reach)
            else:
                faces = search_around(look, picture, key.result().faces)
        return _Look(faces, signature(picture), (picture.shape[1], picture.shape[0]))

    def _hire(self) -> Landmarker:
        landmarker = self._stack.enter_context(self._make())
        self._all.append(landmarker)
        return landmarker


# ---------------------------------------------------------------------------------------------------------------------
# Chunks as arrays

FIELDS = ("points", "depth", "rotation", "scores")


def _packed(looks: list[_Look]) -> dict[str, np.ndarray]:
    """Faces of several pictures as arrays: how many each picture has, and their fields one after the other."""
    faces = [face for look in looks for face in look.faces]
    packed = {
        "count": np.array([len(look.faces) for look in looks], np.int32),
        "signature": np.array([look.signature for look in looks]),
        "size": np.array([look.size for look in looks[:1]], np.int32),
    }
    for name in FIELDS:
        values = [getattr(face, name) for face in faces]
        if values and all(value is not None for value in values):
            packed[name] = np.stack(values).astype(np.float32)
    return packed


def _joined(chunks: Chunks) -> Detections:
    found: list[list[Face]] = []
    signatures, size = [], (0, 0)
    landmarker, names = "", ()
    for chunk in chunks.load():
        start = 0
        for count in chunk["count"].tolist():
            found.append([_face(chunk, i) for i in range(start, start + count)])
            start += count
        if len(chunk["size"]):
            signatures.append(chunk["signature"])
            size = tuple(chunk["size"][0].tolist())
        landmarker, names = str(chunk["landmarker"]), tuple(chunk["names"].tolist())
    return Detections(found, np.concatenate(signatures) if signatures else np.zeros((0, 1)), size, landmarker, names)


def _face(chunk: dict[str, np.ndarray], i: int) -> Face:
    def field(name: str) -> Float32[np.ndarray, "..."] | None:
        return chunk[name][i] if name in chunk else None

    points, depth, rotation, scores = (field(name) for name in FIELDS)
    as_double = [None if a is None else a.astype(np.float64) for a in (points, depth, rotation)]
    return Face(as_double[0], as_double[1], as_double[2], scores)  # type: ignore[arg-type]  # points are always there
