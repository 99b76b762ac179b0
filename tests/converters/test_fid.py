"""FID's Inception: a file laid out as pytorch-fid's, made here with random numbers, against PyTorch."""

import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from networks.random_state import RandomState  # noqa: E402

from converters import fid as converter  # noqa: E402
from converters.errors import CheckpointError  # noqa: E402
from jax_talker.app.judging import fid_meter  # noqa: E402
from jax_talker.app.judging.meters import BATCH, Pair  # noqa: E402
from jax_talker.networks import inception, weights_file  # noqa: E402

pytestmark = pytest.mark.torch
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
NAME = "pt_inception-2015-12-05-6726825d.pth"


def a(width, pooled):
    return [
        *(("branch1x1", width, 64, 1, 1), ("branch5x5_1", width, 48, 1, 1), ("branch5x5_2", 48, 64, 5, 5)),
        *(("branch3x3dbl_1", width, 64, 1, 1), ("branch3x3dbl_2", 64, 96, 3, 3), ("branch3x3dbl_3", 96, 96, 3, 3)),
        ("branch_pool", width, pooled, 1, 1),
    ]


def c(width):
    return [
        *(("branch1x1", 768, 192, 1, 1), ("branch7x7_1", 768, width, 1, 1), ("branch7x7_2", width, width, 1, 7)),
        *(("branch7x7_3", width, 192, 7, 1), ("branch7x7dbl_1", 768, width, 1, 1)),
        *(("branch7x7dbl_2", width, width, 7, 1), ("branch7x7dbl_3", width, width, 1, 7)),
        *(("branch7x7dbl_4", width, width, 7, 1), ("branch7x7dbl_5", width, 192, 1, 7)),
        ("branch_pool", 768, 192, 1, 1),
    ]


def e(width):
    return [
        *(("branch1x1", width, 320, 1, 1), ("branch3x3_1", width, 384, 1, 1), ("branch3x3_2a", 384, 384, 1, 3)),
        *(("branch3x3_2b", 384, 384, 3, 1), ("branch3x3dbl_1", width, 448, 1, 1)),
        *(("branch3x3dbl_2", 448, 384, 3, 3), ("branch3x3dbl_3a", 384, 384, 1, 3)),
        *(("branch3x3dbl_3b", 384, 384, 3, 1), ("branch_pool", width, 192, 1, 1)),
    ]


# torchvision's Inception v3, as pytorch-fid patches it: module, inputs, outputs, kernel height and width
BLOCKS = {
    "Mixed_5b": a(192, 32),
    "Mixed_5c": a(256, 64),
    "Mixed_5d": a(288, 64),
    "Mixed_6a": [
        *(("branch3x3", 288, 384, 3, 3), ("branch3x3dbl_1", 288, 64, 1, 1)),
        *(("branch3x3dbl_2", 64, 96, 3, 3), ("branch3x3dbl_3", 96, 96, 3, 3)),
    ],
    **{f"Mixed_6{letter}": c(width) for letter, width in (("b", 128), ("c", 160), ("d", 160), ("e", 192))},
    "Mixed_7a": [
        *(("branch3x3_1", 768, 192, 1, 1), ("branch3x3_2", 192, 320, 3, 3), ("branch7x7x3_1", 768, 192, 1, 1)),
        *(("branch7x7x3_2", 192, 192, 1, 7), ("branch7x7x3_3", 192, 192, 7, 1), ("branch7x7x3_4", 192, 192, 3, 3)),
    ],
    "Mixed_7b": e(1280),
    "Mixed_7c": e(2048),
}
UNITS = [
    *(("Conv2d_1a_3x3", 3, 32, 3, 3), ("Conv2d_2a_3x3", 32, 32, 3, 3), ("Conv2d_2b_3x3", 32, 64, 3, 3)),
    *(("Conv2d_3b_1x1", 64, 80, 1, 1), ("Conv2d_4a_3x3", 80, 192, 3, 3)),
    *((f"{block}.{name}", *sizes) for block, units in BLOCKS.items() for name, *sizes in units),
]


@pytest.fixture(scope="module")
def state():
    state = RandomState()
    for name, inputs, outputs, height, width in UNITS:
        state.layer(f"{name}.conv", outputs, inputs, height, width)
        state.norm(f"{name}.bn", outputs)
    state.layer("fc", 1008, 2048, bias=True)
    return state


