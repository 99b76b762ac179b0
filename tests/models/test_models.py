"""Audio adapter, navigator and talker, by what they promise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker.audio.windows import WINDOW
from jax_talker.models.audio_adapter import AudioAdapter, AudioAttNet, AudioNet
from jax_talker.models.deformation import positional_encoding
from jax_talker.models.navigator import (
    EXPRESSION_CHANNEL,
    Bases,
    Coefficients,
    blinking,
    led_along,
    orthonormal,
    walk,
)
from jax_talker.models.talker import Talker

F, L, D = 13, 6, 16


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


@functools.partial(jax.jit, static_argnums=0)
def hear(model, params, *given):
    return model.apply(params, *given, method=Talker.heard)


@pytest.fixture(scope="module")
def talker():
    model = Talker(num_ws=L, w_dim=D, expressions=4, lips=5, audio_features=8, hidden=(16,))
    audio = normal(0, 2, model.reach, WINDOW, F)
    given = jnp.zeros((L, D)), audio, jnp.zeros(2), normal(7, 2, 3), normal(8, 2, 6)
    params = jax.jit(model.init)(jax.random.key(1), *given)
    return model, params


def test_audio_net_halves_sixteen_steps_to_one():
    """Four stride-2 convolutions take 16 steps to 1, so the dense layer sees 64 numbers (AD-NeRF)."""
    params = AudioNet(32).init(jax.random.key(0), normal(0, 3, WINDOW, F))["params"]
    assert params["Dense_0"]["kernel"].shape == (64, 64)
    assert params["Dense_1"]["kernel"].shape == (64, 32)
    assert [params[f"Conv_{k}"]["kernel"].shape for k in range(4)] == [
        (3, F, 32),
        (3, 32, 32),
        (3, 32, 64),
        (3, 64, 64),
    ]


def test_attention_returns_a_mean_of_equal_frames():
    """Softmax weights sum to one: eight equal vectors come back unchanged."""
    model = AudioAttNet()
    frames = jnp.broadcast_to(normal(1, 1, 1, 8), (2, 8, 8))
    params = model.init(jax.random.key(0), frames)
    np.testing.assert_allclose(model.apply(params, frames), frames[:, 0], rtol=1e-5)  # float32 sum of eight


def test_adapter_reaches_exactly_its_window():
    """A change in the first or last of A windows is heard; the adapter refuses another number of windows."""
    model = AudioAdapter(features=8)
    audio = normal(2, 1, model.reach, WINDOW, F)
    params, apply = jax.jit(model.init)(jax.random.key(0), audio), jax.jit(model.apply)
    base = apply(params, audio)
    for frame in (0, model.reach - 1):
        changed = apply(params, audio.at[:, frame].add(1.0))
        assert jnp.abs(changed - base).max() > 1e-6
    with pytest.raises(ValueError, match=f"looks at {model.reach} frames"):
        model.apply(params, audio[:, 1:])


def test_bases_are_orthonormal_across_both_sets():
    bases = orthonormal(normal(0, 4, L, D), normal(1, 5, L, D))
    flat = jnp.concatenate(bases).reshape(9, -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(9), atol=2e-6)  # float32 QR of 96 × 9


def test_orthonormal_bases_stay_as_they_are():
    """QR alone may flip signs; a direction must not jump to its opposite between steps."""
    once = orthonormal(normal(0, 4, L, D), normal(1, 5, L, D))
    again = orthonormal(*once)
    for a, b in zip(once, again, strict=True):
        np.testing.assert_allclose(a, b, atol=3e-6)


def test_orthonormalisation_is_differentiable_and_spans_the_raw_vectors():
    raw = normal(0, 3, L, D), normal(1, 2, L, D)
    bases = orthonormal(*raw)
    q = jnp.concatenate(bases).reshape(5, -1)
    flat = jnp.concatenate(raw).reshape(5, -1)
    np.testing.assert_allclose(flat @ q.T @ q, flat, atol=1e-4)
    gradient = jax.grad(lambda e: (orthonormal(e, raw[1]).lips ** 3).sum())(raw[0])
    assert jnp.isfinite(gradient).all()
    assert jnp.abs(gradient).max() > 1e-4  # lip directions feel the expression ones: one QR over both


def test_too_many_directions_are_refused():
    with pytest.raises(ValueError, match="cannot be orthogonal"):
        orthonormal(normal(0, 5, 2, 3), normal(1, 5, 2, 3))


def test_walk_follows_each_direction_alone():
    bases = orthonormal(normal(0, 4, L, D), normal(1, 5, L, D))
    anchor = normal(2, L, D)
    lips = jnp.zeros((1, 5)).at[0, 3].set(2.0)
    w = walk(anchor, bases, Coefficients(jnp.zeros((1, 4)), lips)).w
    np.testing.assert_allclose(w[0], anchor + 2 * bases.lips[3], atol=1e-6)


def test_untrained_talker_rests_at_the_anchor(talker):
    model, params = talker
    anchor = normal(3, L, D)
    audio = normal(4, 2, model.reach, WINDOW, F)
    coefficients = hear(model, params, audio, jnp.ones(2), audio)
    assert not jnp.concatenate(coefficients, -1).any()
    latent = model.apply(params, anchor, coefficients, method=Talker.walk)
    np.testing.assert_array_equal(latent.w, jnp.broadcast_to(anchor, (2, L, D)))


def test_branches_hear_only_what_is_theirs(talker):
    """Expression: its own sound and the blink. Lips: their own sound, never the blink."""
    model, params = talker
    params = jax.tree.map(lambda x: x + 0.1 * normal(9, *x.shape), params)  # away from the zero start
    one, two = normal(5, 2, model.reach, WINDOW, F), normal(6, 2, model.reach, WINDOW, F)

    def coefficients(expression_audio, blink, lip_audio):
        return hear(model, params, expression_audio, blink, lip_audio)

    base = coefficients(one, jnp.zeros(2), one)
    blink = coefficients(one, jnp.ones(2), one)
    other_lips = coefficients(one, jnp.zeros(2), two)
    other_face = coefficients(two, jnp.zeros(2), one)
    assert jnp.abs(blink.expression - base.expression).max() > 1e-3
    np.testing.assert_array_equal(blink.lips, base.lips)
    np.testing.assert_array_equal(other_lips.expression, base.expression)
    assert jnp.abs(other_lips.lips - base.lips).max() > 1e-3
    np.testing.assert_array_equal(other_face.lips, base.lips)
    assert isinstance(model.apply(params, method=Talker.bases), Bases)


def test_expression_does_not_turn_the_adapter(talker):
    """It hears through a narrow channel; the adapter learns from lips alone."""
    model, params = talker
    params = jax.tree.map(lambda x: x + 0.1 * normal(9, *x.shape), params)
    audio, noise = normal(5, 2, model.reach, WINDOW, F), normal(6, 2, EXPRESSION_CHANNEL)

    def loud(params, which):
        heard = model.apply(params, audio, jnp.zeros(2), audio, noise, method=Talker.heard)
        return (heard[which] ** 2).sum()

    slope = jax.jit(jax.grad(loud), static_argnums=1)
    adapter = [jax.tree.leaves(slope(params, k)["params"]["adapter"]) for k in (0, 1)]
    assert all(not g.any() for g in adapter[0])
    assert all(g.any() for g in adapter[1])


def test_seen_motion_goes_along_directions_of_its_own(talker):
    model, params = talker
    found = model.apply(params, jnp.eye(3), jnp.zeros((3, 6)), method=Talker.seen)
    np.testing.assert_allclose(found.expression, jnp.eye(3, 4) / 3, atol=1e-7)
    assert not found.lips.any()


@pytest.mark.parametrize("alike", [False, True], ids=["apart", "two features alike"])
def test_features_may_lead_along_given_directions(talker, alike):
    """A prior's own units: what features lead to is where they were said to, also where they say the same."""
    model, params = talker
    free = orthonormal(normal(0, 3, L, D), normal(1, 5, L, D))
    lengths = jnp.arange(1.0, 7)[:, None, None]  # as units have
    upper, lower = 3 * free.expression, lengths * free.lips[jnp.array([0, 1, 2, 3, 4, 4])]  # six, as far as five go
    if alike:
        upper = upper.at[2].set(2 * upper[1])
    found = led_along(params["params"]["navigator"], upper, lower, model.gain)
    params = {"params": {**params["params"], "navigator": found}}
    coefficients = model.apply(params, jnp.eye(3), jnp.zeros((3, 6)), method=Talker.seen)
    walked = model.apply(params, jnp.zeros((L, D)), coefficients, method=Talker.walk)
    np.testing.assert_allclose(walked.w, upper, atol=1e-4)
    coefficients = model.apply(params, jnp.zeros((6, 3)), jnp.eye(6), method=Talker.seen)
    walked = model.apply(params, jnp.zeros((L, D)), coefficients, method=Talker.walk)
    np.testing.assert_allclose(walked.w, lower, atol=1e-4)
    flat = jnp.concatenate([found["raw_expression"], found["raw_lips"]]).reshape(9, -1)
    assert jnp.linalg.svd(flat, compute_uv=False).min() > 0.05  # or the QR's gradient would be without bounds


