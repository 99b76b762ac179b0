"""Batches of a clip's frames for training and evaluation.

Which frames a batch holds is a pure function of (seed, step), so that a resumed run sees what an unbroken one would.
"""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jax_talker.data.batches.motion_features import MotionFeatures
from jax_talker.data.clip.clip import Clip
from jax_talker.errors import UserError
from jax_talker.types import FrameBatch

TEST_FRACTION = 1 / 11  # the field's split: the last eleventh, contiguous
LEAST_TRAINED = 2  # frames: training takes successive ones in couples
CACHE_LIMIT = 2**30  # bytes of decoded frames and masks kept in memory; the rest is read from disk each time


@dataclass(frozen=True)
class Split:
    """Frame numbers for training and for the held-out tail."""

    train: np.ndarray
    test: np.ndarray


def split(frames: int, test_fraction: float = TEST_FRACTION, boundaries: Sequence[int] = ()) -> Split:
    """The first part trains, the contiguous tail tests (peers.md G): int(10 N / 11) frames train, as in the field.

    In a clip that is joined from recordings, none is divided: the border moves to the nearest of ``boundaries``, as
    long as half of the clip is left to train on. UserError where too few frames are left.
    """
    test = max(1, math.ceil(frames * test_fraction - 1e-9))
    border = min(
        (j for j in boundaries if frames / 2 <= j < frames), key=lambda j: abs(j - frames + test), default=frames - test
    )
    if border < LEAST_TRAINED:
        raise UserError(
            f"a clip of {frames} frames is too short: with a share of {test_fraction:.3g} held out, {max(border, 0)} "
            f"are left to train on, at least {LEAST_TRAINED} are needed; prepare a longer one"
        )
    return Split(np.arange(border), np.arange(border, frames))


class FrameStore:
    """Frames and masks of one camera, decoded when they are asked for and kept while they fit into ``limit`` bytes.

    So a clip of any length trains in the same memory; what does not fit costs a few milliseconds each time. Threads
    that make batches may all ask at once: OpenCV decodes without Python's lock.
    """

    def __init__(self, clip: Clip, limit: int = CACHE_LIMIT):
        self.clip, self._left = clip, limit
        self._kept: dict[tuple[str, int], np.ndarray] = {}
        self._keeping = threading.Lock()

    def images(self, indices: np.ndarray) -> np.ndarray:
        """[B, H, W, 3] uint8."""
        return self._get("image", self.clip.image, indices)

    def masks(self, indices: np.ndarray) -> np.ndarray:
        """[B, H, W, 3] uint8: upper, lower, head."""
        return self._get("masks", self.clip.masks, indices)

    def valid(self, indices: np.ndarray) -> np.ndarray:
        """[B, H, W] uint8: 0 where nothing is known."""
        return self._get("valid", self.clip.valid, indices)

    def _get(self, kind: str, read: Callable[[int], np.ndarray], indices: np.ndarray) -> np.ndarray:
        wanted = {i: self._one(kind, read, i) for i in dict.fromkeys(indices.tolist())}
        return np.stack([wanted[i] for i in indices.tolist()])

    def _one(self, kind: str, read: Callable[[int], np.ndarray], index: int) -> np.ndarray:
        value = self._kept.get((kind, index))
        if value is not None:
            return value
        value = read(index)
        with self._keeping:
            if value.nbytes <= self._left and (kind, index) not in self._kept:
                self._left -= value.nbytes
                self._kept[kind, index] = value
        return value


