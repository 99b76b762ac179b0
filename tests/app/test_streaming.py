"""A stream shows what the whole sound shows, no later than it says."""

from dataclasses import asdict

import numpy as np
import pytest
from ml_collections import ConfigDict

from jax_talker import geometry
from jax_talker.app import streaming, talking
from jax_talker.audio.level import FIRST, block_power, gain_db
from jax_talker.audio.logmel import LogMel
from jax_talker.data.read.live import Tape

SIZE = 24


@pytest.fixture(scope="module")
def sound():
    rng = np.random.default_rng(0)
    envelope = np.repeat(rng.random(26), 1600)[:40_000]
    return (0.2 * envelope * rng.standard_normal(40_000)).astype(np.float32)


def whole(listener, sound, smoothing, script):
    heard = {"features": "logmel", "features_weights": None, "level": asdict(FIRST)}
    config = ConfigDict({"data": heard, "render": {"smoothing": smoothing}})
    return list(talking.frames(config, listener, script, SIZE))


@pytest.mark.parametrize(("smoothing", "at_once", "piece"), [(0.4, 2, 640), (0.0, 1, 1111), (1.5, 3, 40_000)])
def test_a_stream_shows_what_the_whole_shows(listener, sound, smoothing, at_once, piece):
    script = talking.script_for(sound, "yaw=20", held=listener.usual, clip=None, seed=3)
    want = whole(listener, sound, smoothing, script)
    stream = streaming.Stream(
        listener, LogMel(), FIRST, script.label[0], SIZE, held=script.held[0], smoothing=smoothing,
        gain=gain_db(block_power(sound), FIRST), at_once=at_once, blink=script.blink,
    )  # fmt: skip
    got, times = [], []
    for first in range(0, len(sound), piece):
        for frame in stream.feed(sound[first : first + piece]):
            times.append(min(first + piece, len(sound)) / 16_000 - len(got) / 25)
            got.append(frame)
    got += list(stream.finish())
    assert len(got) == len(want) == 62
    difference = np.abs(np.stack(got).astype(int) - np.stack(want))
    assert difference.max() <= 1  # float32 in other batches, then rounded to 8 bits
    assert np.abs(np.diff(np.stack(want).astype(int), axis=0)).max() > 1  # something moves
    assert max(times) <= stream.latency + piece / 16_000 + 1e-6


def test_memory_does_not_grow(listener, sound):
    stream = streaming.Stream(listener, LogMel(), FIRST, script_label(), SIZE, smoothing=0.4, gain=0.0, at_once=2)
    for _ in range(4):
        assert len(list(stream.feed(sound))) > 40
        assert len(stream._steps) < 100
        assert len(stream._found) < 20


def script_label():
    return geometry.make_label(geometry.orbit(0, 0)).astype(np.float32)


def test_listening_reports_and_keeps_the_sound(listener, sound):
    stream = streaming.Stream(listener, LogMel(), FIRST, script_label(), SIZE, smoothing=0.4, at_once=2)
    tape, said = Tape(), []
    frames = list(streaming.listen(stream, iter(np.array_split(sound, 7)), tape, said.append))
    assert len(frames) == 62
    assert "real-time factor" in said[0]
    np.testing.assert_array_equal(np.concatenate(list(tape.blocks()), 1)[0], sound)


def test_latency_is_what_the_parts_look_ahead(listener):
    """5 frames of the adapter, 2 of smoothing, 1 to fill a batch; 7 steps of a window; 25 ms; 50 ms of level."""
    stream = streaming.Stream(listener, LogMel(), FIRST, script_label(), SIZE, smoothing=0.4, at_once=2)
    assert stream.latency == pytest.approx(8 / 25 + 7 / 50 + 0.025 + 0.05)