def test_features_that_nobody_tells_of_keep_directions_of_their_own(talker):
    """As of a clip whose landmark model scores no expression: only its blink is known."""
    model, params = talker
    navigator = params["params"]["navigator"]
    blink = normal(0, L, D) / jnp.sqrt(L * D)
    upper = jnp.zeros((3, L, D)).at[2].set(blink)
    found = led_along(navigator, upper, jnp.zeros((6, L, D)), model.gain)
    np.testing.assert_array_equal(found["seen_lips"]["kernel"], navigator["seen_lips"]["kernel"])
    params = {"params": {**params["params"], "navigator": found}}
    coefficients = model.apply(params, jnp.eye(3), jnp.zeros((3, 6)), method=Talker.seen)
    walked = model.apply(params, jnp.zeros((L, D)), coefficients, method=Talker.walk).w.reshape(3, -1)
    np.testing.assert_allclose(walked[2], blink.ravel(), atol=1e-5)
    np.testing.assert_allclose(jnp.linalg.norm(walked[:2], axis=1), model.gain / 3, rtol=1e-4)
    np.testing.assert_allclose(walked[:2] @ walked[2], 0, atol=1e-4)


def test_lids_follow_the_blink_as_they_were_seen_to(talker):
    """Through no hidden layer, and against no noise: half a blink closes them half as far."""
    model, params = talker
    navigator = params["params"]["navigator"]
    blink = jnp.array([0.0, 0.0, 0.0, 1.0, 0.5, 0.0])
    seen = blink[:, None] * jnp.array([[2.0, -1.0, 0.0, 0.5]]) + 0.3  # and brows that stay raised
    led = blinking(navigator, blink, seen, model.gain)
    audio = normal(4, 2, model.reach, WINDOW, F)
    found = hear(model, {"params": {**params["params"], "navigator": led}}, audio, jnp.array([0.5, 1.0]), audio)
    wanted = jnp.array([[1.0, -0.5, 0.0, 0.25], [2.0, -1.0, 0.0, 0.5]])
    np.testing.assert_allclose(found.expression, wanted, rtol=2e-3)  # the ridge, a thousandth of a frame, of 1
    assert not found.lips.any()
    never = blinking(navigator, 0 * blink, seen, model.gain)
    np.testing.assert_array_equal(never["blink"], 0)


