"""The step of personalising and navigating, by what it must and must not depend on."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker import geometry
from jax_talker.models import detail
from jax_talker.models.deformation import Blendshapes, DeformationField, Poses
from jax_talker.models.talker import Talker
from jax_talker.training import cameras, head_step
from jax_talker.training.drawn import DrawnFrames
from jax_talker.training.head_step import Control, HeadWeights
from jax_talker.training.objective import ImageLoss
from jax_talker.training.shares import batch_of
from jax_talker.training.sound_variation import Variation
from jax_talker.training.state import cosine, create, direction
from jax_talker.training.talking_head import Fixed, TalkingHead
from jax_talker.types import Latent

POSES = Poses(jnp.asarray(geometry.make_label(geometry.orbit(0, 0)), jnp.float32), jnp.full(3, 0.4))

OPTIMISER = direction()
LOSS = ImageLoss(1.0, 0.2)
PIXELS = ImageLoss(1.0, 0.0)  # SSIM's windows see the truth beyond a mask's edge, and no prediction there
LEVEL = HeadWeights(lower=1.0, anchor=0.0, delta=0.0)  # pictures alone
ROOMS = Variation((100.0, 400.0, 1000.0, 2500.0, 6000.0), level=3.0, room=0.5)


@pytest.fixture(scope="module")
def head(small_prior):
    prior, _ = small_prior
    talker = Talker(prior.num_ws, prior.w_dim, expressions=3, lips=4, audio_features=6, hidden=(8,))
    return TalkingHead(prior, talker, Blendshapes(prior.num_gaussians, 3, 4))


@pytest.fixture(scope="module")
def fixed(small_prior):
    prior, variables = small_prior
    return Fixed(variables, detail.as_they_are(prior.num_gaussians), POSES)


def perturbed(params, seed=5):
    """Parameters away from the zero start, so that every path is alive."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    return tree.unflatten([x + 0.1 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)])


@pytest.fixture(scope="module")
def started(head, fixed, make_frames):
    frames = make_frames([4, 5], head.talker.reach)
    return head.init(jax.random.key(1), head.prior.mean_latent(fixed.variables), fixed.layout, frames)


@functools.cache
def compiled(head, cross, loss=PIXELS, weights=LEVEL):
    """Compiled once for all tests that use it, which is why most of them have two frames and the same loss."""
    step = head_step.make_head_step(head, OPTIMISER, loss, weights, spread=1.0, cross=cross)
    return jax.jit(
        lambda state, fixed, i, j, control, drawn=None: step(state, batch_of((i, j, drawn), (fixed, control)))
    )


def control(params, rate=0.0, hear=1.0, crossed=1.0, focus=1.0, **rates):
    rates = {n: jnp.float32(rates.get(n, rate)) for n in params}
    return Control(rates, *map(jnp.float32, (hear, crossed, focus)))


def measure(head, fixed, params, i, j, cross, **options):
    state = create(params, OPTIMISER, 0)
    after, measured = compiled(head, cross)(state, fixed, i, j, control(params, **options))
    return after, jax.device_get(measured)


def test_camera_i_answers_for_the_upper_face_and_camera_j_for_the_lower(head, fixed, started, make_frames):
    params = perturbed(started)
    i, j = (make_frames(n, head.talker.reach) for n in ([4, 5], [30, 31]))
    loss = lambda i, j: measure(head, fixed, params, i, j, 1)[1]["image"]  # noqa: E731
    base = loss(i, j)
    below, above = 1 - i.upper[..., None], 1 - j.lower[..., None]
    np.testing.assert_allclose(base, loss(replace(i, image=i.image * (1 - below)), j), rtol=1e-5)
    np.testing.assert_allclose(base, loss(i, replace(j, image=j.image * (1 - above))), rtol=1e-5)
    assert abs(base - loss(replace(i, image=1 - i.image), j)) > 1e-4
    assert abs(base - loss(i, replace(j, image=1 - j.image))) > 1e-4
    assert abs(base - loss(i, replace(j, label=i.label))) > 1e-6


