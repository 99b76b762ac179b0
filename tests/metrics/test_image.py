"""SSIM in scikit-image's variant against scikit-image."""

import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker.metrics import ssim, ssim_skimage

similarity = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed").structural_similarity


def pictures(kind, shape=(37, 52)):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (*shape, 3), np.uint8)
    if kind == "noise":
        return rng.integers(0, 256, (*shape, 3), np.uint8), truth
    if kind == "bright":  # flat and white: variances are tiny differences of large means of squares
        truth = (250 + rng.integers(0, 3, (*shape, 3))).astype(np.uint8)
    return np.clip(truth.astype(int) + rng.integers(-9, 10, truth.shape), 0, 255).astype(np.uint8), truth


@pytest.mark.parametrize("kind", ["noise", "near", "bright"])
def test_equals_skimage(kind):
    pred, truth = pictures(kind)
    wanted = similarity(pred, truth, channel_axis=-1)
    found = ssim_skimage(*(jnp.asarray(x, jnp.float32)[None] / 255 for x in (pred, truth)))
    np.testing.assert_allclose(found, [wanted], atol=2e-5)  # float32 sums of 49 values of size 1, against c2 = 9e-4


def test_both_variants_differ_and_are_one_for_equal_pictures():
    pred, truth = (jnp.asarray(x, jnp.float32)[None] / 255 for x in pictures("near"))
    np.testing.assert_allclose(ssim_skimage(truth, truth), 1, atol=1e-6)
    assert abs(float(ssim_skimage(pred, truth)[0] - ssim(pred, truth)[0])) > 1e-4


def test_too_small_a_picture_is_refused():
    with pytest.raises(ValueError, match="no window"):
        ssim_skimage(jnp.zeros((1, 6, 20, 3)), jnp.zeros((1, 6, 20, 3)))
