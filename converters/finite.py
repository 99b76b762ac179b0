"""Which numbers stay finite as they are stored."""

import numpy as np

_LARGEST = np.finfo(np.float32).max


def finite(array: np.ndarray) -> np.ndarray:
    """Where an array is finite, also once it is float32: double precision's 1e300 would become infinity."""
    return np.asarray(np.abs(array) <= _LARGEST)
