"""Generators are trained in bfloat16 where a configuration says so: their gradients are float32's, rounded.

bfloat16 keeps 8 bits, so each product is off by 0.2 % at most, and an array's gradient by the sum of what the layers
behind it add: of the arrays here by 0.02 to 4.7 % of its length, of all together by 1.0 and 1.2 %.
"""

from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest
from training import tiny

from configs import prior as prior_config
from configs import prior_people
from jax_talker.app import people_training, prior_training
from jax_talker.people.corpus import Points
from jax_talker.priors import Morphable, MorphableConfig
from jax_talker.training import prior_step, texture_step
from jax_talker.training.objective import ImageLoss
from jax_talker.training.shares import batch_of

OF_ONE, OF_ALL = 0.08, 0.02  # of the length of one array's gradient, and of all gradients
DESCENT = optax.sgd(1.0)  # moves by the gradient
MORPHABLE = MorphableConfig(
    vertices=48, on_head=48, on_shell=9, backing=5, people=3, shape=4, units=6, skin=3, hair=2, shade=2, network=True,
    plane_resolution=16, channel_base=128, channel_max=8,
)  # fmt: skip


def gradients(step, state, batch):
    """Of what is learnt, by name; those that are not zero."""
    after, measured = jax.jit(step)(state, batch)
    assert measured["skipped"] == 0
    moved = jax.tree.map(lambda a, b: np.asarray(a - b, np.float64), state.params["live"], after.params["live"])
    named = {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(moved)}
    return {name: x for name, x in named.items() if x.any()}


def assert_rounded(got, wanted):
    assert got.keys() == wanted.keys()
    off = {name: np.linalg.norm(got[name] - x) / np.linalg.norm(x) for name, x in wanted.items()}
    worst = max(off, key=off.get)
    assert off[worst] < OF_ONE, (worst, off[worst])
    flat = [np.concatenate([x.ravel() for x in of.values()]) for of in (got, wanted)]
    assert 1e-4 < np.linalg.norm(flat[0] - flat[1]) / np.linalg.norm(flat[1]) < OF_ALL, "rounded, and no more"


def test_of_a_gghead_seen_in_pictures(small_prior):
    prior, variables = small_prior
    rows = tiny.people(prior)

    def found(compute):
        how = (DESCENT, ImageLoss(1.0, 0.2), prior_step.PriorWeights())
        step = prior_step.make_prior_step(replace(prior, compute=compute), *how, size=24)
        return gradients(step, prior_step.initial_state(variables, DESCENT, 0), batch_of(rows))

    assert_rounded(found("bfloat16"), found("float32"))


def test_of_a_network_in_texture_space():
    prior = Morphable(MORPHABLE)
    rng = np.random.default_rng(0)
    fresh = prior.init(jax.random.key(0))
    variables = jax.tree.map(lambda x: x + 0.1 * rng.standard_normal(x.shape, np.float32), fresh)
    shapes = {
        "w": (4, prior.w_dim), "position": (4, 48, 3), "color": (4, 48, 3), "hair_color": (4, 9, 3), "hair": (4, 9),
    }  # fmt: skip
    batch = batch_of({name: rng.random(shape, np.float32) for name, shape in shapes.items()}, np.ones(48, np.float32))

    def found(compute):
        weights = texture_step.TextureWeights(unit=0.1)  # of points that are anywhere, not only near the truth
        step = texture_step.make_texture_step(replace(prior, compute=compute), DESCENT, weights)
        return gradients(step, texture_step.state_of(variables, DESCENT, 0), batch)

    assert_rounded(found("bfloat16"), found("float32"))


def small_gghead(config):
    config.prior.update(w_dim=8, mapping_layers=1, plane_resolution=8, channel_base=64, channel_max=8, uv_samples=14)
    return prior_training.build(config)[0]


def small_morphable(config):
    config.network.update(network=True, plane_resolution=8, channel_base=64, channel_max=8)
    config.basis.update(shape=4, skin=3, hair=2, shade=2)

    class Few(Points):
        on_head = 48

        def __init__(self):
            self.vertices, self.pack = range(48), SimpleNamespace(units=tuple("abcdef"))

        def __len__(self):
            return 57

    fresh = Morphable(MORPHABLE).init(jax.random.key(0))["buffers"]
    return people_training.build(config, Few(), {name: np.asarray(fresh[name]) for name in ("backing", "people")})[0]


@pytest.mark.parametrize(
    ("get_config", "build"), [(prior_config.get_config, small_gghead), (prior_people.get_config, small_morphable)]
)
def test_the_configuration_chooses_it(get_config, build):
    config = get_config()
    assert config.prior.compute == "float32"
    config.prior.compute = "bfloat16"
    assert build(config).compute == "bfloat16"
