"""A stream shows what the whole sound shows, no later than it says."""

import os
import signal
from dataclasses import asdict

import av
import numpy as np
import pytest
from ml_collections import ConfigDict

from jax_talker import geometry
from jax_talker.app import streaming, talking
from jax_talker.audio.level import FIRST, block_power, gain_db
from jax_talker.audio.logmel import LogMel
from jax_talker.data.read.live import Tape
from jax_talker.data.read.video import write_video
from jax_talker.errors import UserError

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


def test_without_a_tape_nothing_is_kept(listener, sound):
    """Raw frames have no sound beside them; nobody would take it off a tape."""
    stream = streaming.Stream(listener, LogMel(), FIRST, script_label(), SIZE, smoothing=0.4, gain=0.0, at_once=2)
    assert len(list(streaming.listen(stream, [sound], None, lambda _: None))) == 62


@pytest.mark.parametrize("samples", [0, 300])
def test_too_little_for_a_frame_is_said(listener, samples):
    stream = streaming.Stream(listener, LogMel(), FIRST, script_label(), SIZE, smoothing=0.4, gain=0.0, at_once=2)
    with pytest.raises(UserError, match=f"there are {samples / 16:.0f} ms of sound"):
        list(streaming.listen(stream, [np.zeros(samples, np.float32)], None, lambda _: None))


def microphone(stops=()):
    """It never ends; Ctrl-C comes while the blocks ``stops`` are waited for."""
    number = 0
    while True:
        if number in stops:
            signal.raise_signal(signal.SIGINT)
        yield np.full(640, number, np.float32)
        number += 1


def test_ctrl_c_ends_the_sound_that_is_waited_for():
    said = []
    heard = list(streaming.until_interrupted(microphone({5}), said.append))
    assert [block[0] for block in heard] == [0, 1, 2, 3, 4]
    assert "Ctrl-C again" in said[0]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_at_other_work_lets_it_be_done_and_a_second_one_does_not(tmp_path):
    """A video that is written meanwhile is whole after the first, and gone after the second."""

    def frames(stops):
        for number, _ in enumerate(streaming.until_interrupted(microphone(), said.append)):
            for _ in range(stops.count(number)):
                signal.raise_signal(signal.SIGINT)
            yield np.zeros((48, 64, 3), np.uint8)

    said = []
    path = write_video(tmp_path / "a.mp4", frames([7]))
    with av.open(str(path)) as video:
        assert len(list(video.decode(video=0))) == 8
    assert len(said) == 1
    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "b.mp4", frames([7, 7]))
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_who_ignores_ctrl_c_goes_on_ignoring_it():
    """As jobs that a script puts into the background do."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        source = streaming.until_interrupted(microphone({2}), pytest.fail)
        assert [next(source)[0] for _ in range(5)] == [0, 1, 2, 3, 4]
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_player_that_is_closed_is_an_end():
    """Without an error now, or when what the pipe still holds is written as it is closed."""
    reads, writes = os.pipe()
    drawn = []

    def frames():
        for number in range(100):
            drawn.append(number)
            if number == 3:
                os.close(reads)
            yield np.zeros((8, 8, 3), np.uint8)

    with os.fdopen(writes, "wb") as pipe:
        streaming.pour(frames(), pipe)
    assert drawn == [0, 1, 2, 3]
