"""The one face that a clip is about: followed from picture to picture, its best stretch kept, short gaps filled."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from jax_talker.data.clip.findings import Finding, time_code
from jax_talker.data.track.face_findings import (
    MAX_GAP,
    SMALL,
    Stretch,
    findings_about_face,
    findings_about_footage,
    findings_about_rest,
)
from jax_talker.data.track.faces import Face, FaceTrack, box_of, overlap, sides_of
from jax_talker.errors import UserError

SAME_FACE = 0.1  # overlap of a face's boxes in successive pictures
SMALLEST = 20.0  # px; side of a face below which there is nothing to learn from
SHORTEST = 1.0  # s; less than this is no clip, if more was given


@dataclass(frozen=True)
class Followed:
    """The stretch [first, last) of some footage in which one face is seen without a cut, and what was noticed."""

    first: int
    last: int
    track: FaceTrack  # of last − first frames
    findings: tuple[Finding, ...]  # of all of the footage, in the order of time


def follow_face(
    found: Sequence[Sequence[Face]],
    cuts: Sequence[int],
    *,
    picture_size: tuple[int, int],
    fps: int,
    start: float = 0.0,
    where: str = "the video",
    boundaries: Sequence[int] = (),
) -> Followed:
    """Follow one face through pictures in each of which all faces were ``found``.

    ``cuts`` are the numbers of the pictures with which a new shot begins; a stretch never goes beyond one, nor over
    more than MAX_GAP pictures without the face. Of all such stretches the one is kept in which one face is the
    picture's largest for most pictures. ``boundaries`` are where footage was put together on purpose: faces are not
    followed or interpolated across them, but the stretch goes on. ``picture_size`` is (width, height); time codes
    count ``start`` + frame/``fps`` seconds. UserError when there is no face, or less than a second of it is left.
    """
    frames = len(found)
    boxes = [np.array([box_of(f.points) for f in faces]).reshape(-1, 4) for faces in found]
    sides = [sides_of(b) for b in boxes]
    usable = [np.flatnonzero(s >= SMALLEST).tolist() for s in sides]
    if not any(usable):
        raise _no_face(sides, where)
    cuts = [c for c in cuts if c not in boundaries]
    chains = _chains(boxes, sides, usable, cuts, boundaries)
    largest = [int(np.argmax(s)) if len(s) else -1 for s in sides]
    best = max(chains, key=lambda chain: _worth(chain, sides, largest))
    first, last = min(best.picks), max(best.picks) + 1
    faces = [found[t][best.picks[t]] if t in best.picks else None for t in range(first, last)]
    stretch = Stretch(first, last, best.picks, boxes, usable, fps, start)
    about_footage = findings_about_footage(stretch, cuts)
    if last - first < SHORTEST * fps and frames - (last - first) > MAX_GAP:
        raise _too_short(stretch, about_footage, where)
    track = _filled(faces, [j - first for j in boundaries if first < j < last])
    findings = (
        *about_footage,
        *findings_about_rest(stretch),
        *findings_about_face(stretch, track, picture_size, [j - first for j in boundaries]),
    )
    return Followed(first, last, track, tuple(sorted(findings, key=lambda f: (f.begin, f.end))))


def broken_recordings(found: Sequence[Sequence[Face]], cuts: Sequence[int], boundaries: Sequence[int]) -> list[int]:
    """Numbers of the recordings between ``boundaries`` through which no face can be followed: one is lost for more than
    MAX_GAP pictures, or there is a cut. Where footage is joined from many, these are better left out than the rest."""
    boxes = [np.array([box_of(f.points) for f in faces]).reshape(-1, 4) for faces in found]
    usable = [np.flatnonzero(sides_of(b) >= SMALLEST).tolist() for b in boxes]
    broken = []
    for number, (begin, end) in enumerate(pairwise(sorted({0, *boundaries, len(found)}))):
        whole = [
            track
            for track in _tracks(boxes, usable, begin, end)
            if min(track.picks) - begin <= MAX_GAP and end - 1 - max(track.picks) <= MAX_GAP
        ]
        if not whole or any(begin < cut < end for cut in cuts):
            broken.append(number)
    return broken


# ---------------------------------------------------------------------------------------------------------------------
# Following


@dataclass
class _Chain:
    """One face in successive pictures: picture → which of its faces."""

    picks: dict[int, int] = field(default_factory=dict)


def _chains(boxes: list, sides: list, usable: list, cuts: Sequence[int], boundaries: Sequence[int]) -> list[_Chain]:
    """Every face's stretches; those that reach a join on both its sides are one."""
    edges = sorted({0, *cuts, *boundaries, len(boxes)})
    finished: list[_Chain] = []
    open_chain: _Chain | None = None  # reaches the join with which the next segment begins
    for begin, end in pairwise(edges):
        tracks = _tracks(boxes, usable, begin, end)
        first = _at_edge(tracks, sides, begin=begin) if open_chain else None
        if open_chain and first:
            open_chain.picks.update(first.picks)
            tracks = [open_chain if t is first else t for t in tracks]
        finished += [t for t in tracks if t is not open_chain]
        open_chain = _at_edge(tracks, sides, end=end) if end in boundaries else None
    return finished


