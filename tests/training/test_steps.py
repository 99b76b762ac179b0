"""The three stages' steps, by what they must and must not depend on."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker.models.deformation import DeformationField
from jax_talker.models.talker import Talker
from jax_talker.training import navigate_step, personalize_step, prior_step
from jax_talker.training.objective import ImageLoss
from jax_talker.training.state import adam, create
from jax_talker.types import Latent

OPTIMISER = adam(1e-2, 50)
LOSS = ImageLoss(1.0, 0.2)


@pytest.fixture(scope="module")
def head(small_prior):
    prior, _ = small_prior
    talker = Talker(prior.num_ws, prior.w_dim, expressions=3, lips=4, audio_features=6, hidden=(8,))
    return navigate_step.TalkingHead(prior, talker)


def perturbed(params, seed=5):
    """Parameters away from the zero start, so that every path is alive."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    return tree.unflatten([x + 0.1 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)])


@functools.cache
def compiled(head, weights):
    """Compiled once for all tests that use it."""
    return jax.jit(navigate_step.make_navigation_step(head, OPTIMISER, LOSS, weights))


def navigate(head, small_prior, i, j, weights=None, params=None):
    """One navigation step from the same state; returns (state before, state after, measured)."""
    prior, variables = small_prior
    weights = weights or navigate_step.NavigationWeights()
    step = compiled(head, weights)
    params = head.init(jax.random.key(1), i.audio) if params is None else params
    before = create(params, OPTIMISER, 0)
    after, measured = step(before, variables, prior.mean_latent(variables), i, j)
    return before, after, measured


def test_image_loss_is_masked_and_needs_its_network():
    rng = np.random.default_rng(0)
    a, b = (jnp.asarray(rng.random((1, 24, 24, 3)), jnp.float32) for _ in range(2))
    mask = jnp.zeros((1, 24, 24)).at[:, :6].set(1.0)
    far = b.at[:, 18:].set(0.0)  # further away than SSIM's window reaches
    np.testing.assert_allclose(LOSS(a, b, mask), LOSS(a, far, mask), rtol=1e-6)
    assert LOSS(a, a) < 1e-5
    with pytest.raises(ValueError, match="needs the LPIPS network"):
        ImageLoss(1.0, 0.2, lpips=1.0)


def test_navigation_learns_what_it_is_shown(head, small_prior, make_frames):
    """Some steps on one batch bring the masked images nearer, in both branches."""
    prior, variables = small_prior
    i = make_frames([4, 5, 20, 21], head.talker.reach)
    step = jax.jit(navigate_step.make_navigation_step(head, OPTIMISER, LOSS, navigate_step.NavigationWeights()))
    state = create(head.init(jax.random.key(1), i.audio), OPTIMISER, 0)
    losses = []
    for _ in range(30):
        state, measured = step(state, variables, prior.mean_latent(variables), i, i)
        losses.append((float(measured["upper"]), float(measured["lower"])))
    assert losses[-1][0] < losses[0][0] - 1e-3
    assert losses[-1][1] < losses[0][1] - 1e-3


def test_pixels_outside_the_masks_do_not_matter(head, small_prior, make_frames):
    weights = navigate_step.NavigationWeights(outside=0.0)
    i, j = (make_frames(n, head.talker.reach) for n in ([4, 5], [30, 31]))
    corner = i.image.at[:, -1:, -1:].set(1.0)  # outside both masks, and further than SSIM's window from the upper one
    params = perturbed(head.init(jax.random.key(1), i.audio))
    one = navigate(head, small_prior, i, j, weights, params)[2]
    two = navigate(head, small_prior, replace(i, image=corner), j, weights, params)[2]
    np.testing.assert_allclose(one["loss"], two["loss"], rtol=1e-6)