@pytest.fixture(scope="module")
def folder(state, tmp_path_factory):
    """Converted as a user does it."""
    root = tmp_path_factory.mktemp("fid")
    torch.save(state, root / NAME)
    command = [sys.executable, "-m", "converters", "fid", NAME, "weights"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, env=ENVIRONMENT, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "--weights weights" in done.stdout
    again = subprocess.run(command, cwd=root, capture_output=True, text=True, env=ENVIRONMENT, timeout=600)
    assert again.returncode == 2
    assert "exists already" in again.stderr
    return root / "weights"


def test_equals_torch(state, folder):
    """From 8-bit pictures to features, resize included, both up and down."""
    from converters.torch_reference import inception as reference

    params = weights_file.load(folder / inception.FILE, inception.shapes(), "FID's Inception")
    for size in ((64, 80), (320, 310)):
        picture = np.random.default_rng(1).integers(0, 256, (2, *size, 3)).astype(np.float32) / 255
        picture[1] = np.linspace(0, 1, size[1])[None, :, None]  # something smooth beside the noise
        with torch.no_grad():
            want = reference.features(state, torch.from_numpy(picture).permute(0, 3, 1, 2)).numpy()
        got = inception.Inception().apply({"params": params}, inception.resized(jnp.asarray(picture)))
        assert want.std() > 0.05
        # float32 sums over up to 3456 products, 48 layers deep, taken in another order
        np.testing.assert_allclose(np.asarray(got), want, atol=1e-4 * np.abs(want).max())


def test_distance_of_two_sets_equals_torchs(state, folder):
    """From 8-bit pictures to the number in the table. The trace of the root of Σ_a Σ_b is the sum of singular values of
    A Bᵀ / (n − 1), of features A and B less their means: exact, however few pictures there are.
    """
    from converters.torch_reference import inception as reference

    rng = np.random.default_rng(3)
    sets = rng.integers(0, 256, (2, 10, 64, 64, 3)).astype(np.uint8)
    sets[1] = sets[1] // 4 + np.linspace(0, 190, 64).astype(np.uint8)[None, :, None]
    meter = fid_meter.FidMeter("fid", weights_file.load(folder / inception.FILE, inception.shapes(), "FID's Inception"))
    for first in (0, BATCH):
        part = [np.concatenate([x[first : first + BATCH], x[-1:].repeat(max(0, first + BATCH - 10), 0)]) for x in sets]
        meter.add(Pair(*part, min(BATCH, 10 - first)))
    with torch.no_grad():
        pictures = (torch.from_numpy(x).permute(0, 3, 1, 2) / 255 for x in sets)
        a, b = (reference.features(state, x).double().numpy() for x in pictures)
    step, a, b = a.mean(0) - b.mean(0), a - a.mean(0), b - b.mean(0)
    roots = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    want = step @ step + ((a**2).sum() + (b**2).sum() - 2 * roots) / 9
    assert meter.scores()[0].value == pytest.approx(want, rel=1e-3)


def test_clean_resize_equals_pillow():
    """As clean-fid calls it: each channel a float picture, bicubic, cut to [0, 255]."""
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(2)
    for size in ((64, 80), (512, 300)):
        picture = rng.integers(0, 256, (*size, 3), np.uint8)
        channels = [image.fromarray(picture[..., k].astype(np.float32)) for k in range(3)]
        want = np.stack([np.asarray(c.resize((299, 299), image.BICUBIC)) for c in channels], -1).clip(0, 255)
        got = inception.resized_clean(jnp.asarray(picture, jnp.float32)[None] / 255)[0]
        np.testing.assert_allclose(got, (want - 128) / 128, atol=2e-5)  # Pillow weighs in double precision


def test_every_tensor_is_used_or_left_out_on_purpose(state):
    left = [name for name in state if converter.UNUSED.fullmatch(name)]
    assert {name for name in left if "num_batches" not in name} == {"fc.weight", "fc.bias"}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.pop("Mixed_6a.branch3x3.bn.bias"), "has no tensor Mixed_6a.branch3x3.bn.bias"),
        (lambda s: s.update({"AuxLogits.conv0.conv.weight": torch.zeros(3)}), "nothing uses: AuxLogits"),
        (lambda s: s.update({"Mixed_5b.branch_pool.conv.weight": torch.zeros(64, 192, 1, 1)}), "has shape"),
        (lambda s: s.update({"Mixed_7c.branch1x1.bn.bias": torch.full((320,), float("nan"))}), "not finite"),
        (
            lambda s: s.update({"Mixed_7c.branch1x1.bn.bias": torch.full((320,), 1e300, dtype=torch.float64)}),
            "not finite",
        ),
        (lambda s: s.update({"Mixed_7c.branch1x1.bn.running_var": -torch.ones(320)}), "negative variances"),
    ],
)
def test_other_files_are_refused(state, tmp_path, spoil, message):
    spoilt = RandomState()
    spoilt.update(state)
    spoil(spoilt)
    torch.save(spoilt, tmp_path / NAME)
    with pytest.raises(CheckpointError, match=message):
        converter.convert(tmp_path / NAME)
