"""Sound in pieces, frames out, with a bounded delay: a trained head that listens."""

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, BinaryIO

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, UInt8

from jax_talker.app.speaking import Speaker, smoothed
from jax_talker.app.talking import batches_of
from jax_talker.audio.extractor import Extractor
from jax_talker.audio.hearing import HearingStream
from jax_talker.audio.level import Level
from jax_talker.audio.windows import WINDOW
from jax_talker.blinking import blinks
from jax_talker.data.clip.clip import FPS, SAMPLE_RATE
from jax_talker.data.read.audio import num_video_frames
from jax_talker.data.read.live import Tape
from jax_talker.errors import UserError
from jax_talker.models.navigator import Coefficients

AN_HOUR = 3600 * FPS  # frames; what blinks are drawn for at once


def listen(
    stream: "Stream", source: Iterable[np.ndarray], tape: Tape | None, report: Callable[[str], None]
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The frames of a source's sound as it comes; what was heard goes onto ``tape`` where somebody takes it off again.
    At the end ``report`` gets a line with the time that was computed for each second of sound. UserError where nothing
    was heard."""
    computed = heard = 0.0
    shown = False
    last = np.zeros(0, np.float32)
    for block in chain(source, [last]):
        if tape is not None:
            tape.add(block)
        heard += len(block) / SAMPLE_RATE
        begun = time.perf_counter()
        for frame in stream.finish() if block is last else stream.feed(block):
            computed += time.perf_counter() - begun
            shown = True
            yield frame
            begun = time.perf_counter()
        computed += time.perf_counter() - begun
    if not shown:
        raise UserError(f"there are {1000 * heard:.0f} ms of sound, which is not enough for a single frame")
    report(f"{heard:.2f} s of sound, real-time factor {computed / heard:.2f}; frames {stream.latency:.3f} s behind")


def until_interrupted(
    source: Iterator[np.ndarray], report: Callable[[str], None]
) -> Iterator[Float32[np.ndarray, " n"]]:
    """``source`` until the first Ctrl-C, at whatever work that comes: the sound ends there, and what is made of it can
    be finished, which ``report`` is told. A second one interrupts as ever."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # ignored (a job of a script), or another's
        yield from source
        return
    waiting = ended = False

    def end(*_: object) -> None:
        nonlocal ended
        ended = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if waiting:  # perhaps for sound that never comes
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, end)
    try:
        while not ended:
            waiting = True
            block = next(source, None)
            waiting = False
            if block is None:
                break
            yield block
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if ended:
        report("the sound ends here; what was heard of it is finished (Ctrl-C again: at once, and nothing is kept)")


def pour(frames: Iterable[np.ndarray], pipe: BinaryIO) -> None:
    """Raw frames into ``pipe`` as they come, until they end or who reads them has had enough."""
    for frame in frames:
        try:
            pipe.write(frame.tobytes())
            pipe.flush()
        except BrokenPipeError:
            with open(os.devnull, "wb") as nowhere:  # what it still holds is written when Python ends
                os.dup2(nowhere.fileno(), pipe.fileno())
            return