def test_camera_i_answers_for_the_upper_face_and_camera_j_for_the_lower(head, small_prior, make_frames):
    params = perturbed(head.init(jax.random.key(1), make_frames([4, 5], head.talker.reach).audio))
    i, j = (make_frames(n, head.talker.reach) for n in ([4, 5], [30, 31]))
    base = navigate(head, small_prior, i, j, params=params)[2]
    other_j = navigate(head, small_prior, i, replace(j, image=1 - j.image), params=params)[2]
    np.testing.assert_allclose(base["upper"], other_j["upper"], rtol=1e-6)
    assert abs(base["lower"] - other_j["lower"]) > 1e-4
    other_i = navigate(head, small_prior, replace(i, image=1 - i.image), j, params=params)[2]
    np.testing.assert_allclose(base["lower"], other_i["lower"], rtol=1e-6)
    assert abs(base["upper"] - other_i["upper"]) > 1e-4
    turned = navigate(head, small_prior, i, replace(j, label=i.label), params=params)[2]
    np.testing.assert_allclose(base["upper"], turned["upper"], rtol=1e-5)
    assert abs(base["lower"] - turned["lower"]) > 1e-5


def test_outside_counts_only_where_both_halves_are_one_frame(head, small_prior, make_frames):
    i, j = (make_frames(n, head.talker.reach) for n in ([4, 5], [30, 31]))
    assert navigate(head, small_prior, i, j)[2]["outside"] == 0
    assert navigate(head, small_prior, i, i)[2]["outside"] > 0.01


def test_smoothness_is_between_successive_frames(head, small_prior, make_frames):
    params = perturbed(head.init(jax.random.key(1), make_frames([4, 5], head.talker.reach).audio))
    still = make_frames([4, 4], head.talker.reach)
    moving = make_frames([4, 40], head.talker.reach)
    assert navigate(head, small_prior, still, still, params=params)[2]["smooth"] < 1e-9
    assert navigate(head, small_prior, moving, moving, params=params)[2]["smooth"] > 1e-6


@pytest.mark.slow  # compiles navigation once more, with the field
def test_deformation_field_renders_each_camera_and_starts_as_nothing(head, small_prior, make_frames):
    deforming = replace(head, deformation=DeformationField(hidden=(8,)))
    i, j = (make_frames(n, head.talker.reach) for n in ([4, 5], [30, 31]))
    plain = navigate(head, small_prior, i, j)[2]
    params = deforming.init(jax.random.key(1), i.audio)
    assert set(params) == {"talker", "deformation"}
    before, after, measured = navigate(deforming, small_prior, i, j, params=params)
    np.testing.assert_allclose(plain["loss"], measured["loss"], rtol=1e-5)
    prior, variables = small_prior  # a second step, for the first one of the warm-up has no rate yet
    step = compiled(deforming, navigate_step.NavigationWeights())
    after, measured = step(after, variables, prior.mean_latent(variables), i, j)
    moved = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), before.params["deformation"], after.params["deformation"])
    assert max(jax.tree.leaves(moved)) > 1e-3  # Adam's step is the rate, 1e-2, wherever a gradient arrives


def test_inversion_moves_anchor_and_the_shown_residuals_only(small_prior, make_frames):
    prior, variables = small_prior
    optimiser = adam(0.05, 50, warmup=0.0)
    step = jax.jit(
        personalize_step.make_inversion_step(prior, optimiser, LOSS, personalize_step.InversionWeights(), spread=1.0)
    )
    params = {"anchor": prior.mean_latent(variables), "residual": jnp.zeros((3, prior.num_ws, prior.w_dim))}
    state, losses = create(params, optimiser, 0), []
    frames = make_frames([1, 9])
    for _ in range(25):
        state, measured = step(state, variables, frames, jnp.array([0, 2]))
        losses.append(float(measured["image"]))
    assert losses[-1] < losses[0] - 1e-3
    assert jnp.abs(state.params["residual"][jnp.array([0, 2])]).max() > 1e-3
    np.testing.assert_array_equal(state.params["residual"][1], 0)
    assert jnp.abs(state.params["anchor"] - params["anchor"]).max() > 1e-3


