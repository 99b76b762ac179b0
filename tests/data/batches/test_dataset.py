"""Batches: split, neighbourhoods, couples, and repeatability."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from jax_talker.audio.windows import WINDOW
from jax_talker.data.batches.dataset import ClipFrames, FrameStore, neighbourhoods, split
from jax_talker.data.batches.motion_features import MotionFeatures
from jax_talker.data.clip.clip import open_clip
from jax_talker.data.clip.clip_writer import ClipWriter
from jax_talker.errors import UserError

SIZE, FRAMES, REACH = 8, 22, 4
NUMBERS = np.arange(FRAMES, dtype=np.float32)[:, None]
MOTION = MotionFeatures(np.concatenate([NUMBERS, 2 * NUMBERS], 1), 3 * NUMBERS)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Frame i is grey level 10·i; its masks are 255 in the channel i mod 3; landmarks open a mouth over time."""
    root = tmp_path_factory.mktemp("clips") / "clip"
    rng = np.random.default_rng(0)
    with ClipWriter(root, size=SIZE, source={}) as writer:
        for i in range(FRAMES):
            masks = np.zeros((SIZE, SIZE, 3), np.uint8)
            masks[..., i % 3] = 255
            writer.add(np.full((SIZE, SIZE, 3), 10 * i, np.uint8), masks)
        shape = rng.standard_normal((12, 2))
        opening = np.zeros((12, 2))
        opening[6:, 1] = 1
        points = shape + np.abs(np.sin(np.arange(FRAMES) / 3))[:, None, None] * opening
        arrays = {"label": rng.standard_normal((FRAMES, 25)), "blink": np.linspace(0, 1, FRAMES), "landmarks": points}
        writer.finish(arrays, np.zeros(FRAMES * 640))
    return open_clip(root)


@pytest.fixture
def frames(clip):
    windows = np.arange(FRAMES, dtype=np.float32)[:, None, None] * np.ones((1, WINDOW, 3), np.float32) + 1
    return ClipFrames(clip, windows, REACH, MOTION)


def test_split_is_the_contiguous_tail():
    parts = split(110)
    np.testing.assert_array_equal(parts.train, np.arange(100))
    np.testing.assert_array_equal(parts.test, np.arange(100, 110))
    for frames in (12, 1000, 7503):
        assert len(split(frames).train) == 10 * frames // 11  # the field's int(10 N / 11)
    assert len(split(10_000, 0.05).test) == 500  # 0.05 · 10000 is 500.00000000000006
    with pytest.raises(UserError, match=r"a clip of 2 frames is too short: .*, 1 are left to train on"):
        split(2)


def test_split_divides_no_recording():
    assert split(110, boundaries=(30, 60, 96)).test[0] == 96  # 100 without boundaries
    assert split(110, boundaries=(30, 60, 103)).test[0] == 103
    assert split(110, boundaries=(10, 20)).test[0] == 100  # rather than training on less than half of the clip


def test_neighbourhoods_are_centred_and_zero_outside():
    windows = np.arange(1, 6, dtype=np.float32)[:, None, None]  # frame i holds i + 1
    found = neighbourhoods(windows, 4)(np.array([0, 2, 4]))[:, :, 0, 0]
    np.testing.assert_array_equal(found, [[0, 0, 1, 2], [1, 2, 3, 4], [3, 4, 5, 0]])


def test_neighbourhoods_end_at_joins():
    windows = np.arange(1, 8, dtype=np.float32)[:, None, None]
    found = neighbourhoods(windows, 4, boundaries=(5, 2))(np.array([1, 2, 4, 5, 6]))[:, :, 0, 0]
    np.testing.assert_array_equal(found, [[0, 1, 2, 0], [0, 0, 3, 4], [3, 4, 5, 0], [0, 0, 6, 7], [0, 6, 7, 0]])


def test_frames_carry_what_the_clip_holds(frames, clip):
    batch = frames.frames(np.array([3, 7]))
    np.testing.assert_allclose(batch.image[:, 0, 0, 0] * 255, [30, 70], atol=1e-4)
    assert batch.upper[0].min() == 1
    assert batch.lower[1].min() == 1
    assert batch.head.max() == 0
    np.testing.assert_allclose(batch.blink, clip.arrays["blink"][[3, 7]], rtol=1e-6)
    np.testing.assert_array_equal(batch.audio[0, :, 0, 0], [2, 3, 4, 5])  # windows of frames 1 … 4
    np.testing.assert_array_equal(batch.index, [3, 7])


def test_training_gets_the_bytes_that_are_stored_a_quarter_of_the_floats(frames):
    stored, shown = frames.stored(np.array([3, 7])), frames.frames(np.array([3, 7]))
    for name in ("image", "upper", "lower", "head", "valid"):
        host = getattr(stored, name)
        assert host.dtype == np.uint8
        np.testing.assert_array_equal(host / np.float32(255), getattr(shown, name))
    for name in ("label", "audio", "blink", "expression", "lips", "index"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(shown, name))


def test_each_process_makes_its_own_rows_of_the_same_batch(frames):
    train = np.arange(16)
    whole = frames.pairs(frames.couples(train, 8, 1, seed=1), 5)
    for rows in (np.array([0, 1, 6, 7]), np.array([2, 3, 4, 5])):
        part = frames.pairs(frames.couples(train, 8, 1, seed=1, rows=rows), 5)
        for one, other in zip(part, whole, strict=True):
            np.testing.assert_array_equal(one.index, other.index[rows])
            np.testing.assert_array_equal(one.image, other.image[rows])


