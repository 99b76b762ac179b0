"""The encoder beside a prior: what it says of pictures, and how it lies on disk."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from jax_talker.errors import UserError
from jax_talker.geometry import make_label, orbit
from jax_talker.priors import load_encoder, save, store
from jax_talker.priors.encoder import SIZE, Encoder

LABELS = jnp.asarray(np.stack([make_label(orbit(yaw, 0)) for yaw in (0, 20)]), jnp.float32)
SPREAD = jnp.linspace(0.5, 3, 6)


@pytest.fixture(scope="module")
def trained(small):
    """Parameters away from their start."""
    params = Encoder(small[0]).init(jax.random.key(1), SPREAD)
    keys = iter(jax.random.split(jax.random.key(2), len(jax.tree.leaves(params))))
    return {**params, "net": jax.tree.map(lambda x: x + 0.05 * jax.random.normal(next(keys), x.shape), params["net"])}


def pictures(size, count=2):
    along = jnp.linspace(0, 1, size)
    each = [jnp.stack([k * along[:, None] * along[None], *[0.5 + 0 * along[:, None] * along[None]] * 2], -1)
            for k in range(1, count + 1)]  # fmt: skip
    return jnp.stack(each) / count


def test_untrained_it_finds_the_mean_in_every_picture(small):
    prior, variables = small
    encoder = Encoder(prior)
    params = encoder.init(jax.random.key(0), SPREAD)
    found = encoder(params, variables, pictures(64), LABELS).w
    assert found.shape == (2, prior.num_ws, prior.w_dim)
    np.testing.assert_allclose(found[0], prior.mean_latent(variables), atol=1e-6)


def test_rows_are_alike_and_pictures_and_cameras_are_not(small, trained):
    encoder = Encoder(small[0])
    found = encoder(trained, small[1], pictures(64), LABELS[:1].repeat(2, 0)).w
    np.testing.assert_array_equal(found[:, 0], found[:, -1])
    assert np.abs(found[0] - found[1]).max() > 1e-3
    turned = encoder(trained, small[1], pictures(64), LABELS[::-1]).w
    assert np.abs(turned[0] - found[0]).max() > 1e-4


@pytest.mark.parametrize("size", [SIZE, 128, 256])
def test_the_size_of_pictures_does_not_matter(small, trained, size):
    encoder = Encoder(small[0])
    found = encoder(trained, small[1], pictures(size), LABELS).w
    usual = encoder(trained, small[1], pictures(SIZE), LABELS).w
    away = np.abs(usual - small[0].mean_latent(small[1])[None]).max()
    assert np.abs(found - usual).max() < 0.03 * away  # half a pixel's shift of a gradient


class TestOnDisk:
    @pytest.fixture
    def folder(self, small, tmp_path):
        save(tmp_path / "prior", *small, card="")
        return tmp_path / "prior"

    def test_round_trip(self, small, trained, folder):
        store.save_encoder(folder, trained)
        encoder, params = load_encoder(folder, small[0])
        assert jax.tree.structure(params) == jax.tree.structure(trained)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2**-11, atol=1e-7), params, trained)
        assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(params))
        found = encoder(params, small[1], pictures(64), LABELS).w
        wanted = encoder(trained, small[1], pictures(64), LABELS).w
        np.testing.assert_allclose(found, wanted, atol=0.01)  # float16 of two hundred terms

    def test_a_prior_may_have_none(self, small, folder):
        assert load_encoder(folder, small[0]) is None

    def test_damaged(self, small, folder):
        (folder / store.ENCODER).write_bytes(b"pictures")
        with pytest.raises(UserError, match="damaged"):
            load_encoder(folder, small[0])

    def test_of_another_prior(self, small, trained, folder):
        store.save_encoder(folder, {**trained, "spread": jnp.ones(7)})
        with pytest.raises(UserError, match="no encoder of this prior"):
            load_encoder(folder, small[0])

    def test_not_finite(self, small, trained, folder):
        store.save_encoder(folder, trained)
        arrays = safetensors.numpy.load_file(folder / store.ENCODER)
        arrays["spread"] = np.full(6, np.nan, np.float16)
        safetensors.numpy.save_file(arrays, folder / store.ENCODER)
        with pytest.raises(UserError, match="not finite"):
            load_encoder(folder, small[0])

    def test_a_prior_with_one_may_be_overwritten(self, small, trained, folder):
        store.save_encoder(folder, trained)
        save(folder, *small, card="", overwrite=True)
        assert load_encoder(folder, small[0]) is None, "it belongs to the prior that was replaced"
