"""One picture → latent: it comes to look like it, what is not known of it does not count, and nothing is left out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker.app.inverting import Inverter, Portrait
from jax_talker.geometry import make_label, orbit
from jax_talker.training.objective import ImageLoss

SIZE = 32
LABELS = np.stack([make_label(orbit(yaw, 0)) for yaw in (0, 30)])


@pytest.fixture(scope="module")
def invert(small_prior):
    return Inverter(*small_prior, ImageLoss(), size=SIZE, steps=40)


@pytest.fixture(scope="module")
def someone(small_prior, invert):
    """A head of the prior's own, away from its mean."""
    prior, variables = small_prior
    w = prior.mapping(variables, jax.random.normal(jax.random.key(5), (1, prior.z_dim)), jnp.zeros((1, 25))).w[0]
    return np.asarray(w), invert.pictures(np.asarray(w), LABELS)


def off(a, b):
    return float(((a - b) ** 2).mean())


def portrait(image, valid=None):
    return Portrait(image, (image.min(-1) < 0.99).astype(np.float32), LABELS[0], valid)


def test_it_comes_to_look_like_its_portrait(small_prior, invert, someone):
    prior, variables = small_prior
    found = invert.pictures(invert(portrait(someone[1][0])), LABELS)
    mean = invert.pictures(np.asarray(prior.mean_latent(variables)), LABELS)
    assert off(found[0], someone[1][0]) < 0.5 * off(mean[0], someone[1][0])


def test_what_is_not_known_does_not_count(invert, someone):
    image = someone[1][0]
    spoilt, valid = image.copy(), np.ones((SIZE, SIZE), np.float32)
    spoilt[:, : SIZE // 2], valid[:, : SIZE // 2] = (1.0, 0.0, 0.0), 0
    head = portrait(image).head
    believed = invert.pictures(invert(Portrait(spoilt, head, LABELS[0])), LABELS[:1])[0]
    ignored = invert.pictures(invert(Portrait(spoilt, head, LABELS[0], valid)), LABELS[:1])[0]
    half = np.s_[:, SIZE // 2 :]
    assert off(ignored[half], image[half]) < off(believed[half], image[half])


def test_a_unit_that_is_a_long_way_is_found_along_its_direction(small_prior, invert, someone):
    """Ten times as far as a random person is from the mean: too far for as many steps of W+."""
    prior, variables = small_prior
    direction = 10 * (someone[0] - np.asarray(prior.mean_latent(variables)))
    target = invert.pictures(np.asarray(prior.mean_latent(variables)) + 0.5 * direction, LABELS)
    led = Inverter(prior, variables, ImageLoss(), size=SIZE, steps=40, expressions={"jawOpen": direction})
    by_itself, along = (i.pictures(i(portrait(target[0])), LABELS) for i in (invert, led))
    assert off(along[0], target[0]) < 0.5 * off(by_itself[0], target[0])
