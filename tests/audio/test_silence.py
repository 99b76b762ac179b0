"""Nothing is heard where there is nothing, and nowhere else."""

import numpy as np
import pytest

from jax_talker.audio.level import FIRST, normalised
from jax_talker.audio.silence import silent_steps
from jax_talker.data.read.audio import load_sound


def test_steps_near_sound_are_not_silent():
    """A hop of sound from 1 s on: the five steps before it (0.1 s), its own, and the five behind it."""
    wave = np.zeros(32_000, np.float32)
    wave[16_000:16_320] = 0.1 * np.random.default_rng(0).standard_normal(320)
    np.testing.assert_array_equal(np.flatnonzero(~silent_steps(wave, 50)), np.arange(46, 56))


@pytest.mark.parametrize("samples", [0, 1, 159, 161, 16_001, 16_170])
@pytest.mark.parametrize("constant", [0.0, 0.1])
def test_any_length_of_silence_is_silent(samples, constant):
    """A microphone may add a constant."""
    silent = silent_steps(np.full(samples, constant, np.float32), 50)
    assert silent.shape == (round(samples / 320),)
    assert silent.all()


@pytest.mark.parametrize("db", [-95, -85])
def test_what_16_bits_round_away_is_silence(db):
    noise = (10 ** (db / 20) * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32)
    assert silent_steps(noise, 50).all() == (db < -90)


def test_the_end_of_a_sound_is_heard():
    wave = np.zeros(16_170, np.float32)
    wave[-100:] = 0.1 * np.random.default_rng(0).standard_normal(100)
    np.testing.assert_array_equal(np.flatnonzero(~silent_steps(wave, 50)), np.arange(46, 51))


@pytest.mark.parametrize("name", ["Obama_5s.wav", "RD_Radio31_000.wav", "grid_man.mpg", "May_5s.mp4"])
def test_real_recordings_are_not_silent(shared, name):
    silent = silent_steps(normalised(load_sound(shared / "clips" / name), FIRST), 50)
    assert not silent[2:].any()  # May's begins with 0.1 s of zeros, as AAC does