def test_what_does_not_fit_into_memory_is_read_again_and_the_same(clip):
    roomy, tight = FrameStore(clip), FrameStore(clip, limit=SIZE * SIZE * 3)
    for indices in (np.array([3, 7, 3]), np.array([7, 1])):
        np.testing.assert_array_equal(roomy.images(indices), tight.images(indices))
    assert len(tight._kept) == 1


def test_frames_without_pictures_are_the_same_frames(frames):
    seen, heard = frames.frames(np.array([3, 7])), frames.heard_only(np.array([3, 7]))
    for name in ("label", "audio", "blink", "expression", "lips", "index"):
        np.testing.assert_array_equal(getattr(seen, name), getattr(heard, name))
    np.testing.assert_array_equal(seen.expression, [[3, 6], [7, 14]])
    assert heard.image.shape == (2, 0, 0, 3)
    assert seen.valid.min() == 1  # a clip that says nothing of it was filmed everywhere


def test_pairs_are_couples_and_the_last_are_crossed(frames):
    train = np.arange(15)
    taken = [frames.pairs(frames.couples(train, 6, 1, seed=1), k) for k in range(40)]
    i = np.stack([np.asarray(a.index).reshape(3, 2) for a, _ in taken])
    j = np.stack([np.asarray(b.index).reshape(3, 2) for _, b in taken])
    np.testing.assert_array_equal(i[..., 1], i[..., 0] + 1)
    np.testing.assert_array_equal(j[..., 1], j[..., 0] + 1)
    assert max(i.max(), j.max()) <= 14  # nothing of the held-out tail
    np.testing.assert_array_equal(i[:, :2], j[:, :2])
    assert (i[:, 2] != j[:, 2]).any(1).mean() > 0.8  # but for j that happen to equal i
    for batch, cross in ((5, 1), (4, 3)):
        with pytest.raises(UserError, match="couples"):
            frames.couples(train, batch, cross, seed=1)


def test_pairs_are_drawn_by_weight(frames):
    weights = np.ones(FRAMES, np.float32)
    weights[4] = 0  # neither of its couples is ever drawn
    weights[9:11] = 5
    first = np.concatenate(
        [
            np.asarray(frames.pairs(frames.couples(np.arange(15), 8, 1, seed=1, weights=weights), k)[0].index)[::2]
            for k in range(60)
        ]
    )
    assert not set(first.tolist()) & {3, 4}
    assert (first == 9).mean() > 0.4  # 25 of 25 + 2·5 + 9


def test_pairs_are_a_function_of_seed_and_step(frames):
    train = np.arange(15)

    def drawn(seed, step):
        return [x.index.tolist() for x in frames.pairs(frames.couples(train, 4, 1, seed=seed), step)]

    assert drawn(2, 2) == drawn(2, 2)
    assert drawn(2, 2) != drawn(3, 2)
    assert drawn(2, 2) != drawn(2, 1)


def test_threads_that_read_at_once_count_what_is_kept_once(clip, monkeypatch):
    """Otherwise a store's room would run out on paper."""
    met, original = threading.Barrier(2, timeout=10), type(clip).image

    def together(self, index):
        met.wait()  # both have found that it is not kept
        return original(self, index)

    monkeypatch.setattr(type(clip), "image", together)
    room = 4 * SIZE * SIZE * 3
    store = FrameStore(clip, limit=room)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(store.images, [np.array([3, 7])] * 2)
    np.testing.assert_array_equal(one, other)
    assert sum(x.nbytes for x in store._kept.values()) == room - store._left == room // 2


def test_store_reads_each_frame_once(clip, monkeypatch):
    reads = []
    original = type(clip).image
    monkeypatch.setattr(type(clip), "image", lambda self, i: reads.append(i) or original(self, i))
    store = FrameStore(clip)
    store.images(np.array([1, 2, 1]))
    store.images(np.array([2]))
    assert reads == [1, 2]


def test_store_keeps_what_fits_and_reads_the_rest_each_time(clip, monkeypatch):
    reads = []
    original = type(clip).image
    monkeypatch.setattr(type(clip), "image", lambda self, i: reads.append(i) or original(self, i))
    store = FrameStore(clip, limit=2 * SIZE * SIZE * 3 + 1)
    for _ in range(2):
        np.testing.assert_array_equal(store.images(np.array([0, 1, 2]))[:, 0, 0, 0], [0, 10, 20])
    assert reads == [0, 1, 2, 2]


def test_pairs_and_sound_do_not_cross_a_join(clip):
    joined = replace(clip, source={"boundaries": [5, 9]})
    frames = ClipFrames(joined, np.zeros((FRAMES, WINDOW, 1), np.float32), REACH, MOTION)
    windows = np.ones((FRAMES, WINDOW, 1), np.float32)
    heard = ClipFrames(joined, windows, REACH, MOTION).frames(np.array([4, 5])).audio[..., 0, 0]
    np.testing.assert_array_equal(heard, [[1, 1, 1, 0], [0, 0, 1, 1]])  # no sound of another recording
    pairs = [frames.pairs(frames.couples(np.arange(15), 8, 2, seed=1), k) for k in range(40)]
    for side in (0, 1):
        first = np.concatenate([np.asarray(pair[side].index)[::2] for pair in pairs])
        assert not set(first.tolist()) & {4, 8}
        assert set(first.tolist()) == set(range(14)) - {4, 8}


def test_windows_must_fit_the_clip(clip):
    with pytest.raises(ValueError, match="3 audio windows for 22 frames"):
        ClipFrames(clip, np.zeros((3, WINDOW, 2), np.float32), REACH, MOTION)
