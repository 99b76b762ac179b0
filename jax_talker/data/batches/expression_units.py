"""Which ARKit expression units a clip's frames show, and which of them a face's motion features stand for.

A prior that stores a direction of its latent space for each unit (``priors.expressions``) can so be led by motion that
landmarks show from the first step on: lids close, and lips part onto teeth, as it knows them to.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Float32

from jax_talker.data.clip.clip import Clip

UPPER = ("brow", "eye", "cheekSquint")  # what the names of the upper face's units begin with
BLINKS = ("eyeBlinkLeft", "eyeBlinkRight")
RIDGE = 1e-2  # of the features' mean squares, which are of the order of 1


def units_shown(clip: Clip) -> dict[str, Float[np.ndarray, " T"]]:
    """Unit → its weight in each frame, 0 to 1: as the landmark model scored it, or as a made-up person moved. The
    blink is the clip's own (0 open … 1 closed), which every clip has."""
    shown: dict[str, np.ndarray] = {}
    for array, names in (("motion", "motion"), ("expression", "expression_names")):
        if isinstance(known := clip.source.get(names), list) and array in clip.arrays:
            shown |= dict(zip(known, clip.arrays[array].T, strict=True))
    return shown | dict.fromkeys(BLINKS, clip.arrays["blink"])


def units_of_features(
    shown: Mapping[str, np.ndarray], features: Float32[np.ndarray, "T C"], names: list[str]
) -> Float32[np.ndarray, "C U"]:
    """By how much each of ``names`` rises with each feature: least squares over frames, after their means."""
    centred = features - features.mean(0)
    wanted = np.stack([shown[name] for name in names], 1) if names else np.zeros((len(features), 0))
    ridge = RIDGE * len(features) * np.eye(features.shape[1])
    found = np.linalg.solve(centred.T @ centred + ridge, centred.T @ (wanted - wanted.mean(0)))
    return found.astype(np.float32)


def is_upper(unit: str) -> bool:
    """Whether a unit moves the upper face."""
    return unit.startswith(UPPER)
