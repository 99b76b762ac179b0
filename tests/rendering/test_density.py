"""Density control against a NumPy twin that works Gaussian by Gaussian, and with the rasteriser."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker.errors import UserError
from jax_talker.rendering import Cloud, DensityControl, Observed, render
from jax_talker.types import Camera, Gaussians

EXTENT = 2.0
CONTROL = DensityControl(min_gradient=1.0, dense_scale=0.05, min_opacity=0.1, max_scale=0.2)


def random_cloud(count, alive, seed=0):
    rng = np.random.default_rng(seed)
    there = np.zeros(count, bool)
    there[rng.permutation(count)[:alive]] = True
    cloud = Cloud(
        mean=jnp.asarray(rng.standard_normal((count, 3)), jnp.float32),
        quat=jnp.asarray(rng.standard_normal((count, 4)), jnp.float32),
        log_scale=jnp.asarray(rng.uniform(np.log(0.01), np.log(0.3), (count, 3)), jnp.float32),
        opacity_logit=jnp.asarray(np.where(there, rng.uniform(-4, 3, count), -20), jnp.float32),
        rest={"rgb": jnp.asarray(rng.uniform(size=(count, 3)), jnp.float32)},
        alive=jnp.asarray(there),
    )
    # The last few have never been seen: 0/0 is 0
    images = np.concatenate([rng.integers(1, 5, count - 10), np.zeros(10, int)])
    seen = Observed(jnp.asarray(rng.uniform(0, 6, count) * (images > 0), jnp.float32), jnp.asarray(images, jnp.int32))
    moments = {"mean": jnp.asarray(rng.standard_normal((count, 3)), jnp.float32), "opacity": jnp.ones(count)}
    return cloud, seen, moments


def twin(control, noise, cloud, seen, moments, prune_large):
    """One by one, as the papers have it; ``noise`` [N, 3] is what sampling drew."""
    names = ("mean", "quat", "log_scale", "opacity_logit")
    leaves = {name: np.array(getattr(cloud, name)) for name in names} | {"rgb": np.array(cloud.rest["rgb"])}
    alive, moments = np.array(cloud.alive), {name: np.array(leaf) for name, leaf in moments.items()}
    gradient = np.array(seen.gradient) / np.maximum(np.array(seen.images), 1).astype(np.float32)
    wanted = [i for i in np.flatnonzero(alive) if gradient[i] >= control.min_gradient]
    wanted.sort(key=lambda i: (-gradient[i], i))
    free = list(np.flatnonzero(~alive))
    told = {"cloned": 0, "split": 0, "lost": max(len(wanted) - len(free), 0)}
    to_split, born = set(), set()
    for i, place in zip(wanted, free, strict=False):
        is_large = np.exp(leaves["log_scale"][i]).max() > control.dense_scale * EXTENT
        for leaf in leaves.values():
            leaf[place] = leaf[i]
        alive[place] = True
        born.add(place)
        told["split" if is_large else "cloned"] += 1
        if is_large:
            to_split |= {i, place}
    for i in to_split:
        w, x, y, z = leaves["quat"][i] / np.linalg.norm(leaves["quat"][i])
        rotation = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )
        leaves["mean"][i] += rotation @ (noise[i] * np.exp(leaves["log_scale"][i]))
        leaves["log_scale"][i] -= np.log(control.shrink)
    pruned = 0
    for i in np.flatnonzero(alive):
        goes = 1 / (1 + np.exp(-leaves["opacity_logit"][i])) < control.min_opacity
        goes |= prune_large and np.exp(leaves["log_scale"][i]).max() > control.max_scale * EXTENT
        if goes:
            alive[i], pruned = False, pruned + 1
    leaves["opacity_logit"][~alive] = -20
    for i in range(len(alive)):
        if not alive[i] or i in born or i in to_split:
            for leaf in moments.values():
                leaf[i] = 0
    return leaves, alive, moments, told | {"pruned": pruned, "alive": int(alive.sum())}


@pytest.mark.parametrize("prune_large", [False, True])
@pytest.mark.parametrize("alive", [400, 900, 1000, 0], ids=["room", "little room", "full", "none"])
def test_equals_the_twin(alive, prune_large):
    cloud, seen, moments = random_cloud(1000, alive)
    key = jax.random.key(7)
    noise = np.asarray(jax.random.normal(key, (1000, 3)))
    control = jax.jit(CONTROL.control, static_argnames=("extent", "prune_large"))
    got, fresh, got_moments, changes = control(key, cloud, seen, moments, extent=EXTENT, prune_large=prune_large)
    leaves, there, want_moments, told = twin(CONTROL, noise, cloud, seen, moments, prune_large)
    np.testing.assert_array_equal(got.alive, there)
    for name in ("mean", "quat", "log_scale", "opacity_logit"):
        np.testing.assert_allclose(getattr(got, name), leaves[name], rtol=1e-5, atol=1e-6, err_msg=name)
    np.testing.assert_array_equal(got.rest["rgb"], leaves["rgb"])
    jax.tree.map(np.testing.assert_array_equal, got_moments, want_moments)
    assert {name: int(getattr(changes, name)) for name in told} == told
    assert not fresh.gradient.any()
    assert not fresh.images.any()
    if alive == 400:
        assert min(told["cloned"], told["split"], told["pruned"]) > 10
        assert told["lost"] == 0
    if alive == 900:
        assert told["lost"] > 0
    if alive == 1000:
        assert told["cloned"] + told["split"] == 0 < told["lost"]


def test_with_the_rasteriser():
    """A blob that should be two: the screen-space gradient says so, it is split, and what is off is not drawn."""
    count, size = 8, 32
    cloud = Cloud(
        mean=jnp.zeros((count, 3)).at[:, 2].set(2.0),
        quat=jnp.tile(jnp.asarray([1.0, 0, 0, 0]), (count, 1)),
        log_scale=jnp.full((count, 3), jnp.log(0.2)),
        opacity_logit=jnp.full(count, -20.0).at[0].set(2.0),
        rest=jnp.ones((count, 3)),
        alive=jnp.arange(count) == 0,
    )
    camera = Camera(jnp.eye(4)[None], jnp.asarray([[[32.0, 0, 16], [0, 32, 16], [0, 0, 1]]]))
    target = jnp.zeros((1, size, size, 3)).at[:, 14:18, 4:28].set(1.0)

    def loss(offset):
        gaussians = Gaussians(
            cloud.mean[None],
            cloud.quat[None],
            jnp.exp(cloud.log_scale)[None],
            jax.nn.sigmoid(cloud.opacity_logit)[None],
            cloud.rest[None],
        )
        seen = render(gaussians, camera, size=size, background=(0, 0, 0), means2d_offset=offset, absgrad=True)
        return ((seen.image - target) ** 2).mean(), seen

    gradient, seen = jax.grad(loss, has_aux=True)(jnp.zeros((1, count, 2)))
    assert int(seen.skipped[0]) == 0
    control = DensityControl(min_gradient=1e-3)
    observed = control.observe(control.begin(cloud), gradient, seen.radii, size=size)
    assert int(observed.images[0]) == 1
    assert not observed.gradient[1:].any()
    np.testing.assert_allclose(observed.gradient[0], jnp.linalg.norm(gradient[0, 0]) * 16, rtol=1e-6)
    after, _, _, changes = control.control(jax.random.key(0), cloud, observed, (), extent=1.0)
    assert (int(changes.split), int(changes.alive), int(changes.lost)) == (1, 2, 0)
    np.testing.assert_allclose(jnp.exp(after.log_scale[after.alive]), 0.2 / 1.6, rtol=1e-5)


def test_numbers_out_of_range_are_named():
    with pytest.raises(UserError, match="density control"):
        DensityControl(shrink=1.0)
