"""A clip packed as videos is the same clip again, as exact as a camera's coding leaves it."""

import numpy as np
import pytest

from jax_talker.data.clip.clip import open_clip
from jax_talker.data.clip.clip_writer import ClipWriter
from jax_talker.data.read.packed_clip import STEP, pack, unpack
from jax_talker.errors import UserError
from jax_talker.geometry import make_label

SIZE, FRAMES = 64, 10


def shot(count, shift):
    """A reddish disc that wanders over white, its upper and lower half, and where it is."""
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    inside = np.hypot(x - 32 - count - shift, y - 32) - 20
    head = np.clip(0.5 - inside, 0, 1)
    color = np.stack([0.7 + 0.2 * np.sin(x / 9), 0.4 + 0.1 * np.cos(y / 7), 0.3 + 0 * x], -1)
    image = 1 - head[..., None] * (1 - color)
    masks = np.stack([(inside < -5) & (y < 32), (inside < -5) & (y > 32), head], -1)
    return np.rint(255 * image).astype(np.uint8), np.rint(255.0 * masks).astype(np.uint8)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    rng = np.random.default_rng(0)

    def arrays():
        label = np.repeat(make_label(np.eye(4)[None]), FRAMES, 0).astype(np.float32)
        points = rng.uniform(0, SIZE, (FRAMES, 5, 2)).astype(np.float32)
        return {"label": label, "blink": rng.random(FRAMES, np.float32), "landmarks": points}

    root = tmp_path_factory.mktemp("packed") / "clip"
    with ClipWriter(root, size=SIZE, source={"made": "here"}) as writer:
        for i in range(FRAMES):
            writer.add(*shot(i, 0))
            writer.add(*shot(i, 3), view="left")
        front = arrays() | {"motion": rng.normal(size=(FRAMES, 4)).astype(np.float32)}
        writer.finish(front, rng.uniform(-0.5, 0.5, FRAMES * 640), views={"left": arrays()})
    return open_clip(root)


@pytest.fixture(scope="module")
def packed(clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed") / "film"
    pack(clip, folder)
    return folder


def test_what_comes_out_is_what_went_in(clip, packed, tmp_path):
    again = unpack(packed, tmp_path / "clip")
    assert (again.size, again.frames, again.view_names, again.source) == (SIZE, FRAMES, ("left",), {"made": "here"})
    np.testing.assert_array_equal(again.audio(), clip.audio())
    for one, other in ((clip, again), (clip.view("left"), again.view("left"))):
        assert one.arrays.keys() == other.arrays.keys()
        for name, values in one.arrays.items():
            np.testing.assert_allclose(other.arrays[name], values, atol=0.51 / STEP if name == "landmarks" else 0)
        for i in range(FRAMES):
            off = np.abs(other.image(i).astype(int) - one.image(i))
            assert off.mean() < 2.0, "coding at this quality is 40 dB and more"
            assert other.image(i)[other.masks(i)[..., 2] == 0].min() == 255
            wrong = np.abs(other.masks(i).astype(int) - one.masks(i))
            # Of 4096 pixels some hundred lie on edges, where coded masks are a few levels or a pixel off.
            assert wrong[..., 2].mean() < 1.0
            assert (wrong[..., :2] > 0).mean() < 0.01
            assert {*np.unique(other.masks(i)[..., :2])} <= {0, 255}


def test_a_part_of_it_smaller(clip, packed, tmp_path):
    again = unpack(packed, tmp_path / "clip", frames=4, size=32)
    assert (again.size, again.frames, len(again.audio())) == (32, 4, 4 * 640)
    np.testing.assert_allclose(again.arrays["landmarks"], clip.arrays["landmarks"][:4] / 2, atol=0.3 / STEP)
    half = clip.view("left").image(3).reshape(32, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(again.view("left").image(3) - half).mean() < 2.0


def test_what_it_cannot_hold_is_refused(packed, clip, tmp_path):
    with pytest.raises(UserError, match="filmed at 64², not at 128²"):
        unpack(packed, tmp_path / "clip", size=128)
    with ClipWriter(tmp_path / "unknown", size=SIZE, source={}) as writer:
        valid = np.zeros((SIZE, SIZE), np.uint8)
        writer.put(0, *shot(0, 0), valid=valid)
        writer.finish({name: values[:1] for name, values in clip.arrays.items()}, np.zeros(640))
    with pytest.raises(UserError, match="unknown pixels"):
        pack(open_clip(tmp_path / "unknown"), tmp_path / "film")
    assert not (tmp_path / "film").exists()