def test_brows_that_come_down_with_lids_are_not_the_blinks(talker):
    """Of somebody who mostly frowns with closed eyes, and at times without."""
    navigator = talker[1]["params"]["navigator"]
    blink = jnp.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.2])
    brows = jnp.array([0.0, 0.9, 1.0, 0.1, 0.8, 0.6, 0.0, 0.1])
    seen = blink[:, None] * jnp.array([[2.0, 0.0, 0.0, 0.0]]) + brows[:, None] * jnp.array([[0.0, 1.5, 0.0, 0.0]])
    together = blinking(navigator, blink, seen, 1.0)["blink"][0]
    assert together[1] > 1
    alone = blinking(navigator, blink, seen, 1.0, brows[:, None])["blink"][0]
    np.testing.assert_allclose(alone, [2, 0, 0, 0], atol=0.1)  # the ridge, of a few frames' worth of brows
    never_apart = blinking(navigator, blink, seen, 1.0, blink[:, None])["blink"][0]
    np.testing.assert_allclose(never_apart[0], 2, rtol=0.05)  # lids close as far as they were seen to


def test_pictures_do_not_teach_the_blink_other_things(talker):
    """Not even where a loss would have it: what learnt it from pictures learnt the brows that come with it."""
    model, params = talker
    audio, blink = normal(4, 2, model.reach, WINDOW, F), jnp.array([0.5, 1.0])
    slope = jax.grad(lambda p: hear(model, p, audio, blink, audio).expression.sum())(params)
    assert not slope["params"]["navigator"]["blink"].any()
    moved = jax.tree.map(lambda x: x + 0.1 * normal(9, *x.shape), params)
    still = hear(model, moved, audio, 0 * blink, audio).expression
    closed = hear(model, moved, audio, jnp.ones(2), audio).expression
    lids = model.gain * moved["params"]["navigator"]["blink"]
    np.testing.assert_allclose(closed - still, jnp.broadcast_to(lids, still.shape), atol=1e-5)


def test_positional_encoding_is_nerfs():
    x = jnp.array([[0.25, -0.5]])
    found = positional_encoding(x, 2)
    pi = np.pi
    wanted = [0.25, -0.5, *np.sin([0.25 * pi, -0.5 * pi]), *np.sin([0.5 * pi, -pi])]
    assert found.shape == (1, 2 + 2 * 2 * 2)
    np.testing.assert_allclose(sorted(found[0].tolist())[:1], [-1.0], atol=1e-6)
    for value in wanted:
        assert np.isclose(found[0], value, atol=1e-6).any()
