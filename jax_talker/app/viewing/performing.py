"""What a head in the viewer says: a sound, the coefficients of its frames, and when each of them is to be seen."""

import base64
import io
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import soundfile
from jaxtyping import Float32

from jax_talker.app import talking
from jax_talker.app.speaking import Speaker
from jax_talker.data.clip.clip import FPS, SAMPLE_RATE, Clip
from jax_talker.data.read.audio import speech_of
from jax_talker.data.read.sound import open_sound
from jax_talker.errors import UserError
from jax_talker.models.navigator import Coefficients

LONGEST = 300.0  # s; the browser is handed the whole sound at once


@dataclass(frozen=True)
class Performance:
    """A sound and the face that says it."""

    name: str
    sound: Float32[np.ndarray, " samples"]  # 16 kHz mono
    coefficients: Coefficients  # [T, ·]
    truth: np.ndarray | None = None  # frame numbers [T] of the clip that was filmed saying it
    seed: int = 0  # of its blinks, where it is not the clip

    @property
    def frames(self) -> int:
        return len(self.coefficients.lips)

    def at(self, frame: int) -> Coefficients:
        """Coefficients [·] of one frame."""
        return jax.tree.map(lambda x: np.asarray(x[frame]), self.coefficients)

    def cut(self, seconds: float) -> "Performance":
        """Its first seconds."""
        frames = min(self.frames, int(seconds * FPS))
        coefficients = jax.tree.map(lambda x: x[:frames], self.coefficients)
        truth = None if self.truth is None else self.truth[:frames]
        sound = self.sound[: frames * SAMPLE_RATE // FPS]
        return replace(self, sound=sound, coefficients=coefficients, truth=truth)

    def wav(self) -> str:
        """The sound as a data: address of a WAV file (16 bit), for the page to play."""
        file = io.BytesIO()
        soundfile.write(file, self.sound, SAMPLE_RATE, format="WAV", subtype="PCM_16")
        return "data:audio/wav;base64," + base64.b64encode(file.getvalue()).decode()


def perform(config: Any, speaker: Speaker, path: Path, *, name: str = "", seed: int = 0) -> Performance:
    """Any file with sound, said by the head, with blinks of its own (``seed``).

    UserError where it is no sound, or longer than LONGEST.
    """
    name = name or path.name
    sound = speech_of(open_sound(path))
    if (seconds := len(sound) / SAMPLE_RATE) > LONGEST:
        raise UserError(f"{name}: lasts {seconds:.0f} s; the viewer plays {LONGEST:.0f} s at most, render any length")
    return say(config, speaker, name, sound, seed=seed)


def say(config: Any, speaker: Speaker, name: str, sound: Float32[np.ndarray, " samples"], *, seed: int) -> Performance:
    """Speech (16 kHz mono), said by the head."""
    script = talking.script_for(sound, "front", held=speaker.usual, clip=None, seed=seed)
    return Performance(name, sound, talking.moving(config, speaker, script), seed=seed)


def perform_clip(config: Any, speaker: Speaker, clip: Clip) -> Performance:
    """All of the clip's own sound and blinks, with its frames as the truth."""
    script = talking.script_of_clip(clip, np.arange(clip.frames), "front")
    return Performance("the clip", script.sound, talking.moving(config, speaker, script), np.arange(clip.frames))


class Player:
    """Which frame of a performance is to be seen now.

    Frames follow the clock, as the sound does: what cannot be drawn in time is passed over, never shown late.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._lock = clock, threading.Lock()  # sliders and buttons are other threads
        self._performance: Performance | None = None
        self._begun: float | None = None  # the clock's time of frame 0; None: it stands still
        self._still = 0  # the frame that is shown then

    @property
    def performance(self) -> Performance | None:
        return self._performance

    @property
    def playing(self) -> bool:
        return self._begun is not None

    def load(self, performance: Performance | None) -> None:
        """Another performance, standing at its first frame; None: the head says nothing."""
        with self._lock:
            self._performance, self._begun, self._still = performance, None, 0

    def renew(self, performance: Performance) -> None:
        """The same sound with another motion; the time goes on."""
        with self._lock:
            self._performance = performance

    def play(self) -> float:
        """Go on from where it stands, from the beginning after the end; returns the sound's time in seconds."""
        with self._lock:
            if self._performance is None:
                raise UserError("choose a sound first")
            if self._still >= self._performance.frames - 1:
                self._still = 0
            self._begun = self._clock() - self._still / FPS
            return self._still / FPS

    def stop(self) -> None:
        """Stand still at the frame that is seen now."""
        with self._lock:
            self._still, self._begun = self._now(0.0) or 0, None

    def seek(self, frame: int) -> None:
        """Stand still at ``frame``."""
        with self._lock:
            self._still, self._begun = self._within(frame), None

    def frame(self, ahead: float = 0.0) -> int | None:
        """The frame that is to be seen in ``ahead`` seconds (what drawing it takes); None without a performance.

        After the last one it stands still there.
        """
        with self._lock:
            found = self._now(ahead)
            frames = self._performance.frames if self._performance is not None else 0
            if found is not None and self._begun is not None and self._clock() - self._begun >= frames / FPS:
                self._still, self._begun = found, None
            return found

    def _now(self, ahead: float) -> int | None:
        if self._performance is None:
            return None
        if self._begun is None:
            return self._still
        return self._within(int((self._clock() - self._begun + ahead) * FPS))

    def _within(self, frame: int) -> int:
        last = self._performance.frames - 1 if self._performance is not None else 0
        return min(max(frame, 0), last)