def test_a_program_that_could_cross_and_does_not_is_the_one_that_cannot(head, fixed, started, make_frames):
    """Stages share the first; its further views must cost nothing and teach nothing."""
    params = perturbed(started)
    i = make_frames([4, 5], head.talker.reach)
    _, could = measure(head, fixed, params, i, i, 1, crossed=0.0)
    _, cannot = measure(head, fixed, params, i, i, 0)
    assert could.keys() == cannot.keys()
    for name in could.keys() - {"overflow"}:
        np.testing.assert_allclose(could[name], cannot[name], rtol=1e-4, err_msg=name)  # sums in another order
    _, crossed = measure(head, fixed, params, i, i, 1)
    assert abs(crossed["image"] - cannot["image"]) > 1e-4


def test_what_was_not_filmed_has_no_loss(head, fixed, started, make_frames):
    params = perturbed(started)
    i = make_frames([4, 5], head.talker.reach)
    hidden = replace(i, valid=i.valid.at[:, :, :8].set(0))
    other = replace(hidden, image=hidden.image.at[:, :, :8].set(0.5), head=hidden.head.at[:, :, :8].set(0))
    one, two = (measure(head, fixed, params, x, x, 0)[1] for x in (hidden, other))
    np.testing.assert_allclose(one["loss"], two["loss"], rtol=1e-6)
    assert abs(one["loss"] - measure(head, fixed, params, i, i, 0)[1]["loss"]) > 1e-4


def test_on_any_background_paint_is_told_from_nothing(head, fixed, started, make_frames):
    """On white, what the head mask says of a pixel is nothing to the image's loss."""
    i = make_frames([4, 5], head.talker.reach)
    other = replace(i, head=1 - i.head)
    for weights, told in ((LEVEL, False), (replace(LEVEL, any_background=True), True)):
        step = compiled(head, 0, weights=weights)
        state = create(started, OPTIMISER, 0)
        one, two = (step(state, fixed, x, x, control(started))[1]["image"] for x in (i, other))
        assert (abs(one - two) > 1e-3) == told


def test_who_leads(head, fixed, started, make_frames):
    """hear = 0: motion features and no sound; hear = 1: sound and no motion features."""
    params = perturbed(started)
    i = make_frames([4, 5], head.talker.reach)
    loud, moved = replace(i, audio=i.audio[::-1], blink=1 - i.blink), replace(i, lips=-i.lips)
    for hear, matters, ignored in ((1.0, loud, moved), (0.0, moved, loud)):
        base, same, changed = (
            measure(head, fixed, params, x, x, 0, hear=hear)[1]["image"] for x in (i, ignored, matters)
        )
        np.testing.assert_allclose(base, same, rtol=1e-6)
        assert abs(base - changed) > 1e-6


def test_a_rate_of_zero_stands_still_and_a_stage_learns(head, fixed, started, make_frames):
    i = make_frames([4, 5], head.talker.reach)
    state, losses = create(started, OPTIMISER, 0), []
    step, drawn = compiled(head, 0), DrawnFrames(head, started, fixed)(i)
    for n in range(40):
        rate = 0.03 * cosine(n, 40)
        state, measured = step(state, fixed, i, i, control(started, hear=0.0, detail=rate, deformation=rate), drawn)
        losses.append(float(measured["image"]))
    assert losses[-1] < losses[0] - 0.02
    for name in ("anchor", "camera", "talker"):
        for before, after in zip(jax.tree.leaves(started[name]), jax.tree.leaves(state.params[name]), strict=True):
            np.testing.assert_array_equal(before, after)


