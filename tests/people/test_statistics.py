"""Bases from a few people of the tiny pack, and the generator that they make: it draws those people again."""

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from configs.prior_people import get_config
from jax_talker.app import people_training
from jax_talker.people import statistics
from jax_talker.people.corpus import (
    Corpus,
    CorpusSpec,
    Points,
    harmonics,
    light_numbers,
    load_or_make,
    rest_shapes,
    undisplay,
)
from jax_talker.people.light import directions, irradiance, studio
from jax_talker.people.raster import display
from jax_talker.types import Latent

SPEC = CorpusSpec(people=6, moments=2, size=64, shell=12)


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory):
    """Points, a corpus of six people and its folder."""
    folder = tmp_path_factory.mktemp("corpus")
    return Points(tiny, SPEC.size, SPEC.shell), load_or_make(folder, tiny, SPEC), folder


@pytest.fixture(scope="module")
def bases(made):
    points, corpus, _ = made
    return statistics.statistics(points, corpus, rest_shapes(points, range(8)), statistics.Sizes(6, 6, 5, 5))


def test_light_becomes_numbers_and_display_is_undone():
    """What falls on a plane is nearly that of the harmonics alone (Ramamoorthi and Hanrahan: 1 to 3 %)."""
    towards, numbers = directions(), light_numbers(studio())
    seen, wrap = np.ones((len(towards), len(towards)), np.float32), np.full(len(towards), 1, np.float32)
    falling = lambda radiance: irradiance(towards, seen, wrap, towards, radiance.astype(np.float32))  # noqa: E731
    truth = falling(studio().radiance(towards))
    assert np.abs(falling(harmonics(towards) @ numbers) - truth).max() < 0.06 * truth.mean()
    light = np.linspace(0, 1.2, 40)
    # A byte's and the table's rounding grow where the shoulder is flat.
    np.testing.assert_allclose(undisplay(np.array([display(np.float32(x)) for x in light])), light, atol=0.01)


def test_a_corpus_goes_on_where_it_was_left_and_depends_on_its_seeds_alone(made, tiny, tmp_path):
    _, whole, _ = made
    part = CorpusSpec(people=2, moments=2, size=64, shell=12, first=1)
    again = load_or_make(tmp_path, tiny, part)
    for name in ("neutral", "albedo", "units", "color", "hair"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name)[1:3])
    stored = (tmp_path / "corpus.json").stat().st_mtime_ns
    load_or_make(tmp_path, tiny, part)
    assert (tmp_path / "corpus.json").stat().st_mtime_ns == stored


def test_points_lie_between_their_vertices(made):
    points, corpus, _ = made
    np.testing.assert_allclose(points.weights.sum(1), 1, atol=1e-4)
    place = points.at(corpus.neutral[0])
    corners = corpus.neutral[0][points.corners]
    assert (place >= corners.min(1) - 1e-5).all()
    assert (place <= corners.max(1) + 1e-5).all()


def test_components_give_back_what_they_came_from():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(7, 5, 3)) * np.array([3.0, 1, 0.1])
    mean, basis = statistics.components(values, 8)
    own = statistics._coordinates(mean, basis, values)
    np.testing.assert_allclose(mean + np.tensordot(own, basis, 1), values, atol=1e-4)
    np.testing.assert_allclose(own[:, :6].std(0, ddof=1), 1, atol=1e-3)
    assert not basis[6:].any()  # seven people span six directions


def test_the_generator_draws_its_people_at_their_latents(made, bases):
    """As many coordinates as people: what is left is what is not linear."""
    points, corpus, _ = made
    config = get_config()
    config.basis.shape, config.basis.skin, config.basis.hair, config.basis.shade = 6, 6, 5, 5
    prior, variables = people_training.build(config, points, bases)
    score = people_training.score(prior, variables, points, bases, corpus)
    assert score["position"] < 1.5  # mm; the tiny pack's ball is as large as a head
    assert score["skin"] > 24
    other = Corpus(**{**vars(corpus), "albedo": corpus.albedo[::-1], "neutral": corpus.neutral[::-1]})
    worse = people_training.score(prior, variables, points, bases, Corpus(**{**vars(corpus), "units": 0 * other.units}))
    assert worse["position"] > score["position"]


def test_a_direction_for_each_unit_moves_what_the_unit_moves(made, bases, tiny, tmp_path):
    points, _, _ = made
    config = get_config()
    config.basis.shape, config.basis.skin, config.basis.hair, config.basis.shade = 6, 6, 5, 5
    prior, variables = people_training.build(config, points, bases)
    people_training.write(tmp_path / "p", prior, variables, tiny.units, "# x")
    stored = safetensors.numpy.load_file(tmp_path / "p" / "expressions.safetensors")
    assert set(stored) == set(tiny.units)
    jaw = stored["jawOpen"]
    assert jaw.shape == (prior.num_ws, prior.w_dim)
    assert np.flatnonzero(jaw.any(1)).tolist() == [prior.layer_names.index("units")]  # the shortest that does it
    mean = np.asarray(prior.mean_latent(variables))
    position = np.asarray(prior.points(variables, Latent(jnp.stack([mean, mean + jaw])))[0])
    moved = (position[1] - position[0])[: points.on_head]
    wanted = points.at(bases["position_units"][tiny.units.index("jawOpen")])
    assert np.abs(wanted).max() > 0.01
    np.testing.assert_allclose(moved, wanted, atol=2e-3 * np.abs(wanted).max() + 1e-5)
