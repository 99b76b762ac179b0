"""A stream shows what the whole sound shows, no later than it says."""

import os
import signal
from dataclasses import asdict, replace

import av
import numpy as np
import pytest
from ml_collections import ConfigDict

from benchmarks.sounds import noise, rms_db
from jax_talker import geometry
from jax_talker.app import streaming, talking
from jax_talker.audio.deepspeech_live import DeepSpeechLive
from jax_talker.audio.level import FIRST, block_power, gain_db
from jax_talker.audio.logmel import LogMel
from jax_talker.data.read.audio import load_sound
from jax_talker.data.read.live import Tape
from jax_talker.data.read.video import write_video
from jax_talker.errors import UserError

SIZE = 24


@pytest.fixture(scope="module")
def sound():
    rng = np.random.default_rng(0)
    envelope = np.repeat(rng.random(26), 1600)[:40_000]
    return (0.2 * envelope * rng.standard_normal(40_000)).astype(np.float32)


def whole(listener, sound, smoothing, script, level=FIRST, features="logmel", weights=None):
    heard = {"features": features, "features_weights": weights, "level": asdict(level)}
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
    got, late = streamed(stream, sound, piece)
    assert len(got) == len(want) == 62
    difference = np.abs(got.astype(int) - np.stack(want))
    assert difference.max() <= 1  # float32 in other batches, then rounded to 8 bits
    assert np.abs(np.diff(np.stack(want).astype(int), axis=0)).max() > 1  # something moves
    assert max(late) <= stream.latency + piece / 16_000 + 1e-6


def streamed(stream, sound, piece):
    """Frames, and how much later than its time each one came, s."""
    got, late = [], []
    for first in range(0, len(sound), piece):
        for frame in stream.feed(sound[first : first + piece]):
            late.append(min(first + piece, len(sound)) / 16_000 - len(got) / 25)
            got.append(frame)
    return np.stack([*got, *stream.finish()]), late


def test_a_pause_in_noise_is_silent_in_a_stream_as_well(listener, shared):
    """Its own background is found while it is listened to; what it shows is what the whole shows, and no later than it
    says. That it makes a difference at all is what the second level is for."""
    said = load_sound(shared / "clips" / "Obama_5s.wav")[:32_000]
    sound = np.concatenate([said, np.zeros(24_000, np.float32), said])
    sound += noise(len(sound), rms_db(said) - 20)
    script = talking.script_for(sound, "front", held=listener.usual, clip=None, seed=3)
    shown = {}
    for spread in (0.0, 3.0):
        level = replace(FIRST, background=spread)
        stream = streaming.Stream(
            listener, LogMel(), level, script.label[0], SIZE, smoothing=0.4, gain=gain_db(block_power(sound), level),
            at_once=2, blink=script.blink,
        )  # fmt: skip
        latency = stream.latency
        got, late = streamed(stream, sound, 640)
        shown[spread] = np.stack(whole(listener, sound, 0.4, script, level)).astype(int)
        assert np.abs(got.astype(int) - shown[spread]).max() <= 1
        assert max(late) <= latency + 640 / 16_000 + 1e-6
    assert latency == pytest.approx(8 / 25 + 7 / 50 + 0.025 + 5 / 50)  # 5 steps for the background instead of the level
    assert np.abs(shown[0.0] - shown[3.0])[60:75].max() > 1


@pytest.mark.parametrize("piece", [640, 7001])
@pytest.mark.parametrize("spread", [0.0, 3.0])
def test_deepspeech_for_streams_shows_what_the_whole_shows(listener_of, tiny_deepspeech, sound, piece, spread):
    """With random weights: sound in pieces, through features, adapter and smoothing, to the same pictures."""
    listener, level = listener_of(29), replace(FIRST, background=spread)
    script = talking.script_for(sound, "front", held=listener.usual, clip=None, seed=3)
    want = whole(listener, sound, 0.4, script, level, "deepspeech_live", str(tiny_deepspeech))
    stream = streaming.Stream(
        listener, DeepSpeechLive(tiny_deepspeech), level, script.label[0], SIZE, smoothing=0.4,
        gain=gain_db(block_power(sound), level), at_once=2, blink=script.blink,
    )  # fmt: skip
    got, late = streamed(stream, sound, piece)
    assert stream.latency == pytest.approx(8 / 25 + 7 / 50 + DeepSpeechLive.lookahead / 1000)
    assert len(got) == len(want) == 62
    assert np.abs(got.astype(int) - np.stack(want)).max() <= 1
    assert np.abs(np.diff(np.stack(want).astype(int), axis=0)).max() > 1
    assert max(late) <= stream.latency + piece / 16_000 + 1e-6


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