def test_frames_drawn_before_are_the_step_without_what_lies_in_front_of_them(head, fixed, started, make_frames):
    i = make_frames([4, 5], head.talker.reach)
    params = perturbed(started)
    drawn = DrawnFrames(head, params, fixed)(i)
    rates = control(params, hear=0.0, anchor=1.0, talker=1.0, detail=1e-3)
    stopped, measured = compiled(head, 0)(create(params, OPTIMISER, 0), fixed, i, i, rates, drawn)
    through, wanted = compiled(head, 0)(create(params, OPTIMISER, 0), fixed, i, i, rates)
    np.testing.assert_allclose(measured["image"], wanted["image"], rtol=1e-5)  # float32 in another order
    for a, b in zip(*(jax.tree.leaves(s.params["detail"]) for s in (stopped, through)), strict=True):
        # Adam's first step is the gradient's sign: compare where it is not lost in rounding.
        assert (jnp.abs(a - b) > 1e-4).mean() < 0.01
    np.testing.assert_array_equal(stopped.params["anchor"], params["anchor"])
    assert jnp.abs(through.params["anchor"] - params["anchor"]).max() > 0.1


def test_a_frame_is_drawn_alike_in_every_batch_and_beyond_the_memory(head, fixed, started, make_frames):
    params = perturbed(started)
    pair, other, four = (make_frames(n, head.talker.reach) for n in ([4, 5], [9, 4], [9, 5, 4, 30]))
    kept, none_kept = DrawnFrames(head, params, fixed), DrawnFrames(head, params, fixed, limit=0)
    a, b, c = kept(pair), none_kept(other), kept(four)
    for x, y, z in zip(*map(jax.tree.leaves, (a, b, c)), strict=True):
        np.testing.assert_array_equal(x[0], y[1])
        np.testing.assert_array_equal(np.stack([x[0], x[1], y[0]]), np.stack([z[2], z[1], z[0]]))
    assert any(not np.array_equal(x[0], x[1]) for x in jax.tree.leaves(a))
    assert (kept.full, none_kept.full) == (False, True)


def test_frames_are_kept_while_there_is_room(head, fixed, started, make_frames):
    """What did not fit ends it, though smaller ones might: whoever draws ahead may stop then."""
    one = sum(x.nbytes for x in jax.tree.leaves(DrawnFrames(head, started, fixed)(make_frames([4], head.talker.reach))))
    drawn = DrawnFrames(head, started, fixed, limit=2 * one)
    for count, index in enumerate((4, 5, 9, 30)):
        assert drawn.full == (count > 2)
        drawn(make_frames([index], head.talker.reach))
    assert sorted(drawn._kept) == [4, 5]


def test_frames_drawn_before_cannot_be_crossed(head, fixed, started, make_frames):
    i = make_frames([4, 5], head.talker.reach)
    drawn = DrawnFrames(head, started, fixed)(i)
    with pytest.raises(ValueError, match="crossed"):
        compiled(head, 1)(create(started, OPTIMISER, 0), fixed, i, i, control(started), drawn)


def test_smoothness_is_between_successive_frames(head, fixed, started, make_frames):
    params = perturbed(started)
    still, moving = (make_frames(n, head.talker.reach) for n in ([4, 4], [4, 40]))
    assert measure(head, fixed, params, still, still, 0, hear=0.0)[1]["smooth"] < 1e-9
    assert measure(head, fixed, params, moving, moving, 0, hear=0.0)[1]["smooth"] > 1e-6


@pytest.mark.parametrize("form", ["blendshapes", "field"])
def test_the_deformation_starts_as_nothing(head, fixed, started, make_frames, form):
    i = make_frames([4, 5], head.talker.reach)
    deforming = head if form == "blendshapes" else replace(head, deformation=DeformationField(hidden=(8,)))
    plain = replace(head, deformation=None)
    params = deforming.init(jax.random.key(1), started["anchor"], fixed.layout, i)
    shown = [
        jax.jit(lambda p, h=h: h.show(p, fixed, h.seen(p, i.expression, i.lips), i.label, i.label, 24).image)(params)
        for h in (deforming, plain)
    ]
    np.testing.assert_allclose(shown[0], shown[1], atol=1e-5)  # float32: logits of opacities and back


