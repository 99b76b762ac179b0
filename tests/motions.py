"""A space of motion for heads that no landmarks lead."""

import numpy as np

from jax_talker.data.batches.motion_features import MotionSpace


def no_motion(expressions=3, lips=4, points=5):
    """Nothing moves in it."""
    shapes = (7, 2 * points), 2 * points, (expressions - 1, 2 * points), (lips, 2 * points), 1, expressions, lips
    return MotionSpace(*(np.zeros(shape, np.float32) for shape in shapes))