def _at_edge(tracks: list[_Chain], sides: list, *, begin: int | None = None, end: int | None = None) -> _Chain | None:
    """The largest face that is seen within MAX_GAP pictures of a segment's begin or end."""
    if begin is not None:
        near = [(t, min(t.picks)) for t in tracks if min(t.picks) - begin <= MAX_GAP]
    else:
        assert end is not None
        near = [(t, max(t.picks)) for t in tracks if end - 1 - max(t.picks) <= MAX_GAP]
    return max(near, key=lambda one: sides[one[1]][one[0].picks[one[1]]])[0] if near else None


def _tracks(boxes: list, usable: list, begin: int, end: int) -> list[_Chain]:
    """Faces of pictures [begin, end), each linked to the one that overlaps it most in the pictures just before."""
    every: list[_Chain] = []
    active: list[_Chain] = []
    for t in range(begin, end):
        active = [c for c in active if t - next(reversed(c.picks)) <= MAX_GAP + 1]
        free = list(usable[t])
        pairs = []
        for chain in active:
            last = next(reversed(chain.picks))
            pairs += [(overlap(boxes[last][chain.picks[last]], boxes[t][i]), chain, i) for i in free]
        linked: list[_Chain] = []
        for share, chain, i in sorted(pairs, key=lambda p: -p[0]):
            if share > SAME_FACE and i in free and not any(chain is c for c in linked):
                chain.picks[t] = i
                linked.append(chain)
                free.remove(i)
        new = [_Chain({t: i}) for i in free]
        every += new
        active += new
    return every


def _worth(chain: _Chain, sides: list, largest: list[int]) -> tuple[bool, int, float]:
    size = float(np.median([sides[t][i] for t, i in chain.picks.items()]))
    # smaller faces only where there is no better stretch
    return size >= SMALL, sum(largest[t] == i for t, i in chain.picks.items()), size


# ---------------------------------------------------------------------------------------------------------------------
# Filling


def _filled(faces: list[Face | None], boundaries: Sequence[int]) -> FaceTrack:
    """Gaps interpolated within each recording; at a recording's ends the nearest face is repeated."""
    edges = [0, *boundaries, len(faces)]
    parts = [_filled_part(faces[a:b]) for a, b in pairwise(edges)]

    def joined(name: str) -> np.ndarray | None:
        values = [getattr(part, name) for part in parts]
        return None if any(v is None for v in values) else np.concatenate(values)

    return FaceTrack(*(joined(n) for n in ("points", "depth", "rotation", "scores", "detected")))  # type: ignore[arg-type]


def _filled_part(faces: Sequence[Face | None]) -> FaceTrack:
    found = np.array([f is not None for f in faces])
    known, every = np.flatnonzero(found), np.arange(len(faces))
    after = np.searchsorted(known, every).clip(0, len(known) - 1)
    before = np.maximum(after - 1, 0)
    nearest = known[np.where(every - known[before] <= known[after] - every, before, after)]

    def interpolated(values: list[np.ndarray]) -> np.ndarray:
        stacked = np.stack(values)
        flat = stacked.reshape(len(known), -1)
        full = np.stack([np.interp(every, known, column) for column in flat.T], 1)
        return full.reshape(len(faces), *stacked.shape[1:])

    present = [f for f in faces if f is not None]
    depth, scores = [f.depth for f in present], [f.scores for f in present]
    rotation = [faces[i].rotation for i in nearest]  # type: ignore[union-attr]  # first guesses only: the nearest will do
    return FaceTrack(
        points=interpolated([f.points for f in present]),
        depth=None if any(d is None for d in depth) else interpolated(depth),  # type: ignore[arg-type]
        rotation=None if any(r is None for r in rotation) else np.stack(rotation),  # type: ignore[arg-type]
        scores=None if any(s is None for s in scores) else interpolated(scores).astype(np.float32),  # type: ignore[arg-type]
        detected=found.astype(np.float32),
    )


# ---------------------------------------------------------------------------------------------------------------------
# What cannot be used


def _no_face(sides: list, where: str) -> UserError:
    largest = [float(s.max()) for s in sides if len(s)]
    if largest:
        return UserError(
            f"{where}: its faces are at most {max(largest):.0f} px large, at least {SMALLEST:.0f} px are needed; "
            "give a larger picture of the face"
        )
    return UserError(f"{where}: no face found in {len(sides)} frames; is a face visible, upright and large enough?")


def _too_short(stretch: Stretch, findings: Sequence[Finding], where: str) -> UserError:
    reasons = [f"{f.message} ({time_code(f.begin)})" for f in findings]
    more = f" and {len(reasons) - 3} more such places" if len(reasons) > 3 else ""
    return UserError(
        f"{where}: the longest part that shows one face without a cut lasts {stretch.seconds:.2f} s, at least "
        f"{SHORTEST:g} s is needed: {'; '.join(reasons[:3])}{more}; give a recording of one person in one shot"
    )
