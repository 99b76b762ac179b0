"""SSIM, L1 and PSNR: bounds, known values, masks, and an independent formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import correlate1d

from jax_talker.losses import l1, masked_mean, ssim_map
from jax_talker.losses.image import LONG, SSIM_C1, SSIM_C2, STRIP
from jax_talker.metrics import psnr, ssim


@pytest.fixture
def images():
    return pair_of(24, 20)


def pair_of(height, width):
    rng = np.random.default_rng(0)
    a = rng.random((2, height, width, 3)).astype(np.float32)
    return jnp.asarray(a), jnp.asarray(np.clip(a + 0.1 * rng.standard_normal(a.shape), 0, 1).astype(np.float32))


@pytest.mark.parametrize("shape", [(24, 20), (20, 2 * STRIP + 30), (LONG + 1, 20)])  # one strip and several
def test_ssim_equals_an_independent_formula(shape):
    images = pair_of(*shape)
    a, b = (np.asarray(x, np.float64) for x in images)
    t = np.arange(-5, 6)
    window = np.exp(-(t**2) / (2 * 1.5**2))
    window /= window.sum()

    def blur(x):
        return correlate1d(correlate1d(x, window, axis=1, mode="constant"), window, axis=2, mode="constant")

    ma, mb = blur(a), blur(b)
    va, vb, cov = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
    wanted = (2 * ma * mb + SSIM_C1) * (2 * cov + SSIM_C2) / ((ma**2 + mb**2 + SSIM_C1) * (va + vb + SSIM_C2))
    np.testing.assert_allclose(ssim_map(*images), wanted.mean(-1), atol=2e-5)  # float32 variances by difference


def test_ssim_is_one_only_for_equal_images(images):
    a, b = images
    np.testing.assert_allclose(ssim(a, a), 1, atol=1e-5)
    assert (ssim(a, b) < 0.99).all()
    np.testing.assert_allclose(ssim(a, b), ssim(b, a), atol=1e-6)


def test_psnr_of_a_known_error():
    a = jnp.zeros((2, 4, 4, 3))
    np.testing.assert_allclose(psnr(a, a + 0.1), 20, atol=1e-4)
    np.testing.assert_allclose(psnr(a, a), 100)


def test_psnr_inside_a_mask_ignores_the_rest(images):
    a, b = images
    mask = jnp.zeros(a.shape[:3]).at[:, 4:9, 3:8].set(1.0)
    worse = b.at[:, 15:].set(0.0)
    np.testing.assert_allclose(psnr(a, b, mask), psnr(a, worse, mask))
    assert jnp.isnan(psnr(a, b, jnp.zeros_like(mask))).all()


def test_masked_l1(images):
    a, _ = images
    mask = jnp.zeros(a.shape[:3]).at[0, 3, 4].set(1.0)
    b = a.at[0, 3, 4].add(0.5)
    np.testing.assert_allclose(l1(a, b, mask), 0.5, atol=1e-6)
    np.testing.assert_allclose(l1(a, b), 0.5 / mask.size, rtol=1e-4)
    assert masked_mean(mask, jnp.zeros_like(mask)) == 0


def test_gradients_are_finite_on_flat_images():
    flat = jnp.full((1, 16, 16, 3), 0.5)
    gradient = jax.grad(lambda x: ssim_map(x, flat).sum())(flat)
    assert jnp.isfinite(gradient).all()
