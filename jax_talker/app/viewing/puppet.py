"""What the sliders of a head mean: so many standard deviations of a coefficient, a blink, an open mouth."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jax_talker.app import builders
from jax_talker.app.speaking import Speaker
from jax_talker.audio.hearing import hear
from jax_talker.data.batches.dataset import neighbourhoods
from jax_talker.data.check.doctor.signals import mouth_and_jaw
from jax_talker.data.clip.clip import FPS, SAMPLE_RATE, Clip
from jax_talker.data.track.landmarks import scheme_of
from jax_talker.models.navigator import Coefficients

REACH = 2.0  # standard deviations to either side that a slider goes
SILENCE = 1.0  # s, in which is heard what a blink does
UNMEASURED = 1 / 3  # of a typical walk: what a motion of unit deviation begins as in training (navigator)


@dataclass(frozen=True)
class Pull:
    """Where the sliders stand; all zero is the face at rest."""

    expression: Float[np.ndarray, " E"]  # standard deviations of each coefficient
    lips: Float[np.ndarray, " P"]
    jaw: float = 0.0  # standard deviations of how far the mouth is open
    blink: float = 0.0  # 0 open … 1 closed


@dataclass(frozen=True)
class Puppet:
    """Turns where sliders stand into coefficients; built by ``make_puppet``."""

    spread: Coefficients  # [·] one standard deviation of each
    blinks: Coefficients  # [B, ·] what lids add, from open to closed
    jaw: Coefficients | None  # [·] of a mouth that is one standard deviation further open; None: no clip tells
    measured: bool  # whether ``spread`` is of the clip's training frames, or a guess

    @property
    def rest(self) -> Pull:
        """Nothing pulled."""
        return Pull(np.zeros(len(self.spread.expression)), np.zeros(len(self.spread.lips)))

    def coefficients(self, pull: Pull, spoken: Coefficients | None = None) -> Coefficients:
        """Coefficients [1, ·] of a face that is pulled, on top of what it says (``spoken`` [·]) or of its rest."""
        closing = np.linspace(0, 1, len(self.blinks.lips))
        found = []
        for part in range(2):
            moved = np.asarray((pull.expression, pull.lips)[part]) * np.asarray(self.spread[part])
            for k, lid in enumerate(np.asarray(self.blinks[part]).T):
                moved[k] += np.interp(pull.blink, closing, lid)
            if self.jaw is not None:
                moved = moved + pull.jaw * self.jaw[part]
            if spoken is not None:
                moved = moved + np.asarray(spoken[part])
            found.append(jnp.asarray(moved[None], jnp.float32))
        return Coefficients(*found)


def make_puppet(config: Any, speaker: Speaker, of_clip: Coefficients | None, clip: Clip | None) -> Puppet:
    """The puppet of a trained head. ``of_clip`` [T, ·] are the coefficients of all of its clip's frames."""
    blinks = _blinks(config, speaker)
    if clip is None or of_clip is None:
        talker = speaker.head.talker
        usual = UNMEASURED * talker.gain
        spread = Coefficients(jnp.full(talker.expressions, usual), jnp.full(talker.lips, usual))
        return Puppet(spread, blinks, None, measured=False)
    train = builders.clip_split(config, clip).train
    frames = jax.tree.map(lambda x: np.asarray(x, np.float64)[train], of_clip)
    spread = jax.tree.map(lambda x: x.std(0), frames)
    landmarks = np.asarray(clip.arrays["landmarks"], np.float64)
    opening = mouth_and_jaw(landmarks, scheme_of(landmarks.shape[1]))[0][train]
    opening = (opening - opening.mean()) / max(float(opening.std()), 1e-9)
    jaw = jax.tree.map(lambda x: opening @ (x - x.mean(0)) / len(opening), frames)  # regression on the opening
    return Puppet(spread, blinks, jaw, measured=True)


def _blinks(config: Any, speaker: Speaker) -> Coefficients:
    """What lids add to coefficients while they close, heard in silence."""
    frames = round(SILENCE * FPS)
    silence = np.zeros(round(SILENCE * SAMPLE_RATE), np.float32)
    windows = hear(builders.extractor(config), builders.level(config), silence, frames)
    audio = neighbourhoods(windows, speaker.reach, ())(np.full(speaker.batch, frames // 2))
    heard = speaker.heard(jnp.asarray(audio), jnp.linspace(0, 1, speaker.batch))
    return jax.tree.map(lambda x: np.asarray(x) - np.asarray(x[0]), heard)
