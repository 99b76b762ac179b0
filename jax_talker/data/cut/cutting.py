"""Cuts the heads out of a recording and writes frames and masks, in chunks that several threads work on.

Pictures are read in order and at once made small (the crop, and what the matte needs of the rest), so memory holds a
few chunks of crops, however long the recording is. A chunk's result does not depend on who works on it or on what was
done before: each begins with a few frames that only warm up the matte. So interrupted work ends as it would have.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from jax_talker.data.clip.chunks import Chunks
from jax_talker.data.clip.clip_writer import ClipWriter
from jax_talker.data.cut.masks import region_masks
from jax_talker.data.cut.matte import HeadView, Matte, as_filmed, on_white
from jax_talker.data.cut.parsing import head_alpha
from jax_talker.data.cut.picture_stats import picture_stats
from jax_talker.data.read.footage import Footage
from jax_talker.data.track.landmarks import LandmarkScheme
from jax_talker.errors import UserError

CHUNK = 40  # frames
INSIDE_SIZE = 32  # px, at which the share of a crop beyond the source is counted
Parser = Callable[[UInt8[np.ndarray, "S S 3"]], UInt8[np.ndarray, "S S"]]  # a crop's pixels → their classes


@dataclass(frozen=True)
class Heads:
    """Where the head is in the T frames of one camera."""

    first: int  # number of the footage's picture that is frame 0
    views: list[HeadView]
    landmarks: Float[np.ndarray, "T P 2"]  # px of the crop
    scheme: LandmarkScheme


@dataclass(frozen=True)
class CutOptions:
    """With what heads are cut out."""

    size: int  # px of the frames
    focal: float  # of the labels
    matte: Matte
    parser: Parser | None = None  # its classes make the masks, and with ``parser_alpha`` the head's alpha too
    parser_alpha: bool = False


def cut_out(
    writer: ClipWriter,
    footage: Footage,
    heads: Heads,
    options: CutOptions,
    *,
    view: str | None,
    shown: set[int],
    workers: int,
    bar: Callable[[Iterable[Any], str, int | None, int], Iterable[Any]],
) -> dict[str, np.ndarray]:
    """Write every frame and its masks; returns what was measured in each: ``outside``, the share of the crop that the
    source does not show, and ``stat_<name>`` (picture_stats.py), all [T].

    The full pictures of frames ``shown`` are kept in the writer's progress folder (``shown_picture``).
    """
    chunks = Chunks(writer.progress / "cut" / (view or "front"))
    frames = len(heads.views)
    missing = [n for n in range(-(-frames // CHUNK)) if not chunks.has(n)]
    if missing:
        begin = max(0, missing[0] * CHUNK - options.matte.warm_up)
        done = frames - sum(min(CHUNK, frames - n * CHUNK) for n in missing)
        pictures = itertools.islice(footage.pictures(heads.first + begin), frames - begin)
        pictures = bar(_exactly(pictures, frames - begin, footage), "cutting it out", frames, done)
        worker = _Worker(writer, heads, options, view, chunks)
        ready = _made_small(pictures, begin, heads, options, _keeper(writer, view, shown))
        with ThreadPoolExecutor(workers) as pool:
            waiting: deque[Future[None]] = deque()
            for number, chunk in _in_chunks(ready, frames, options.matte.warm_up, set(missing)):
                waiting.append(pool.submit(worker, number, chunk))
                if len(waiting) > workers:
                    waiting.popleft().result()
            for rest in waiting:
                rest.result()
    measured = []
    for chunk in chunks.load():
        writer.trust(dict(zip(chunk.pop("names").tolist(), chunk.pop("sums").tolist(), strict=True)))
        measured.append(chunk)
    return {name: np.concatenate([chunk[name] for chunk in measured]) for name in measured[0]}


def shown_picture(
    writer: ClipWriter, footage: Footage, view: str | None, index: int, number: int
) -> UInt8[np.ndarray, "H W 3"]:
    """The full picture of frame ``index``, which is picture ``number`` of the footage."""
    path = _shown_path(writer, view, index)
    picture = cv2.imread(str(path)) if path.is_file() else None
    if picture is None:  # the process that cut it out was killed
        return next(iter(footage.pictures(number)))
    return np.ascontiguousarray(picture[..., ::-1])


# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Small:
    """A picture, as far as it is needed."""

    index: int
    seen: np.ndarray  # the crop, [S, S, 3]
    looked: Any  # what the matte wants to know
    shape: tuple[int, ...]  # of the full picture


def _made_small(
    pictures: Iterable[Any], begin: int, heads: Heads, options: CutOptions, keep: Callable[[int, np.ndarray], None]
) -> Iterator[_Small]:
    for index, picture in enumerate(pictures, begin):
        keep(index, picture)
        view = heads.views[index]
        looked = options.matte.look(heads.first + index, picture, view)
        yield _Small(index, view.crop.cut(picture, options.size), looked, picture.shape)


def _in_chunks(
    ready: Iterable[_Small], frames: int, warm_up: int, wanted: set[int]
) -> Iterator[tuple[int, list[_Small]]]:
    """(number, frames) of each wanted chunk, with the frames that warm up before it."""
    held: deque[_Small] = deque(maxlen=CHUNK + warm_up)
    for small in ready:
        held.append(small)
        number = small.index // CHUNK
        if (small.index + 1 == frames or (small.index + 1) % CHUNK == 0) and number in wanted:
            yield number, [one for one in held if one.index >= number * CHUNK - warm_up]


class _Worker:
    """Cuts out one chunk; called from several threads."""

    def __init__(self, writer: ClipWriter, heads: Heads, options: CutOptions, view: str | None, chunks: Chunks):
        self._writer, self._heads, self._options, self._view, self._chunks = writer, heads, options, view, chunks

    def __call__(self, number: int, chunk: list[_Small]) -> None:
        cutter, options, heads = self._options.matte.cutter(), self._options, self._heads
        measured: list[dict[str, float]] = []
        sums: dict[str, str] = {}
        for small in chunk:
            landmarks = heads.landmarks[small.index]
            parts = None if options.parser is None else options.parser(small.seen)
            faded = options.matte.fades
            if parts is not None and options.parser_alpha:
                faded = True
                alpha = head_alpha(parts, small.seen, heads.views[small.index], heads.scheme, options.focal)
                alpha = alpha * cutter(small.looked, heads.views[small.index], small.seen)  # the source's border
            else:
                alpha = cutter(small.looked, heads.views[small.index], small.seen)
            if small.index < number * CHUNK:
                continue
            regions = region_masks(landmarks, heads.scheme, options.size, parts)
            masks = np.dstack([*regions, np.round(alpha * 255).astype(np.uint8)])
            head, crop = on_white(small.seen, alpha), heads.views[small.index].crop
            valid = crop.filmed(small.shape, options.size)
            if faded:
                valid = valid * as_filmed(heads.views[small.index], options.size, options.focal)
            sums |= self._writer.put(small.index, head, masks, parts, valid=valid, view=self._view)
            outside = float(1 - crop.inside(small.shape, INSIDE_SIZE).mean())
            stats = picture_stats(small.seen, landmarks, heads.scheme)
            measured.append({"outside": outside} | {f"stat_{name}": value for name, value in stats.items()})
        arrays = {k: np.array([m[k] for m in measured], np.float32) for k in measured[0]}
        self._chunks.put(number, {**arrays, "names": np.array([*sums]), "sums": np.array([*sums.values()])})


def _exactly(pictures: Iterable[np.ndarray], count: int, footage: Footage) -> Iterator[np.ndarray]:
    given = 0
    for given, picture in enumerate(pictures, 1):  # noqa: B007
        yield picture
    if given != count:
        raise UserError(
            f"{footage.name}: gave fewer frames when it was read again ({given} of {count}); is it changing?"
        )


def _keeper(writer: ClipWriter, view: str | None, shown: set[int]) -> Callable[[int, np.ndarray], None]:
    def keep(index: int, picture: np.ndarray) -> None:
        path = _shown_path(writer, view, index)
        if index in shown and not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            work = path.with_suffix(".part")
            work.write_bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
            work.replace(path)

    return keep


def _shown_path(writer: ClipWriter, view: str | None, index: int) -> Path:
    return writer.progress / "shown" / (view or "front") / f"{index:06d}.png"
