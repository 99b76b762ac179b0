"""Capacities: measured exactly, overflow counted exactly, and enough room after one growth."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels import default_capacity, grow_capacity, rasterize, suggest_capacity
from kernels.binning import _sort_by_tile, bin_splats, count_pairs, shapes_of
from kernels.inputs import make_settings, to_scene
from kernels.projection import project
from tests.kernels.scenes import load_scene, look, quickly_compiled, random_gaussians

WIDTH, HEIGHT = 100, 90


def workload():
    gaussians = random_gaussians(jax.random.key(0), (2,), count=150)
    return gaussians, look(2, (2,), width=WIDTH, height=HEIGHT)


@functools.cache
def measured(capacity):
    """Bins at a capacity, and the true number of pairs [images]."""
    gaussians, camera = workload()
    settings = make_settings(WIDTH, HEIGHT, None, np.inf, 0.3, False, 0.0, "3dgs", capacity)

    @quickly_compiled
    def measure(gaussians, camera):
        splats = project(to_scene(gaussians, camera, None)[0], settings)
        shapes = shapes_of(splats)
        return bin_splats(shapes, settings), count_pairs(shapes, settings), splats

    return measure(gaussians, camera)


def test_lists_hold_exactly_what_touches_a_tile():
    """Every (tile, Gaussian) pair with a pixel that is drawn is listed, in order of depth; hardly any other is.

    Brute force over pixels. The lists may hold pairs whose ellipse touches a tile between its pixels' centres.
    """
    bins, pairs, splats = measured(None)
    listed = np.asarray(bins.end - bins.first).reshape(4, -1)
    np.testing.assert_array_equal(listed.sum(-1), pairs)
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    extra = missing = 0
    for image in range(4):
        scene, view = divmod(image, 2)
        u, v = np.asarray(splats.center[scene, view], np.float64).T
        a, s, r = np.asarray(splats.falloff[scene, view], np.float64).T
        for tile in range(listed.shape[1]):
            first, end = int(bins.first[image * 42 + tile]), int(bins.end[image * 42 + tile])
            mine = np.asarray(bins.entries[first:end]) - image * 150
            depths = np.asarray(splats.depth[scene, view])[mine]
            assert (np.diff(depths) >= 0).all()
            rows, columns = slice(tile // 7 * 16, tile // 7 * 16 + 16), slice(tile % 7 * 16, tile % 7 * 16 + 16)
            px, py = x[rows, columns].reshape(-1, 1), y[rows, columns].reshape(-1, 1)
            t = px - u - s * (py - v)
            alpha = np.asarray(splats.opacity[scene, view]) * np.exp(-0.5 * (a * t**2 + r * (py - v) ** 2))
            left, right, top, bottom = np.asarray(splats.bounds[scene, view]).T
            inside = (px > left) & (px < right) & (py > top) & (py < bottom)
            touching = set(np.flatnonzero((inside & (alpha >= 1 / 255 * (1 + 1e-5))).any(0)))
            missing += len(touching - set(mine.tolist()))
            extra += len(set(mine.tolist()) - touching)
    assert missing == 0
    assert extra < 0.1 * listed.sum()


@pytest.mark.parametrize("share", [0.9, 0.3, 0.01])
def test_overflow_is_exact(share):
    """Whether the pairs or already the rows of tiles find no place, the count is what was lost, image by image."""
    _, pairs, _ = measured(None)
    capacity = max(int(float(pairs.max()) * share), 1)
    bins, again, _ = measured(capacity)
    np.testing.assert_array_equal(again, pairs)
    listed = np.asarray(bins.end - bins.first).reshape(4, -1).sum(-1)
    np.testing.assert_array_equal(listed + np.asarray(bins.overflow), pairs)
    assert (listed <= capacity).all()


def test_overflow_is_reported_and_growing_mends_it():
    gaussians, camera = workload()
    render = functools.partial(rasterize, gaussians, camera, width=WIDTH, height=HEIGHT, implementation="xla")
    small = render(capacity=64)
    assert small.overflow.shape == (2, 2)
    assert int(small.overflow.min()) > 0
    assert np.isfinite(small.image).all()
    capacity = grow_capacity(64, small.overflow)
    assert capacity == 2 ** int(np.log2(capacity))
    enough = render(capacity=capacity)
    np.testing.assert_array_equal(enough.overflow, 0)
    np.testing.assert_array_equal(enough.image, render().image)
    assert grow_capacity(capacity, enough.overflow) == capacity


def test_suggestion_fits(shared):
    """For the workloads: the fullest image's pairs with the headroom that was asked for, rounded up by an eighth."""
    for name in ("head_6k_128", "garden"):
        scene = load_scene(name)
        options = {"constants": "gsplat", "width": scene.width, "height": scene.height}
        exact = suggest_capacity(scene.gaussians, scene.camera, headroom=1.0, **options)
        suggested = suggest_capacity(scene.gaussians, scene.camera, **options)
        settings = make_settings(scene.width, scene.height, None, np.inf, 0.3, False, 0.0, "gsplat", None)
        batch = jax.tree.map(lambda leaf: leaf[None], (scene.gaussians, scene.camera))
        pairs = int(count_pairs(shapes_of(project(to_scene(*batch, None)[0], settings)), settings).max())
        assert pairs <= exact <= pairs * 9 / 8
        assert 1.25 * pairs <= suggested <= 1.25 * pairs * 9 / 8
        assert default_capacity(scene.gaussians.means.shape[0], scene.width, scene.height) >= exact


def test_wrong_options_are_named():
    gaussians, camera = workload()
    with pytest.raises(ValueError, match=r"unknown options \['nearr'\]"):
        suggest_capacity(gaussians, camera, width=8, height=8, nearr=1.0)


def test_default_never_exceeds_everything_everywhere():
    assert default_capacity(10, 32, 32) == 40
    assert default_capacity(0, 32, 32) == 1
    assert default_capacity(350_000, 512, 512) == 1 << 22
    assert jnp.log2(default_capacity(100_000, 512, 512)) % 1 == 0


@pytest.mark.parametrize("tiles", [7, 2**26, 2**26 + 1], ids=["few", "just 32 bits", "more than 32 bits"])
@pytest.mark.parametrize("listed", [0, 41, 64, 90])
def test_sort_by_tile_is_numpys(tiles, listed):
    """Stable, with one key or two, and also where the last pair's key is the largest there is."""
    tile = np.random.default_rng(0).integers(tiles - 7, tiles, 64).astype(np.int32)
    tile[-1] = tiles - 1
    sorted_tile, place = _sort_by_tile(jnp.asarray(tile)[None], jnp.asarray([listed]), tiles)
    real = min(listed, 64)
    order = np.argsort(tile[:real], kind="stable")
    np.testing.assert_array_equal(place[0, :real], order)
    np.testing.assert_array_equal(sorted_tile[0], [*tile[:real][order], *[tiles] * (64 - real)])
