"""The loop: two sequences of pictures side by side through every metric that was asked for, a few frames at a time."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
from jaxtyping import Bool

from jax_talker.app.judging.catalogue import Setting, meters
from jax_talker.app.judging.face_finder import FaceFinder
from jax_talker.app.judging.meters import BATCH, Meter, Pair
from jax_talker.app.judging.pictures import Pictures
from jax_talker.app.judging.score import Missing, Result
from jax_talker.errors import UserError

Known = Callable[[], Iterator[Bool[np.ndarray, "H W"]]]  # for each frame, where the truth is known
Bar = Callable[[Iterable[Any], str, int | None], Iterable[Any]]

log = logging.getLogger(__name__)


def judge(
    setting: Setting,
    names: Sequence[str],
    bar: Bar = lambda items, label, total: items,
    *,
    also: Sequence[Meter] = (),
    known: Known | None = None,
) -> list[Result]:
    """Results of ``setting.pred`` against ``setting.truth``, in the order of the metrics' ``names`` (catalogue).

    Both are gone through once, frame by frame, to the end of the shorter one; memory holds a batch of pictures and
    some numbers per frame. ``also`` are shown the frames as well; their results are not asked for. What is not
    ``known`` of the truth counts for nothing: there both are shown alike, and PSNR leaves it out. UserError when sizes
    differ, or when one has no pictures.
    """
    pred, truth = setting.pred, setting.truth
    make = setting.landmarker()
    wanted = meters(names, setting, make)
    working: list[Meter] = [meter for meter in wanted if not isinstance(meter, Missing)]
    if not working and not also:  # nothing to look at pictures for
        return [meter for meter in wanted if isinstance(meter, Missing)]
    with ExitStack() as stack:
        finder = None
        if any(meter.needs_faces for meter in working) and not isinstance(make, tuple):
            finder = stack.enter_context(FaceFinder(make, 1 if pred is truth else 2))
        total = min(filter(None, (pred.expected, truth.expected)), default=None)
        frames = 0
        for pair in bar(_pairs(pred, truth, known), pred.name, None if total is None else -(-total // BATCH)):
            seen = pair if finder is None else _with_faces(pair, finder, pred is truth)
            for meter in (*working, *also):
                meter.add(seen)
            frames += pair.count
    if not frames:
        raise UserError(f"{pred.name} and {truth.name}: one of them has no pictures")
    out: list[Result] = []
    for meter in wanted:
        out += [meter] if isinstance(meter, Missing) else meter.scores()
    return out


def _with_faces(pair: Pair, finder: FaceFinder, same: bool) -> Pair:
    seen = [pair.truth[: pair.count]] if same else [pair.pred[: pair.count], pair.truth[: pair.count]]
    found = finder(*seen)
    return replace(
        pair,
        pred_faces=found[0],
        truth_faces=found[-1],
        landmarker=finder.name,
        score_names=finder.score_names,
    )


def _pairs(pred: Pictures, truth: Pictures, known: Known | None) -> Iterator[Pair]:
    """Batches of both; of one and the same sequence they are read once, and the same arrays."""
    together = ((frame,) for frame in truth.frames()) if pred is truth else _side_by_side(pred, truth)
    masks = None if known is None or pred is truth else known()
    while waiting := list(islice(together, BATCH)):
        count = len(waiting)
        parts = [_batch(part) for part in zip(*waiting, strict=True)]
        made, filmed = parts[0], parts[-1]
        if masks is None:
            yield Pair(made, filmed, count)
            continue
        where = _batch(tuple(islice(masks, count)))
        yield Pair(np.where(where[..., None], made, filmed), filmed, count, known=where)


def _batch(waiting: tuple[np.ndarray, ...]) -> np.ndarray:
    """Filled up with the last one."""
    return np.stack([*waiting, *waiting[-1:] * (BATCH - len(waiting))])


def _side_by_side(pred: Pictures, truth: Pictures) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    left, right = pred.frames(), truth.frames()
    frames = 0
    for a in left:
        b = next(right, None)
        if b is None:
            log.warning(
                "%s: goes on where %s ends, after %d frames; the rest is not judged", pred.name, truth.name, frames
            )
            return
        if a.shape != b.shape:
            raise UserError(
                f"{pred.name} is {a.shape[1]} × {a.shape[0]} px and {truth.name} {b.shape[1]} × {b.shape[0]}; bring "
                "one to the other's size first: which filter that takes is a choice that belongs to the numbers"
            )
        frames += 1
        yield a, b
    if next(right, None) is not None:
        log.warning("%s: ends after %d frames, before %s does", pred.name, frames, truth.name)