class ClipFrames:
    """A clip's frames together with their audio windows, as FrameBatches.

    ``windows`` [T, S, F] are the per-frame feature windows (audio.windows.frame_windows); ``reach`` A is how many
    neighbouring frames the audio adapter looks at: frame i gets the windows of [i − A/2, i + A/2), zeros outside
    its recording. ``motion`` is what faces do in all frames of the clip (motion_features).
    """

    def __init__(self, clip: Clip, windows: np.ndarray, reach: int, motion: MotionFeatures):
        if len(windows) != clip.frames:
            raise ValueError(f"{len(windows)} audio windows for {clip.frames} frames")
        self.clip = clip
        self.store = FrameStore(clip)
        self.motion = motion
        self.windows = windows
        self._neighbours = neighbourhoods(windows, reach, clip.boundaries)

    def frames(self, indices: np.ndarray) -> FrameBatch:
        """The frames ``indices`` [B] as a batch on the default device, ready to be computed with."""
        share = lambda x: x / np.float32(255) if x.dtype == np.uint8 else x  # noqa: E731
        return jax.device_put(jax.tree.map(share, self.stored(indices)))

    def stored(self, indices: np.ndarray) -> FrameBatch:
        """The same on the host, pixels and masks as the bytes that they are stored as: for training to send on."""
        indices = np.asarray(indices)
        masks = self.store.masks(indices)
        pixels = {"image": self.store.images(indices), "valid": self.store.valid(indices)}
        pixels |= {name: masks[..., place] for place, name in enumerate(("upper", "lower", "head"))}
        return FrameBatch(**pixels, **self._described(indices))

    def heard_only(self, indices: np.ndarray) -> FrameBatch:
        """The same without pictures (of 0 × 0 pixels): what learns from sound and motion alone reads none."""
        indices = np.asarray(indices)
        nothing = np.zeros((len(indices), 0, 0), np.float32)
        pixels = {"image": nothing[..., None].repeat(3, -1)}
        pixels |= {name: nothing for name in ("upper", "lower", "head", "valid")}
        return FrameBatch(**pixels, **self._described(indices))

    def _described(self, indices: np.ndarray) -> dict[str, Any]:
        return {
            "label": self.clip.arrays["label"][indices].astype(np.float32),
            "audio": self._neighbours(indices),
            "blink": self.clip.arrays["blink"][indices].astype(np.float32),
            "expression": self.motion.expression[indices],
            "lips": self.motion.lips[indices],
            "index": indices.astype(np.int32),
        }

    def couples(
        self,
        indices: np.ndarray,
        batch: int,
        cross: int,
        seed: int,
        weights: np.ndarray | None = None,
        rows: np.ndarray | None = None,
    ) -> "Couples":
        """Which of the frames ``indices`` each training batch shows; ``weights`` [T] say how often a frame of the clip
        is drawn (None: all alike), ``rows`` are those of a batch's rows that are made, in their order (None: all)."""
        if batch % 2 or batch < 2 * cross:
            raise UserError(
                f"a batch holds couples of successive frames, {cross} of them crossed; it cannot be {batch}"
            )
        starts = indices[:-1][~np.isin(indices[1:], self.clip.boundaries)]  # a boundary's two frames are not successive
        share = np.ones(len(starts)) if weights is None else weights[starts] * weights[starts + 1]
        return Couples(starts, share / share.sum(), batch // 2, cross, seed, slice(None) if rows is None else rows)

    def pairs(self, couples: "Couples", step: int) -> tuple[FrameBatch, FrameBatch]:
        """The training batch (i, j) of a step, on the host: frames whose upper face and whose lower face is shown."""
        i, j = couples.of(step)
        shown = self.stored(i)
        return shown, self.stored(j) if couples.cross else shown


@dataclass(frozen=True)
class Couples:
    """The frames of training batches: successive ones side by side (0 and 1, 2 and 3, …), so that smoothness in time
    can be measured; in the last ``cross`` couples the lower face is an unrelated frame's, j ≠ i (method.md 5)."""

    starts: np.ndarray  # first frames of all couples that there are
    share: np.ndarray  # how often each is drawn
    count: int  # in a batch
    cross: int
    seed: int
    rows: np.ndarray | slice  # of a batch's rows, those that are made

    def of(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The numbers (i, j) of the frames that a step shows, a function of (seed, step)."""
        rng = np.random.default_rng((self.seed, step))
        first = rng.choice(self.starts, size=self.count, p=self.share)
        other = first.copy()
        if self.cross:
            other[-self.cross :] = rng.choice(self.starts, size=self.cross, p=self.share)
        i, j = (np.stack([s, s + 1], 1).ravel()[self.rows] for s in (first, other))
        return i, j


def neighbourhoods(windows: np.ndarray, reach: int, boundaries: Sequence[int] = ()):
    """A function from frame numbers [B] to audio [B, A, S, F]: windows of [i − A/2, i + A/2), zeros outside the clip,
    and outside i's recording where ``boundaries`` says with which frames others begin."""
    last = len(windows) - 1
    recording = np.searchsorted(sorted(boundaries), np.arange(len(windows)), "right")

    def gather(indices: np.ndarray) -> np.ndarray:
        wanted = indices[:, None] + np.arange(reach) - reach // 2
        near = wanted.clip(0, last)
        own = (near == wanted) & (recording[near] == recording[indices][:, None])
        return np.where(own[..., None, None], windows[near], 0).astype(np.float32)  # ``windows`` may be a view: no copy

    return gather
