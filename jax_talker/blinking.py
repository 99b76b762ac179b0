"""When people blink that nobody filmed: lids for new speech and for procedural heads."""

import numpy as np
from jaxtyping import Float64

from jax_talker.data.clip.clip import FPS


def blinks(frames: int, rng: np.random.Generator) -> Float64[np.ndarray, " frames"]:
    """How closed the lids are in every frame, 0 open … 1 closed; a blink every 1 to 6 seconds, whatever is said."""
    t = np.arange(frames) / FPS
    closed = np.zeros(frames)
    at = rng.uniform(0.5, 2.0)
    while at < frames / FPS:
        closing, opening = rng.uniform(0.07, 0.11), rng.uniform(0.12, 0.20)
        ramp = np.where(t < at, 1 - (at - t) / closing, 1 - (t - at) / opening)
        closed = np.maximum(closed, np.clip(1.25 * ramp, 0, 1))
        at += 1.0 + rng.exponential(2.2)
    return closed