def test_neighbours_are_kept_together_in_depth(head, fixed, started, make_frames):
    """By the weight, of detail and of each shape, with the neighbour whose turn it is; what has none costs nothing."""
    count = len(fixed.layout.parent)
    near = jnp.stack([jnp.roll(jnp.arange(count), k + 1) for k in range(detail.NEIGHBOURS)], 1)
    fixed = replace(fixed, layout=replace(fixed.layout, near=near))
    params = perturbed(started)
    i = make_frames([4, 5], head.talker.reach)
    step = compiled(head, 0, weights=replace(LEVEL, rough=1e-3))
    state = create(params, OPTIMISER, 0)
    moves = [params["detail"]["mean"][None], params["deformation"]["expression"], params["deformation"]["lips"]]
    depths = jnp.concatenate([x[..., 2] for x in moves])
    for turn in range(2):
        state, measured = step(state, fixed, i, i, control(params))
        wanted = 1e-3 * detail.roughness(depths, near[:, turn])
        np.testing.assert_allclose(measured["rough"], wanted, rtol=1e-5)
    alone = replace(fixed, layout=replace(fixed.layout, near=detail.alone(count)))
    assert step(state, alone, i, i, control(params))[1]["rough"] == 0


@pytest.mark.slow  # compiles the generator's own gradient
def test_a_tuned_generator_starts_without_a_locality_cost_and_then_has_one(head, fixed, started, make_frames):
    i = make_frames([4, 5], head.talker.reach)
    params = {**started, "generator": fixed.variables["params"]}
    step = compiled(head, 0, loss=LOSS)
    state, records = create(params, OPTIMISER, 0), []
    for _ in range(15):
        state, measured = step(state, fixed, i, i, control(params, hear=0.0, generator=5e-3))
        records.append(jax.device_get(measured))
    assert records[0]["locality"] < 1e-8
    assert records[-1]["locality"] > 1e-8
    assert records[-1]["image"] < records[0]["image"] - 1e-3


@pytest.mark.parametrize("offset", [(0, 0.035, 0, 0, 0, 0), (0.035, 0, 0, 0.01, 0, 0)], ids=["yaw", "pitch and shift"])
def test_gradients_find_labels_that_are_off(head, fixed, started, make_frames, offset):
    """Pictures of the head itself, labels 2° off: most of it is found."""
    offset = jnp.array(offset, jnp.float32)
    frames = make_frames([0, 5, 9, 12], head.talker.reach)
    coefficients = head.seen(started, frames.expression, frames.lips)
    seen = head.show(started, fixed, coefficients, frames.label, frames.label, 24)
    # Labels are such that moving the head back by the offset makes them right, to first order.
    off = replace(frames, image=seen.image, head=seen.alpha, label=cameras.move_labels(frames.label, -offset))
    step, state = compiled(head, 0, loss=LOSS), create(started, OPTIMISER, 0)
    for n in range(100):
        rate = 5e-3 * cosine(n, 100, floor=0.02)
        state, _ = step(state, fixed, off, off, control(started, hear=0.0, focus=0.0, camera=rate))
    units = jnp.array([cameras.TURN_UNIT] * 3 + [cameras.SHIFT_UNIT] * 3)
    left = jnp.linalg.norm((state.params["camera"] - offset) / units) / jnp.linalg.norm(offset / units)
    assert left < 0.4, left  # 1 where nothing is found


def test_what_does_not_walk_is_drawn_by_the_anchor(small_prior, fixed, started, make_frames):
    """Wherever coefficients lead; by the generator that is being tuned, where one is."""
    prior, variables = small_prior
    head = TalkingHead(prior, Talker(prior.num_ws, prior.w_dim, 3, 4, audio_features=6, hidden=(8,)))
    i = make_frames([4, 5], head.talker.reach)
    params = {name: perturbed(value) if name == "talker" else value for name, value in started.items()}
    rest = prior.gaussians(variables, Latent(started["anchor"][None]))
    still = replace(fixed, layout=replace(fixed.layout, walks=0 * fixed.layout.walks), rest=rest)
    far = jax.tree.map(lambda x: 5 + x, head.seen(params, i.expression, i.lips))
    zero = jax.tree.map(jnp.zeros_like, far)

    def image(params, fixed, coefficients):
        return head.show(params, fixed, coefficients, i.label, i.label, 24).image

    image = jax.jit(image)
    assert jnp.abs(image(params, fixed, far) - image(params, fixed, zero)).max() > 0.05  # all of it walks
    np.testing.assert_allclose(image(params, still, far), image(params, fixed, zero), atol=1e-6)
    tuned = params | {"generator": jax.tree.map(lambda x: 1.05 * x, variables["params"])}
    np.testing.assert_allclose(image(tuned, still, far), image(tuned, fixed, zero), atol=1e-6)
    assert jnp.abs(image(tuned, still, far) - image(params, still, far)).max() > 0.01


