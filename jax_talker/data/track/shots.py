"""Where a new shot begins: a small signature of every picture, and the cuts that a sequence of signatures shows.

A cut is where all pictures before differ from all pictures after, far more than neighbours within either side do. So a
flash is none (the picture comes back), nor a shaking head or a zoom (their pictures differ from their neighbours
alike). A cross-fade is found by its straightness: the whole picture changes, and every step of it is a mixture of the
same two pictures.

PySceneDetect 0.7.2 does less well on our clips and joins of them: of 19 edges its ContentDetector and its
AdaptiveDetector find 9, both take a flash for two cuts and neither sees a cross-fade, in 3.8 s; this finds 15 in 0.6 s
(of both, no jump cut within a resting shot). At DIFFERENT 0.25 a grimace in ``long_30fps`` was a cut, at 0.26.
"""

import cv2
import numpy as np
from jaxtyping import UInt8

CELLS = 16  # a signature is a thumbnail of CELLS × CELLS pixels
SAMPLES = 128  # pixels of a picture's row and column that are looked at
AROUND = 4  # pictures before and after that are compared; what is over sooner counts as a flash
DIFFERENT = 0.35  # distance of two shots, 0 alike … about 1 unrelated; unlike ones are 0.5 apart or more
STANDS_OUT = 2.5  # times the distance of neighbouring pictures
FLAT = 16.0  # levels; contrast below which a thumbnail's noise is not stretched
FADES = (6, 12, 25)  # pictures; lengths of cross-fade that are looked for
FADE_EDGE, FADE_STEP = 0.05, 0.5  # of the way: what is noise, and what one picture's share may at most grow by
FADE_BEND = 0.12  # of the way from one shot to the other: how far a fade's pictures may lie off the straight line
FADE_AREA, FADE_CHANGE = 0.6, 0.2  # share of the thumbnail that changes by so much; a moving head leaves the wall alone
BLOCK, MARGIN = 512, 64  # pictures that are looked at together, and with how many of their neighbours


def signature(rgb: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, " S"]:
    """A picture's thumbnail, [16·16·3]; the same for every picture size."""
    thinned = cv2.resize(rgb, (SAMPLES, SAMPLES), interpolation=cv2.INTER_NEAREST)
    return cv2.resize(thinned, (CELLS, CELLS), interpolation=cv2.INTER_AREA).reshape(-1)


def find_cuts(signatures: UInt8[np.ndarray, "T S"]) -> list[int]:
    """Numbers of the pictures with which a new shot begins, 0 excluded; a cross-fade is a shot of its own."""
    cuts: set[int] = set()
    for first in range(0, len(signatures), BLOCK):
        begin = max(0, first - MARGIN)
        own = _cuts_in(signatures[begin : first + BLOCK + MARGIN])
        cuts |= {begin + t for t in own if first <= begin + t < first + BLOCK}
    return sorted(cuts)


def _cuts_in(signatures: np.ndarray) -> list[int]:
    looks = _looks(signatures)
    hard = _hard_cuts(looks)
    return [*hard, *_fades(signatures.astype(np.float32), looks, hard)]


def _looks(signatures: np.ndarray) -> np.ndarray:
    """Signatures without brightness and contrast, so that auto-exposure and flicker are no change; [T, S], unit RMS."""
    values = signatures.astype(np.float32)
    values = values - values.mean(1, keepdims=True)
    return values / np.maximum(values.std(1, keepdims=True), FLAT)


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """0 alike … 1 unrelated."""
    return np.sqrt(np.mean((a - b) ** 2, -1) / 2)


def _hard_cuts(looks: np.ndarray) -> list[int]:
    step = _distance(looks[1:], looks[:-1])  # [T − 1]: from picture t to t + 1
    cuts = []
    for t in np.flatnonzero(step > DIFFERENT) + 1:
        first, last = max(0, t - AROUND), min(len(looks), t + AROUND)
        across = _distance(looks[first:t, None], looks[None, t:last]).min()
        restless = max((float(np.median(s)) for s in (step[first : t - 1], step[t : last - 1]) if len(s)), default=0.0)
        if across > max(DIFFERENT, STANDS_OUT * restless):
            cuts.append(int(t))
    return cuts


def _fades(values: np.ndarray, looks: np.ndarray, cuts: list[int]) -> list[int]:
    """First pictures of cross-fades and of the shots after them."""
    found: list[tuple[int, int]] = []
    taken = np.zeros(len(values), bool)
    taken[cuts] = True
    for length in sorted(FADES, reverse=True):
        ends = length + 1  # from the last picture of one shot to the first of the next
        if len(values) <= ends:
            continue
        far = _distance(looks[ends:], looks[:-ends])
        for t in np.argsort(-far, kind="stable")[: np.count_nonzero(far > DIFFERENT)].tolist():  # whole fades first
            everywhere = np.mean(np.abs(looks[t + ends] - looks[t]) > FADE_CHANGE) > FADE_AREA
            if everywhere and not taken[t : t + ends + 1].any() and _is_straight(values[t : t + ends + 1]):
                share = _share(values[t : t + ends + 1])
                found.append((int(t + np.argmax(share > FADE_EDGE)), int(t + np.argmax(share > 1 - FADE_EDGE))))
                taken[t : t + ends + 1] = True
    return [edge for begin, end in found for edge in (begin, end)]


def _is_straight(values: np.ndarray) -> bool:
    """Whether a run of pictures goes steadily along the line from its first to its last."""
    share, way = _share(values), values[-1] - values[0]
    off = np.linalg.norm(values - values[0] - share[:, None] * way, axis=1) / np.linalg.norm(way)
    steps = np.diff(share)
    return bool(off.max() < FADE_BEND and steps.min() > -FADE_EDGE and steps.max() < FADE_STEP)


def _share(values: np.ndarray) -> np.ndarray:
    """How much of the last picture is in each of a run of pictures, by projection."""
    way = values[-1] - values[0]
    return (values - values[0]) @ way / (way @ way)
