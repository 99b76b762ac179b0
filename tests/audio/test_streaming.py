"""Sound in pieces gives the steps, and the level, of the whole."""

from dataclasses import replace

import numpy as np
import pytest

from jax_talker.audio.level import FIRST, block_power, gain_db, normalised
from jax_talker.audio.logmel import LogMel
from jax_talker.audio.streaming import LevelStream, StepStream
from jax_talker.audio.whisper import Whisper
from jax_talker.data.read.audio import load_sound
from jax_talker.errors import UserError


def pieces(sound, sizes, seed=0):
    rng = np.random.default_rng(seed)
    at = 0
    while at < len(sound):
        size = int(rng.integers(*sizes))
        yield sound[at : at + size]
        at += size


@pytest.mark.parametrize("samples", [0, 100, 16_000, 32_123])
@pytest.mark.parametrize("sizes", [(1, 50), (300, 400), (5000, 20_000)])
def test_steps_are_those_of_the_whole(samples, sizes):
    sound = (0.1 * np.random.default_rng(1).standard_normal(samples)).astype(np.float32)
    stream = StepStream(LogMel())
    found = [stream.feed(piece) for piece in pieces(sound, sizes)] + [stream.finish()]
    np.testing.assert_allclose(np.concatenate(found), LogMel().extract(sound), atol=1e-5)  # float32 FFTs


def test_a_step_comes_when_its_lookahead_was_heard():
    stream, sound = StepStream(LogMel()), np.zeros(16_000, np.float32)
    assert len(stream.feed(sound[:399])) == 0
    assert len(stream.feed(sound[:1])) == 1  # step 0 sees 25 ms, 400 samples
    assert len(stream.feed(sound[:319])) == 0
    assert len(stream.feed(sound[:1])) == 1


def test_memory_does_not_grow():
    stream = StepStream(LogMel())
    for _ in range(100):
        stream.feed(np.zeros(1600, np.float32))
    assert len(stream._sound) < 3000


def test_what_hears_too_much_at_once_is_refused(tiny_whisper):
    with pytest.raises(UserError, match=r"whisper hears 30 s ahead, so it cannot be streamed"):
        StepStream(Whisper(tiny_whisper))


def test_a_given_gain_is_the_whole_sounds(shared):
    sound = load_sound(shared / "clips" / "Obama_5s.wav")
    stream = LevelStream(FIRST, gain_db(block_power(sound), FIRST))
    found = [stream.feed(piece) for piece in pieces(sound, (1, 5000))] + [stream.finish()]
    np.testing.assert_allclose(np.concatenate(found), normalised(sound, FIRST), atol=1e-6)
    assert stream.delay == 0


@pytest.mark.parametrize(("gain", "level"), [(0.06, FIRST), (1.0, FIRST), (0.06, replace(FIRST, speech=-38.0))])
def test_a_level_is_found_while_listening(shared, gain, level):
    sound = np.float32(gain) * load_sound(shared / "clips" / "Obama_5s.wav")
    stream = LevelStream(level)
    found = np.concatenate([stream.feed(piece) for piece in pieces(sound, (1, 5000))] + [stream.finish()])
    assert len(found) == len(sound)
    assert stream.delay == 50
    late = slice(2 * 16_000, None)
    got, want = (10 * np.log10((s[late].astype(np.float64) ** 2).mean()) for s in (found, normalised(sound, level)))
    assert got == pytest.approx(want, abs=3)


@pytest.mark.parametrize("silence", [0, 16_000])
def test_silence_is_not_made_loud(silence):
    """Nor is a room's noise, also after a microphone that gave nothing at first."""
    stream = LevelStream(FIRST)
    stream.feed(np.zeros(silence, np.float32))
    noise = (10 ** (-50 / 20) * np.random.default_rng(0).standard_normal(80_000)).astype(np.float32)
    found = np.concatenate([stream.feed(noise), stream.finish()])
    assert 20 * np.log10(found[-16_000:].std()) < -60
