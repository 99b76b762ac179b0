"""The morphable head: its interface, what is linear in it, its discs, and how it lies on disk."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker import priors
from jax_talker.errors import UserError
from jax_talker.geometry import rotation_from_quat
from jax_talker.people import statistics
from jax_talker.people.corpus import harmonics
from jax_talker.people.raster import display
from jax_talker.priors import Morphable, MorphableConfig, Prior, discs, morphable
from jax_talker.types import Latent

ROWS, COLUMNS, SHELL = 6, 8, 9
CONFIG = MorphableConfig(
    vertices=ROWS * COLUMNS, on_head=ROWS * COLUMNS, on_shell=SHELL, backing=5, people=3, shape=4, units=6, skin=3,
    hair=2, shade=2, network=False,
)  # fmt: skip


def sheet():
    """A bent sheet of points, its neighbours and normals."""
    row, column = np.mgrid[:ROWS, :COLUMNS]
    points = np.stack([0.02 * column, -0.02 * row, 0.1 - 0.002 * (column - 4) ** 2], -1).reshape(-1, 3)
    at = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    padded = np.pad(at, 1, mode="edge")
    around = [padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]]
    return points.astype(np.float32), jnp.asarray(np.stack(around, -1).reshape(-1, 4))


@pytest.fixture(scope="module")
def head():
    """A head of random bases around a bent sheet."""
    prior = Morphable(CONFIG)
    variables = prior.init(jax.random.key(0))
    place, neighbours = sheet()
    rng = np.random.default_rng(0)
    params, buffers = dict(variables["params"]), dict(variables["buffers"])
    draw = lambda like, spread: jnp.asarray(rng.normal(0, spread, like.shape), jnp.float32)  # noqa: E731
    for name in ("position_shape", "position_units", "shell_shape"):
        params[name] = draw(params[name], 1e-3)
    for name in ("albedo_skin", "hair_basis", "transfer_shade"):
        params[name] = draw(params[name], 0.01)
    params |= {
        "position_mean": jnp.asarray(place),
        "shell_mean": draw(params["shell_mean"], 0.1),
        "albedo_mean": jnp.full_like(params["albedo_mean"], -1.0),
        "transfer": params["transfer"].at[:, 0].set(0.8),
        "shell_transfer": params["shell_transfer"].at[:, 0].set(0.8),
        "opacity": jnp.full_like(params["opacity"], 4.0),
    }
    frame, width = discs.frames(
        *discs.tangents(jnp.asarray(place), neighbours), jnp.tile(jnp.array([1.0, 0]), (len(place), 1))
    )
    rest = jnp.tile(jnp.array([1.0, 0, 0, 0]), (len(place) + SHELL, 1))
    count = ROWS * COLUMNS
    buffers |= {
        "corners": jnp.repeat(jnp.arange(count)[:, None], 3, 1).astype(jnp.float32),
        "weights": jnp.full((count, 3), 1 / 3),
        "neighbours": jnp.asarray(neighbours, jnp.float32),
        "turn": jnp.tile(jnp.array([1.0, 0]), (count, 1)),
        "rest_quat": rest,
        "rest_width": jnp.concatenate([width, jnp.full((SHELL, 2), 0.02)]),
        "facing": jnp.where(frame[:, 2, 2] < 0, -1.0, 1.0),
        "backing": jnp.arange(5.0),
        "uv": jnp.asarray(rng.uniform(-0.9, 0.9, (count + SHELL, 2)), jnp.float32),
        "units_mean": jnp.full(6, 0.2),
        "units_spread": jnp.full(6, 0.5),
        "units_mix": 0.3 * jnp.eye(6),
        "light_mean": jnp.zeros(27).at[:3].set(0.7),
        "light_mix": 0.05 * jnp.eye(27),
        "people": draw(buffers["people"], 1.0),
        "keys": draw(buffers["keys"], 1.0),
        "shape_mix": jnp.eye(4),
    }
    return prior, {"params": params, "buffers": buffers}


def points(prior, variables, w):
    return jax.jit(lambda v, w: prior.points(v, Latent(w)))(variables, w)


def latent_of(prior, variables, count=2, seed=1):
    z = jax.random.normal(jax.random.key(seed), (count, prior.z_dim))
    return prior.mapping(variables, z, jnp.zeros((count, 25)))


def test_it_is_a_prior(head):
    prior, variables = head
    assert isinstance(prior, Prior)
    latent = latent_of(prior, variables)
    assert latent.w.shape == (2, prior.num_ws, prior.w_dim)
    assert len(prior.layer_names) == prior.num_ws
    assert prior.mean_latent(variables).shape == (prior.num_ws, prior.w_dim)
    made = jax.jit(prior.gaussians)(variables, latent)
    assert made.mean.shape == (2, prior.num_gaussians, 3)
    assert prior.num_gaussians == CONFIG.points + CONFIG.backing
    assert float(made.scale.min()) > 0
    assert float(made.opacity.min()) >= 0
    assert float(made.opacity.max()) <= 1
    for leaf in jax.tree.leaves(made):
        assert bool(jnp.isfinite(leaf).all())


def test_gradients_are_finite_where_everything_is_at_rest(head):
    prior, variables = head
    total = lambda w: sum(jnp.sum(x**2) for x in jax.tree.leaves(prior.gaussians(variables, Latent(w[None]))))  # noqa: E731
    for w in (prior.mean_latent(variables), 30 * prior.mean_latent(variables) + 5):
        assert bool(jnp.isfinite(jax.jit(jax.grad(total))(w)).all())


def test_units_move_points_in_proportion_and_nothing_else(head):
    """Coordinates of the row that feeds the basis: twice the weight moves twice as far, and no colour of skin."""
    prior, variables = head
    w = jnp.broadcast_to(prior.mean_latent(variables), (3, prior.num_ws, prior.w_dim))
    unit = prior.config.parts["units"].start + 2
    w = w.at[:, 1, unit].add(jnp.array([0.0, 1.0, 2.0]))
    position, _, alpha = points(prior, variables, w)
    step = position[1] - position[0]
    assert float(jnp.abs(step[: CONFIG.on_head]).max()) > 1e-4
    np.testing.assert_allclose(position[2] - position[0], 2 * step, atol=1e-6)
    np.testing.assert_allclose(step[: CONFIG.on_head], 0.5 * variables["params"]["position_units"][2], atol=1e-6)
    np.testing.assert_array_equal(alpha[0], alpha[1])


def test_random_expressions_have_no_negative_weights(head):
    prior, variables = head
    w = latent_of(prior, variables, 50).w[:, 0, prior.config.parts["units"]]
    w = np.asarray(w)
    weights = np.asarray(variables["buffers"]["units_mean"]) + w * np.asarray(variables["buffers"]["units_spread"])
    assert float(weights.min()) >= -1e-6
    assert float(weights.max()) <= 1 + 1e-6
    assert float(weights.std()) > 0.05


def test_light_of_a_colour_colours(head):
    prior, variables = head
    w = jnp.broadcast_to(prior.mean_latent(variables), (1, prior.num_ws, prior.w_dim))
    light = prior.config.parts["light"].start
    _, plain, _ = points(prior, variables, w)
    _, red, _ = points(prior, variables, w.at[:, 5, light].add(4.0))  # the first harmonic's red
    gained = (red - plain)[0, : CONFIG.on_head].mean(0)
    assert float(gained[0]) > 0.02
    np.testing.assert_allclose(gained[1:], 0, atol=1e-6)


def test_a_network_adds_nothing_until_its_gain_is_learnt(head):
    """And then it moves points, through rows of its own."""
    plain, variables = head
    prior = Morphable(dataclasses.replace(CONFIG, network=True, plane_resolution=8, channel_base=64, channel_max=8))
    fresh = prior.init(jax.random.key(0))
    params = {**fresh["params"], **variables["params"]}
    buffers = {**fresh["buffers"], **variables["buffers"]}
    assert prior.num_ws == plain.num_ws + 4
    assert len(prior.layer_names) == prior.num_ws
    w = jnp.zeros((1, prior.num_ws, prior.w_dim))
    draw = jax.jit(lambda p, w: prior.points({"params": p, "buffers": buffers}, Latent(w))[0])
    bases = points(plain, variables, w[:, : plain.num_ws])[0]
    np.testing.assert_allclose(draw(params, w), bases, atol=1e-6)
    louder = {**params, "residual_gain": jnp.ones_like(params["residual_gain"])}
    assert float(jnp.abs(draw(louder, w) - bases).max()) > 1e-4
    assert float(jnp.abs(draw(louder, w.at[:, -1].add(1.0)) - draw(louder, w)).max()) > 1e-5


def test_harmonics_and_display_are_those_of_the_people():
    towards = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    np.testing.assert_allclose(morphable.harmonics(jnp.asarray(towards)), harmonics(towards), atol=1e-6)
    light = np.linspace(0.001, 3, 50, dtype=np.float32)
    # The people's is a table of 4096 steps, whose first are steep.
    np.testing.assert_allclose(morphable.display(jnp.asarray(light)), [display(x) for x in light], atol=2e-3)
    np.testing.assert_array_equal(morphable.DIFFUSE, statistics.DIFFUSE)  # rooms that may not import one another
    assert morphable.ALPHA_OVERSHOOT == statistics.ALPHA_OVERSHOOT


def test_rotations_become_their_quaternions():
    rng = np.random.default_rng(0)
    quat = rng.normal(size=(200, 4))
    quat[:, 0] = np.abs(quat[:, 0]) + 0.5 * np.linalg.norm(quat[:, 1:], axis=1)  # by less than 150°
    rotation = rotation_from_quat(jnp.asarray(quat, jnp.float32))
    back = rotation_from_quat(discs.quat_from_rotation(rotation))
    np.testing.assert_allclose(back, rotation, atol=1e-5)


def test_discs_lie_in_the_surface_and_are_as_wide_as_texels_are_apart():
    points, neighbours = sheet()
    turn = jnp.tile(jnp.array([1.0, 0.0]), (len(points), 1))
    u, v = discs.tangents(jnp.asarray(points), neighbours)
    frame, width = discs.frames(u, v, turn)
    inner = np.flatnonzero((np.asarray(neighbours) != np.arange(len(points))[:, None]).all(1))
    np.testing.assert_allclose(width[inner, 1], 0.02, rtol=1e-3)
    slope = -0.004 * (points[inner, 0] / 0.02 - 4)  # of the sheet, a column
    np.testing.assert_allclose(width[inner, 0], np.hypot(0.02, slope), rtol=1e-3)
    np.testing.assert_allclose(
        jnp.einsum("nij,nik->njk", frame, frame)[inner], np.tile(np.eye(3), (len(inner), 1, 1)), atol=1e-3
    )
    normal = np.stack([-slope / 0.02, np.zeros(len(inner)), np.ones(len(inner))], -1)
    cosine = (frame[inner, :, 2] * normal / np.linalg.norm(normal, axis=1, keepdims=True)).sum(-1)
    np.testing.assert_allclose(np.abs(cosine), 1, atol=1e-4)


def test_halves_on_disk_keep_indices(head, tmp_path):
    prior, variables = head
    large = {**variables["buffers"], "corners": variables["buffers"]["corners"].at[0].set(2049.0)}
    priors.save(tmp_path / "p", prior, {**variables, "buffers": large}, card="# x", dtype="float16")
    again, stored = priors.load(tmp_path / "p")
    assert again == prior
    assert float(stored["buffers"]["corners"][0, 0]) == 2049  # float16 would say 2048
    np.testing.assert_allclose(stored["params"]["position_mean"], variables["params"]["position_mean"], atol=1e-3)


@pytest.mark.parametrize("wrong", [{"light": 26}, {"plane_resolution": 48}, {"backing": 10**6}, {"shape": 0}])
def test_impossible_options_are_refused(wrong):
    with pytest.raises(UserError):
        MorphableConfig(**wrong)
