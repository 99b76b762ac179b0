"""The door that all extractors stand behind, and how many steps a sound has."""

import hashlib
from fractions import Fraction
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from jax_talker.data.clip.clip import SAMPLE_RATE


@runtime_checkable
class Extractor(Protocol):
    """Turns sound (16 kHz mono in [−1, 1]) into feature steps; step r belongs to the sound around r / ``rate`` s.

    Rows of zeros stand for what was never heard (before a recording and behind it), so zero should mean silence.
    """

    @property
    def name(self) -> str:
        """What configurations call it."""
        ...

    @property
    def num_features(self) -> int:
        """F, numbers per step."""
        ...

    @property
    def rate(self) -> int:
        """Steps a second; a multiple of the video's 25."""
        ...

    @property
    def lookahead(self) -> float:
        """ms: a step depends on no sound that is later than its own time plus this; ``inf`` where on all of it."""
        ...

    @property
    def bands(self) -> tuple[float, ...]:
        """Hz, the centre of each number's band, where numbers are log-mel's (logmel.py); empty where they are not."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 (hex) that differs wherever features may: of the extractor, its version, and its weights."""
        ...

    def extract(self, wave: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, "T F"]:
        """The steps of a sound, [num_steps(samples, rate), F]."""
        ...


def num_steps(samples: int, rate: int) -> int:
    """round(seconds · rate) of ``samples`` of 16 kHz sound; Python's round, exact."""
    return round(Fraction(samples * rate, SAMPLE_RATE))


def digest_of(*parts: str) -> str:
    """One SHA-256 (hex) of several texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
