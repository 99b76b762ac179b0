"""How far lips move the upper face, and expression the lower one."""

import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker.app.leakage import leakage
from jax_talker.app.speaking import Speaker
from jax_talker.data.batches.dataset import ClipFrames
from jax_talker.models.navigator import Coefficients
from jax_talker.types import FrameBatch


class Frames(ClipFrames):
    """Eight rows of upper face above eight of lower; the last column was not filmed."""

    def __init__(self):
        pass

    def frames(self, indices):
        ones = jnp.ones((len(indices), 16, 16))
        upper = ones.at[:, 8:].set(0)
        return FrameBatch(
            image=jnp.zeros((*ones.shape, 3)),
            upper=upper,
            lower=1 - upper,
            head=ones,
            valid=ones.at[:, :, -1].set(0),
            label=jnp.zeros((len(indices), 25)),
            audio=jnp.zeros((len(indices), 2, 16, 3)),
            blink=jnp.zeros(len(indices)),
            index=jnp.asarray(indices, jnp.int32),
            expression=jnp.zeros((len(indices), 1)),
            lips=jnp.zeros((len(indices), 1)),
        )


class Leaky(Speaker):
    """Lips brighten the lower face by their length and the upper one by a tenth of it; expression keeps to itself."""

    batch = 4
    rest = Coefficients(jnp.zeros((4, 1)), jnp.zeros((4, 1)))

    def __init__(self):
        pass

    def pictures(self, coefficients, held, label, size):
        rows = jnp.arange(size)[None, :, None, None] < 8
        lips, expression = (c[:, :, None, None] for c in (coefficients.lips, coefficients.expression))
        shown = jnp.where(rows, 0.1 * lips + expression, lips) * jnp.ones((4, size, size, 3)) * 1e-2
        return shown.at[:, :, -1].set(jnp.where(lips[..., 0] != 0, 9.0, 0.0))


def test_leakage_is_measured_in_per_cent_of_what_moves_at_home():
    amount = np.arange(1, 11, dtype=np.float32)[:, None]
    found = leakage(Leaky(), Frames(), np.arange(10), Coefficients(amount, -amount))
    assert found["lips_in_upper_percent"] == pytest.approx(10, rel=1e-4)
    assert found["expression_in_lower_percent"] == 0


def test_a_face_that_does_not_move_has_no_leakage():
    nothing = np.zeros((8, 1), np.float32)
    assert np.isnan(leakage(Leaky(), Frames(), np.arange(8), Coefficients(nothing, nothing))["lips_in_upper_percent"])