class Stream:
    """Frames of a head that hears a sound piece by piece; the same frames as of the whole sound at the same gain.

    ``label`` [25] is the camera, ``held`` the one under which the head is held (by default the same). ``smoothing`` is
    the deviation in frames of config.render. ``gain`` (dB) brings speech to ``level`` (None: found while listening).
    Frames are drawn ``at_once``: more is faster, and waits longer. ``blink`` [T] says how closed the lids are; beyond
    it they are drawn with ``seed``.
    """

    def __init__(
        self,
        speaker: Speaker,
        extractor: Extractor,
        level: Level,
        label: Float32[np.ndarray, "25"],
        size: int,
        *,
        smoothing: float,
        held: Float32[np.ndarray, "25"] | None = None,
        gain: float | None = None,
        at_once: int = 2,
        blink: np.ndarray | None = None,
        seed: int = 0,
    ):
        self._speaker, self._size, self._at_once, self._smoothing = speaker, size, at_once, smoothing
        self._hearing = HearingStream(extractor, level, gain)
        self._label, self._held = (
            jnp.asarray(np.tile(one, (at_once, 1))) for one in (label, label if held is None else held)
        )
        self._stride = extractor.rate // FPS
        self._half = WINDOW * self._stride // 4  # steps of a window before the frame's own
        self._radius = int(4 * smoothing + 0.5) if smoothing else 0  # of SciPy's filter
        self._blink, self._seed = np.zeros(0) if blink is None else blink, seed
        self._samples = 0
        self._steps = np.zeros((0, extractor.num_features), np.float32)
        self._first_step = 0
        self._found: list[np.ndarray] = []  # coefficients of frames from ``first_found`` on, both kinds side by side
        self._first_found = self._shown = 0

    @property
    def latency(self) -> float:
        """s: how much later than its time a frame is known, the time of computing it not counted."""
        ahead = self._speaker.reach - self._speaker.reach // 2 - 1 + self._radius + self._at_once - 1
        window = (self._half - 1) / (self._stride * FPS)
        return ahead / FPS + window + self._hearing.delay / 1000

    def feed(self, sound: Float32[np.ndarray, " n"]) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """The frames [size, size, 3] that are complete with these samples (16 kHz mono in [−1, 1])."""
        self._samples += len(sound)
        self._steps = np.concatenate([self._steps, self._hearing.feed(sound)])
        heard = self._first_step + len(self._steps)
        complete = max(0, (heard - self._half) // self._stride + 1)  # frames whose whole windows were heard
        reach = self._speaker.reach
        known = complete - reach + reach // 2 + 1
        self._find(known - known % self._at_once, complete)
        yield from self._show(self._first_found + len(self._found) - self._radius, None)

    def finish(self) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """The last frames; all together are one for each 1/25 s."""
        self._steps = np.concatenate([self._steps, self._hearing.finish()])
        total = num_video_frames(self._samples)
        self._find(total, total)
        yield from self._show(total, total)

    def _find(self, until: int, frames: int) -> None:
        """Coefficients of the frames before ``until``; from ``frames`` on there are none, and nothing is heard."""
        reach, size = self._speaker.reach, 2 * self._half
        first = self._first_found + len(self._found)
        for indices, own in batches_of(np.arange(first, until), self._at_once):
            near = indices[:, None] + np.arange(reach) - reach // 2  # [B, A] frames whose windows each one hears
            steps = near[..., None] * self._stride + np.arange(size) - self._half - self._first_step  # [B, A, S]
            there = (near >= 0) & (near < frames)
            there = there[..., None] & (steps >= 0) & (steps < len(self._steps))
            audio = np.where(there[..., None], self._steps[steps.clip(0, len(self._steps) - 1)], 0)
            heard = self._speaker.heard(jnp.asarray(audio, jnp.float32), jnp.asarray(self._lids(indices), jnp.float32))
            self._found += list(np.concatenate([np.asarray(part) for part in heard], 1)[:own])
        behind = max(0, (max(first, until) - reach) * self._stride - size)  # no frame to come hears these
        if behind > self._first_step:
            self._steps, self._first_step = self._steps[behind - self._first_step :], behind

    def _lids(self, indices: np.ndarray) -> np.ndarray:
        known = len(self._blink)
        if indices[-1] >= known:
            hours = 1 + int(indices[-1]) // AN_HOUR
            drawn = blinks(hours * AN_HOUR, np.random.default_rng(self._seed))
            self._blink = np.concatenate([self._blink, drawn[known:]])
        return self._blink[indices]

    def _show(self, until: int, total: int | None) -> Iterator[np.ndarray]:
        """Frames before ``until``, at the end (``total`` known) all of them."""
        if total is None:
            until = max(self._shown, until - (until - self._shown) % self._at_once)
        if until <= self._shown:
            return
        talker = self._speaker.head.talker
        values: Any = np.stack(self._found)
        both = Coefficients(values[:, : talker.expressions], values[:, talker.expressions :])
        even = smoothed(both, self._smoothing)
        for indices, own in batches_of(np.arange(self._shown, until), self._at_once):
            part = jax.tree.map(lambda x, i=indices - self._first_found: jnp.asarray(np.asarray(x)[i]), even)
            shown = self._speaker.pictures(part, self._held, self._label, self._size)
            yield from np.asarray(jnp.round(shown * 255).astype(jnp.uint8))[:own]
        self._shown = until
        drop = max(0, until - self._radius - self._first_found)
        self._found, self._first_found = self._found[drop:], self._first_found + drop