def test_encoders_learn_from_what_landmarks_show(head, started, make_frames):
    """Lips come near; expression that only sound could tell does not, and silence rests."""
    frames = make_frames(np.arange(24), head.talker.reach)
    step = jax.jit(head_step.make_hearing_step(head, OPTIMISER, ROOMS))
    state, records = create(started["talker"], OPTIMISER, 0), []
    for n in range(150):
        state, measured = step(state, batch_of(frames, jnp.float32(5e-3 * cosine(n, 150))))
        records.append(jax.device_get(measured))
    assert records[-1]["lips"] < 0.3 * records[0]["lips"]
    assert records[-1]["rest"] < 0.3 * max(r["rest"] for r in records)
    for name in ("seen_lips", "seen_expression"):
        np.testing.assert_array_equal(
            state.params["navigator"][name]["kernel"], started["talker"]["navigator"][name]["kernel"]
        )


def test_sound_is_varied_where_it_leads(head, started, make_frames):
    """And silence and a room's noise are heard beside it, which lips are to rest in."""
    i, params = make_frames([4, 5], head.talker.reach), perturbed(started)
    coefficients = jax.jit(head_step._coefficients, static_argnums=(0, 7))

    def heard(how, seed):
        key = jax.random.key(seed)
        return coefficients(head, params, i, i, jnp.ones(()), jax.random.split(key), key, how)

    want = head.heard(params, i.audio, i.blink, i.audio)
    (as_it_is, silence), (one, both), (other, _) = heard(Variation(), 0), heard(ROOMS, 0), heard(ROOMS, 1)
    np.testing.assert_allclose(as_it_is.lips, want.lips, atol=1e-5)
    assert jnp.abs(one.lips - other.lips).max() > 1e-3
    assert one.lips.shape == want.lips.shape
    np.testing.assert_allclose(both[:1], silence, atol=1e-5)
    assert both.shape == (2, 4)
    assert jnp.abs(both[1] - both[0]).max() > 1e-3
    deaf, alone = heard(replace(ROOMS, bands=()), 0)  # of other features than log-mel: no room is made of them
    np.testing.assert_array_equal(deaf.lips, as_it_is.lips)
    np.testing.assert_array_equal(alone, silence)


def test_cosine_rises_to_one_and_falls_to_its_floor():
    shares = [cosine(n, 100, warmup=0.1, floor=0.05) for n in range(100)]
    assert max(shares) == pytest.approx(1.0)
    assert int(np.argmax(shares)) == 10
    assert shares[0] == pytest.approx(1 / 11)
    assert shares[-1] == pytest.approx(0.05, abs=1e-3)


def test_attribute_distance_is_zero_for_the_same_gaussians_and_ignores_the_quaternions_sign(small_prior):
    prior, variables = small_prior
    gaussians = prior.gaussians(variables, Latent(prior.mean_latent(variables)[None]))
    assert head_step.attribute_distance(gaussians, gaussians) < 1e-6
    assert head_step.attribute_distance(gaussians, replace(gaussians, quat=-gaussians.quat)) < 1e-6
    moved = replace(gaussians, mean=gaussians.mean + 0.02)
    np.testing.assert_allclose(head_step.attribute_distance(gaussians, moved), 1, rtol=1e-4)
