"""What the classes of a face parsing network mean: one table for ``79999_iter.pth`` (face-parsing.PyTorch).

The order is that of CelebAMask-HQ's parts in that repository's preparation script with background first; other networks
trained on CelebAMask-HQ number the same parts differently. Its left and right are not to be relied on (its training
mirrored pictures without exchanging them), so nothing here tells one from the other.
"""

from enum import IntEnum

import numpy as np
from jaxtyping import Bool, UInt8


class FacePart(IntEnum):
    """A pixel's class."""

    BACKGROUND = 0
    SKIN = 1  # of the face; some hands as well
    LEFT_BROW = 2
    RIGHT_BROW = 3
    LEFT_EYE = 4
    RIGHT_EYE = 5
    GLASSES = 6
    LEFT_EAR = 7
    RIGHT_EAR = 8
    EARRING = 9
    NOSE = 10
    MOUTH = 11  # what shows between the lips
    UPPER_LIP = 12
    LOWER_LIP = 13
    NECK = 14
    NECKLACE = 15
    CLOTH = 16
    HAIR = 17
    HAT = 18


P = FacePart
# Whatever the landmarks say, these are above or below the line under the nose; skin and glasses are divided by it.
ABOVE = (P.LEFT_BROW, P.RIGHT_BROW, P.LEFT_EYE, P.RIGHT_EYE, P.NOSE)
BELOW = (P.MOUTH, P.UPPER_LIP, P.LOWER_LIP)
FACE = (P.SKIN, P.GLASSES, *ABOVE, *BELOW)  # ears belong to the head, not to what speech and expression move
HEAD = (*FACE, P.LEFT_EAR, P.RIGHT_EAR, P.EARRING, P.HAIR, P.HAT, P.NECK, P.NECKLACE)


def among(parts: UInt8[np.ndarray, "S S"], wanted: tuple[FacePart, ...]) -> Bool[np.ndarray, "S S"]:
    """Where the class is one of ``wanted``."""
    table = np.zeros(256, bool)
    table[list(wanted)] = True
    return table[parts]
