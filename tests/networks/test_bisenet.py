"""The face parsing network: its sizes, its weights' errors (tests/converters compares it with PyTorch)."""

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from jax_talker.errors import UserError
from jax_talker.networks import bisenet


def write_weights(folder, change=lambda arrays: None):
    rng = np.random.default_rng(0)
    arrays = {name: (0.05 * rng.standard_normal(shape)).astype(np.float32) for name, shape in bisenet.shapes().items()}
    change(arrays)
    safetensors.numpy.save_file(arrays, folder / bisenet.FILE)
    return folder


def test_missing_or_wrong_weights_are_said(tmp_path):
    with pytest.raises(UserError, match=r"no face parsing weights; get 79999_iter\.pth .*python -m converters bisenet"):
        bisenet.load_parser(tmp_path)
    (tmp_path / bisenet.FILE).write_bytes(b"no safetensors at all")
    with pytest.raises(UserError, match="damaged"):
        bisenet.load_parser(tmp_path)
    write_weights(tmp_path, lambda arrays: arrays.pop("classes/kernel"))
    with pytest.raises(UserError, match="do not fit"):
        bisenet.load_parser(tmp_path)
    write_weights(tmp_path)
    with pytest.raises(UserError, match="multiple of 32"):
        bisenet.load_parser(tmp_path, size=100)


def test_every_picture_gets_classes_of_its_own_size(tmp_path):
    parser = bisenet.load_parser(write_weights(tmp_path), size=64)
    for size in (64, 50):
        picture = np.random.default_rng(size).integers(0, 256, (size, size, 3), np.uint8)
        parts = parser(picture)
        assert parts.shape == (size, size)
        assert parts.dtype == np.uint8
        assert parts.max() < bisenet.CLASSES
        np.testing.assert_array_equal(parts, parser(picture))


def test_corners_stay_where_they_are_and_lines_stay_straight():
    """Enlarging a ramp gives a ramp with the same ends."""
    ramp = jnp.linspace(0, 7, 8)[None, :, None, None] + 10 * jnp.linspace(0, 7, 8)[None, None, :, None]
    large = bisenet.enlarge(ramp, 29)[0, :, :, 0]
    want = np.linspace(0, 7, 29)[:, None] + 10 * np.linspace(0, 7, 29)[None]
    np.testing.assert_allclose(large, want, atol=1e-4)  # float32 at 77


def test_coarse_features_lie_where_they_were():
    coarse = jnp.arange(4.0).reshape(1, 2, 2, 1)
    like = jnp.zeros((1, 4, 6, 5))
    want = np.kron(np.arange(4.0).reshape(2, 2), np.ones((2, 3)))
    np.testing.assert_array_equal(bisenet._nearest(coarse, like)[0, :, :, 0], want)
