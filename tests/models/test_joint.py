"""One joint set of directions instead of two (HFA-GP*): it answers for the whole face and hears sound and blink."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training.conftest import small_prior

from configs import quickstart
from jax_talker.app import builders
from jax_talker.audio.windows import WINDOW
from jax_talker.errors import UserError
from jax_talker.models.talker import Talker

__all__ = ["small_prior"]

F, L, D, K = 5, 3, 8, 6


@pytest.fixture(scope="module")
def joint():
    model = Talker(num_ws=L, w_dim=D, expressions=0, lips=K, audio_features=8, hidden=(4,))
    given = (
        jnp.zeros((L, D)),
        jnp.zeros((2, model.reach, WINDOW, F)),
        jnp.zeros(2),
        jnp.zeros((2, 3)),
        jnp.zeros((2, 2)),
    )
    return model, jax.jit(model.init)(jax.random.key(1), *given)


def test_all_directions_are_of_one_set(joint):
    model, params = joint
    bases = model.apply(params, method=Talker.bases)
    assert bases.expression.shape == (0, L, D)
    flat = np.asarray(bases.lips).reshape(K, -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(K), atol=1e-5)  # float32 QR
    assert not any("expression" in name for name in params["params"]["navigator"])


def test_it_follows_both_parts_of_the_face(joint):
    model, params = joint
    brows, mouth = jnp.eye(5, 3), jnp.concatenate([jnp.zeros((3, 2)), jnp.eye(2)])
    found = model.apply(params, brows, mouth, method=Talker.seen)
    assert found.expression.shape == (5, 0)
    np.testing.assert_allclose(found.lips, jnp.eye(5, K) / 3, atol=1e-7)  # each feature leads along its own direction


def test_it_hears_sound_and_blink(joint):
    model, params = joint
    params = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(jax.random.key(9), x.shape), params)
    one, two = (jax.random.uniform(jax.random.key(k), (2, model.reach, WINDOW, F)) for k in (5, 6))
    hear = jax.jit(lambda sound, blink, lips: model.apply(params, sound, blink, lips, method=Talker.heard).lips)
    base = hear(one, jnp.zeros(2), one)
    assert jnp.abs(hear(one, jnp.ones(2), one) - base).max() > 1e-3
    assert jnp.abs(hear(two, jnp.zeros(2), one) - base).max() > 1e-3
    np.testing.assert_array_equal(hear(one, jnp.zeros(2), two), base)  # one face hears one sound


def test_what_keeps_two_sets_apart_is_refused(small_prior):
    config = quickstart.get_config()
    config.model.expressions = 0
    with pytest.raises(UserError, match=r"config\.train\.swap: one joint set"):
        builders.crossed(config)
    with pytest.raises(UserError, match="a deformation field keeps two sets apart"):
        builders.talking_head(config, small_prior[0], 10, 1.0)
