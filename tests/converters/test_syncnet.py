"""SyncNet: a file laid out as syncnet_v2.model, made here with random numbers, against PyTorch."""

import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from networks.random_state import RandomState  # noqa: E402

from converters import syncnet as converter  # noqa: E402
from converters.errors import CheckpointError  # noqa: E402
from jax_talker.metrics import sync  # noqa: E402
from jax_talker.networks import syncnet, weights_file  # noqa: E402

pytestmark = pytest.mark.torch
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
LIPS = (
    (0, 96, 3, 5, 7, 7),
    (4, 256, 96, 1, 5, 5),
    *((k, 256, 256, 1, 3, 3) for k in (8, 11, 14)),
    (18, 512, 256, 1, 6, 6),
)
SOUND = (
    *((0, 64, 1, 3, 3), (4, 192, 64, 3, 3), (8, 384, 192, 3, 3), (11, 256, 384, 3, 3), (14, 256, 256, 3, 3)),
    (18, 512, 256, 5, 4),
)


@pytest.fixture(scope="module")
def state():
    state = RandomState()
    for part, convolutions in (("netcnnlip", LIPS), ("netcnnaud", SOUND)):
        for place, *shape in convolutions:
            state.layer(f"{part}.{place}", *shape, bias=True)
            state.norm(f"{part}.{place + 1}", shape[0])
    for part in ("netfclip", "netfcaud"):
        state.layer(f"{part}.0", 512, 512, bias=True)
        state.norm(f"{part}.1", 512)
        state.layer(f"{part}.3", 1024, 512, bias=True)
    return state


@pytest.fixture(scope="module")
def params(state, tmp_path_factory):
    """Converted as a user does it; the original file is of the layout before PyTorch 1.6."""
    root = tmp_path_factory.mktemp("syncnet")
    torch.save(state, root / "syncnet_v2.model", _use_new_zipfile_serialization=False)
    command = [sys.executable, "-m", "converters", "syncnet", "syncnet_v2.model", "weights"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, env=ENVIRONMENT, timeout=600)
    assert done.returncode == 0, done.stderr
    return weights_file.load(root / "weights" / syncnet.FILE, syncnet.shapes(), "SyncNet")


def test_equals_torch(state, params):
    from converters.torch_reference import syncnet as reference

    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (2, 5, 224, 224, 3)).astype(np.float32)
    cepstra = rng.normal(size=(2, 13, 20, 1)).astype(np.float32) * 5
    with torch.no_grad():
        wanted = (
            reference.lips(state, torch.from_numpy(frames).permute(0, 4, 1, 2, 3)),
            reference.sound(state, torch.from_numpy(cepstra).permute(0, 3, 1, 2)),
        )
    found = syncnet.embed_lips(params, jnp.asarray(frames)), syncnet.embed_sound(params, jnp.asarray(cepstra))
    for got, want in zip(found, wanted, strict=True):
        want = want.numpy()
        assert np.abs(want[0] - want[1]).max() > 0.05 * np.abs(want).max()  # noise looks much like noise
        # float32 sums over up to 9216 products, eight layers deep, taken in another order
        np.testing.assert_allclose(got, want, atol=3e-5 * np.abs(want).max())


def test_the_search_equals_the_originals_loop():
    from converters.torch_reference.syncnet import distances

    rng = np.random.default_rng(1)
    lips, sound = rng.normal(size=(2, 40, 1024)).astype(np.float32)
    sound[:-3] += 3 * lips[3:]
    found = sync.search(lips, sound)
    want = distances(torch.from_numpy(lips), torch.from_numpy(sound), sync.MAX_SHIFT).numpy()
    np.testing.assert_allclose(found.per_shift, want, rtol=1e-5)
    assert found.offset == sync.MAX_SHIFT - want.argmin() == 3
    assert found.distance == pytest.approx(want.min(), rel=1e-5)
    assert found.confidence == pytest.approx(float(torch.tensor(want).median()) - want.min(), rel=1e-4)


def test_every_tensor_is_read_once(state):
    read = [layer for pair in converter.sources().values() for layer in pair if layer]
    assert len(read) == len(set(read))
    assert {name.rpartition(".")[0] for name in state} == set(read)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.pop("netfcaud.3.bias"), "has no tensor netfcaud.3.bias"),
        (lambda s: s.update({"netcnnface.0.weight": torch.zeros(3)}), "nothing uses: netcnnface"),
        (lambda s: s.update({"netcnnlip.18.weight": torch.zeros(512, 256, 1, 7, 7)}), "has shape"),
        (lambda s: s.update({"netcnnaud.18.bias": torch.zeros(7)}), "has shape"),
        (lambda s: s.update({"netfclip.3.bias": torch.full((1024,), float("nan"))}), "not finite"),
    ],
)
def test_other_files_are_refused(state, tmp_path, spoil, message):
    spoilt = RandomState()
    spoilt.update(state)
    spoil(spoilt)
    torch.save(spoilt, tmp_path / "syncnet_v2.model")
    with pytest.raises(CheckpointError, match=message):
        converter.convert(tmp_path / "syncnet_v2.model")
