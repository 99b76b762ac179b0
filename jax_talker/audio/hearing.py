"""From a sound to what each video frame hears of it; what was extracted once is kept."""

import hashlib
import logging
import os
import secrets
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float32

from jax_talker.audio.background import BackgroundStream, background_steps
from jax_talker.audio.extractor import Extractor, digest_of
from jax_talker.audio.level import Level, normalised
from jax_talker.audio.streaming import LevelStream, steps_of
from jax_talker.audio.windows import frame_windows
from jax_talker.data.clip.clip import FPS, SAMPLE_RATE
from jax_talker.data.read.boundaries import recordings

FOLDER = "features"  # of a clip: what extractors made of its sound

log = logging.getLogger(__name__)


def hear(
    extractor: Extractor,
    level: Level,
    sound: Float32[np.ndarray, " samples"],
    num_frames: int,
    boundaries: Sequence[int] = (),
    *,
    keep: Path | None = None,
) -> Float32[np.ndarray, "num_frames S F"]:
    """The feature windows of every frame, of ``sound`` at the ``level`` at which a head hears speech.

    Each recording of a joined sound (``boundaries``: frames) is extracted by itself. With ``keep`` features are stored
    in that folder under a name that says of what they are, and found again. Where a recording is nothing but its
    background, which ``level`` may have looked for, features are zeros.
    """
    leveled = normalised(sound, level)
    features = _kept(extractor, leveled, boundaries, keep) if keep else _extracted(extractor, leveled, boundaries)
    if level.background:
        parts = [background_steps(part, extractor.rate, level.background) for part in _recorded(sound, boundaries)]
        features = np.where(np.concatenate(parts)[:, None], np.float32(0), features)
    return frame_windows(features, num_frames, boundaries, rate=extractor.rate)


class HearingStream:
    """The steps that ``hear`` makes windows of, of sound that comes in pieces: its level (but for a given ``gain``, dB)
    and its background are found while it is heard."""

    def __init__(self, extractor: Extractor, level: Level, gain: float | None = None):
        self._level, self._steps = LevelStream(level, gain), steps_of(extractor)
        self._background = BackgroundStream(extractor.rate, level.background) if level.background else None
        self._lookahead = extractor.lookahead
        self._unsure = np.zeros((0, extractor.num_features), np.float32)  # steps that may be background, or not
        self._told = np.zeros(0, bool)  # of the same and later ones, which are

    @property
    def delay(self) -> float:
        """ms: how much later than its own time a step is known."""
        return max(self._lookahead + self._level.delay, self._background.lookahead if self._background else 0.0)

    def feed(self, sound: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, "m F"]:
        """The steps that are complete with these samples."""
        return self._sure(
            self._steps.feed(self._level.feed(sound)), self._background.feed(sound) if self._background else None
        )

    def finish(self) -> Float32[np.ndarray, "m F"]:
        """The last steps."""
        steps = np.concatenate([self._steps.feed(self._level.finish()), self._steps.finish()])
        return self._sure(steps, self._background.finish() if self._background else None)

    def _sure(self, steps: np.ndarray, told: np.ndarray | None) -> np.ndarray:
        if told is None:
            return steps
        self._unsure, self._told = np.concatenate([self._unsure, steps]), np.concatenate([self._told, told])
        sure = min(len(self._unsure), len(self._told))
        steps = np.where(self._told[:sure, None], np.float32(0), self._unsure[:sure])
        self._unsure, self._told = self._unsure[sure:], self._told[sure:]
        return steps


def _recorded(sound: np.ndarray, boundaries: Sequence[int]) -> list[np.ndarray]:
    """Each recording of a joined sound."""
    frames = -(-len(sound) * FPS // SAMPLE_RATE)
    per_frame = Fraction(SAMPLE_RATE, FPS)
    return [sound[int(r.start * per_frame) : int(r.stop * per_frame)] for r in recordings(frames, boundaries)]


def _extracted(extractor: Extractor, sound: np.ndarray, boundaries: Sequence[int]) -> np.ndarray:
    return np.concatenate([extractor.extract(part) for part in _recorded(sound, boundaries)])


def _kept(extractor: Extractor, sound: np.ndarray, boundaries: Sequence[int], folder: Path) -> np.ndarray:
    heard = hashlib.sha256(np.ascontiguousarray(sound).data).hexdigest()
    content = digest_of(extractor.digest, heard, *map(str, boundaries))
    path = folder / f"{extractor.name}-{content[:32]}.npz"
    if path.is_file():
        try:
            with np.load(path, allow_pickle=False) as stored:  # a zip: its checksum is checked
                return stored["features"]
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            log.warning("%s: damaged (%s); made anew", path, error)
    features = _extracted(extractor, sound, boundaries)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        folder.mkdir(exist_ok=True)
        try:
            with partial.open("wb") as file:
                np.savez(file, features=features)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        log.info("%s: audio features are not kept (%s)", folder, error.strerror)
    return features