def test_tuning_starts_without_a_locality_cost_and_then_has_one(small_prior, make_frames):
    prior, variables = small_prior
    optimiser = adam(5e-3, 50, warmup=0.0)
    weights = personalize_step.TuningWeights(locality=1.0)
    step = jax.jit(personalize_step.make_tuning_step(prior, optimiser, LOSS, weights))
    latents = prior.mean_latent(variables)[None] + 0.1 * jax.random.normal(
        jax.random.key(0), (2, prior.num_ws, prior.w_dim)
    )
    state, records = create(variables["params"], optimiser, 0), []
    frames = make_frames([1, 9])
    for _ in range(20):
        state, measured = step(state, variables, latents, frames, jnp.array([0, 1]))
        records.append(jax.device_get(measured))
    assert records[0]["locality"] < 1e-8
    assert records[-1]["locality"] > 1e-8
    assert records[-1]["image"] < records[0]["image"] - 1e-3


@pytest.mark.slow  # compiles tuning twice
def test_locality_keeps_the_generator_where_it_was(small_prior, make_frames):
    """With the regulariser a tuned generator makes less different Gaussians elsewhere than without."""
    prior, variables = small_prior
    optimiser = adam(5e-3, 50, warmup=0.0)
    latents = prior.mean_latent(variables)[None]
    elsewhere = prior.mapping(variables, jax.random.normal(jax.random.key(3), (4, prior.z_dim)), jnp.zeros((4, 25)))
    before = prior.gaussians(variables, elsewhere)

    def drift(locality):
        step = jax.jit(
            personalize_step.make_tuning_step(prior, optimiser, LOSS, personalize_step.TuningWeights(locality=locality))
        )
        state = create(variables["params"], optimiser, 0)
        for _ in range(20):
            state, _ = step(state, variables, latents, make_frames([1]), jnp.array([0]))
        after = prior.gaussians({**variables, "params": state.params}, elsewhere)
        return float(personalize_step.attribute_distance(after, before))

    assert drift(30.0) < 0.7 * drift(0.0)


def test_attribute_distance_is_zero_for_the_same_gaussians_and_ignores_the_quaternions_sign(small_prior):
    prior, variables = small_prior
    gaussians = prior.gaussians(variables, Latent(prior.mean_latent(variables)[None]))
    assert personalize_step.attribute_distance(gaussians, gaussians) < 1e-6
    assert personalize_step.attribute_distance(gaussians, replace(gaussians, quat=-gaussians.quat)) < 1e-6
    moved = replace(gaussians, mean=gaussians.mean + 0.02)
    np.testing.assert_allclose(personalize_step.attribute_distance(gaussians, moved), 1, rtol=1e-4)


def test_prior_step_learns_and_averages(small_prior, make_frames):
    prior, variables = small_prior
    optimiser = adam(1e-2, 60, warmup=0.0)
    step = jax.jit(prior_step.make_prior_step(prior, optimiser, LOSS, prior_step.PriorWeights(), size=24))
    frames = make_frames([0, 3, 7, 9])
    batch = {
        "z": jax.random.normal(jax.random.key(0), (2, prior.z_dim)),
        "label": frames.label.reshape(2, 2, 25),
        "image": frames.image.reshape(2, 2, 24, 24, 3),
        "alpha": jnp.ones((2, 2, 24, 24)),
    }
    state, losses = prior_step.initial_state(variables, optimiser, 0), []
    for _ in range(30):
        state, measured = step(state, batch)
        losses.append(float(measured["loss"]))
    assert losses[-1] < losses[0] - 1e-2
    kept = prior_step.averaged(state.params)
    assert jnp.abs(kept["buffers"]["w_avg"]).max() > 0
    np.testing.assert_array_equal(kept["buffers"]["base_position"], variables["buffers"]["base_position"])
    between = [
        float(jnp.abs(a - b).max())
        for a, b in zip(jax.tree.leaves(kept["params"]), jax.tree.leaves(state.params["live"]), strict=True)
    ]
    assert max(between) > 0  # an average lags behind
