"""The shade of what frames do not show."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker.models import detail
from jax_talker.training.colouring import carried_on
from jax_talker.types import Gaussians

COUNT = 200
SKIN, HAIR = (0.6, 0.45, 0.4), (0.15, 0.1, 0.08)


def a_body():
    """A row of Gaussians along y: the first half is skin, and every other one of the second half hair."""
    along = np.linspace(0, 1, COUNT)
    color = np.tile(np.float32(SKIN), (COUNT, 1))
    color[COUNT // 2 :: 2] = HAIR
    mean = np.stack([np.zeros(COUNT), along, np.zeros(COUNT)], -1).astype(np.float32)
    ones = jnp.ones((1, COUNT, 3))
    quat = jnp.zeros((1, COUNT, 4)).at[..., 0].set(1)
    return Gaussians(jnp.asarray(mean)[None], quat, 0.01 * ones, ones[..., 0], rgb=jnp.asarray(color)[None])


def residual(rgb: np.ndarray) -> detail.Residual:
    return {**detail.nothing(COUNT), "rgb": jnp.asarray(rgb, jnp.float32) / detail.UNITS["rgb"]}


def seen_where(shown: np.ndarray) -> detail.Layout:
    return replace(detail.as_they_are(COUNT), seen=jnp.asarray(shown, jnp.float32))


def test_what_no_frame_shows_goes_on_in_its_neighbours_shade():
    """Skin lighter by a tenth than the prior's, hair as it is: unseen skin gets lighter, unseen hair hardly."""
    body = a_body()
    hair = np.asarray(body.rgb[0])[:, 0] < 0.3
    shown = (np.arange(COUNT) < 3 * COUNT // 4).astype(float)
    lighter = np.where(hair[:, None], 0.0, 0.1) * np.ones(3)
    layout = carried_on(seen_where(shown), body, residual(lighter))
    tint = np.asarray(layout.tint)
    assert not tint[shown == 1].any(), "who has colours of their own needs no others"
    unseen = shown == 0
    np.testing.assert_allclose(tint[unseen & ~hair], 0.1, atol=0.005)
    np.testing.assert_allclose(tint[unseen & hair], 0, atol=0.005)


def test_half_a_colour_of_ones_own_is_filled_up_with_the_neighbours():
    body = a_body()
    layout = replace(seen_where(np.ones(COUNT)), colours=jnp.ones(COUNT).at[10].set(0.25))
    layout = carried_on(layout, body, residual(np.full((COUNT, 3), 0.1)))
    np.testing.assert_allclose(np.asarray(layout.tint)[10], 0.75 * 0.1, atol=0.005)
    drawn = detail.add_detail(body, layout, residual(np.full((COUNT, 3), 0.1)))
    np.testing.assert_allclose(np.asarray(drawn.rgb - body.rgb)[0, 10], 0.1, atol=0.005)


def test_where_nothing_alike_is_seen_the_prior_keeps_its_colour():
    body = a_body()
    hair = np.asarray(body.rgb[0])[:, 0] < 0.3
    layout = carried_on(seen_where(~hair), body, residual(np.full((COUNT, 3), 0.1)))
    np.testing.assert_allclose(np.asarray(layout.tint)[hair], 0, atol=0.005)


@pytest.mark.parametrize("shown", [0.0, 0.4])
def test_of_a_head_that_nobody_saw_well_nothing_is_told(shown):
    layout = seen_where(np.full(COUNT, shown))
    np.testing.assert_array_equal(carried_on(layout, a_body(), residual(np.ones((COUNT, 3)))).tint, 0)


def test_divided_gaussians_keep_their_tint():
    body = a_body()
    layout = replace(detail.as_they_are(COUNT), tint=jnp.arange(COUNT * 3.0).reshape(COUNT, 3) / 1000)
    divided = detail.divided(layout, body.scale[0], jnp.array([7]))
    before = np.asarray(detail.add_detail(body, layout, detail.nothing(COUNT)).rgb[0])
    after = np.asarray(detail.add_detail(body, divided, detail.nothing(len(divided.parent))).rgb[0])
    np.testing.assert_allclose(after, before[np.asarray(divided.parent)], atol=1e-6)
