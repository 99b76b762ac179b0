"""One voice from many channels: how they are mixed so that it is heard as loud as in the loudest of them.

Recordings have the voice in the centre (5.1), on one side only (a microphone in a stereo recorder), or with one side's
phase turned round (a cable, a plug-in); the mean of the channels makes it quiet, or nothing.
"""

from collections.abc import Sequence

import av
import numpy as np
from jaxtyping import Float64

SIDE, AROUND = 0.5**0.5, 0.5  # of the front and the other channels beside a centre (ITU-R BS.775, −3 and −6 dB)
CANCELS = 0.5  # of the loudest channel; a mix that is quieter has lost what they share
HEARD = 0.01  # of the loudest; −40 dB, what is below is hum and hiss
FRONT = ("FL", "FR", "FLC", "FRC", "DL", "DR")
LOW = ("LFE", "LFE2")
# What a file without names of channels means by so many of them (Microsoft's order, as in WAV).
BY_COUNT = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


def named_layout(layout: av.AudioLayout) -> av.AudioLayout:
    """The same channels with names, where there are none and their number says enough."""
    count = layout.nb_channels
    if any(channel.name != "NONE" for channel in layout.channels) or count not in BY_COUNT:
        return layout
    return av.AudioLayout(BY_COUNT[count])


def mixing_weights(names: Sequence[str], power: Float64[np.ndarray, "C C"]) -> tuple[Float64[np.ndarray, " C"], str]:
    """(weights, why one channel is used alone, else ""): mono is weights · channels, as loud as the loudest of them.

    ``names`` are FFmpeg's (FL, FR, FC, LFE, BL, …), ``power`` is their covariance over the whole sound.
    """
    loud = np.sqrt(np.maximum(power.diagonal(), 0))
    weights = np.array([_usual_weight(name, "FC" in names) for name in names])
    best = int(np.argmax(loud * (weights > 0)))
    reason = ""
    if loud[best] < HEARD * loud.max():  # channels in another order than their names say
        best, reason = int(np.argmax(loud)), "the others are silent"
    mixed = float(np.sqrt(max(weights @ power @ weights, 0)))
    if not reason and mixed < CANCELS * loud[best]:
        reason = "together they cancel each other, as when one has its phase turned round"
    if reason:
        return np.eye(len(names))[best], f"channel {names[best]} is used alone: {reason}"
    return (weights * (loud[best] / mixed) if mixed > 0 else weights / weights.sum()), ""


def _usual_weight(name: str, has_centre: bool) -> float:
    if name in LOW or (name.startswith("AMBI") and name != "AMBI0"):
        return 0.0
    if not has_centre or name == "FC":
        return 1.0
    return SIDE if name in FRONT else AROUND
