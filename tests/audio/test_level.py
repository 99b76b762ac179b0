"""Speech is heard at one level; silence and a room's noise are not taken for speech."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from jax_talker.audio import level
from jax_talker.audio.logmel import LogMel
from jax_talker.data.read.audio import load_sound


def normalised(sound):
    return level.normalised(sound, level.FIRST)


@pytest.fixture(scope="module")
def voice():
    """2 s of syllables between pauses."""
    time = np.arange(32_000) / 16_000
    tone = 0.2 * np.sin(2 * np.pi * 300 * time) * np.maximum(0, np.sin(2 * np.pi * 2 * time)) ** 2
    return (tone * (time < 1.4)).astype(np.float32)


def decibels(sound):
    return 20 * np.log10(np.sqrt((sound.astype(np.float64) ** 2).mean()))


# What the first version made of the three sounds of the last test, dB.
GAINS = {"speech": -4.750613, "noise": -50.320159, "silence": 0.0}


def noise(db, seconds=4.0, seed=0, brown=False):
    own = np.random.default_rng(seed).standard_normal(round(16_000 * seconds))
    if brown:
        spectrum = np.fft.rfft(own)
        own = np.fft.irfft(spectrum / np.maximum(1, np.arange(len(spectrum)) / (50 * seconds)), len(own))
    return (own / own.std() * 10 ** (db / 20)).astype(np.float32)


def test_speech_is_brought_to_one_level(voice):
    heard = normalised(voice)
    assert decibels(heard[np.abs(voice) > 0.02]) == pytest.approx(-24, abs=3)  # pauses inside blocks count as well
    for gain in (0.01, 0.06, 3.0):  # 24 dB fainter is 0.06
        np.testing.assert_allclose(normalised((gain * voice).astype(np.float32)), heard, atol=1e-5)
    assert len(normalised(voice[:0])) == 0


def test_silence_stays_silent():
    for sound in (np.zeros(16_000, np.float32), noise(-75)):
        np.testing.assert_array_equal(normalised(sound), sound)


@pytest.mark.parametrize("db", [-65, -55, -45])
@pytest.mark.parametrize("brown", [False, True])
def test_a_rooms_noise_alone_becomes_silence(db, brown):
    heard = normalised(noise(db, brown=brown))
    assert decibels(heard) < -98
    assert (LogMel().extract(heard) > 0.05).mean() < 0.01


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("brown", [False, True])
@pytest.mark.parametrize("gap", [1.0, 30.0])
def test_noise_beside_digital_silence_becomes_silence(first, brown, gap):
    """What is silent says nothing of how steady noise is; nor does what a resampler's rounding leaves of silence."""
    gap, hum = np.zeros(round(16_000 * gap), np.float32), noise(-45, 5.0, brown=brown)
    gap[::2] = 1e-8
    heard = normalised(np.concatenate([gap, hum] if first else [hum, gap]))
    assert decibels(heard) < -98
    assert np.abs(heard).max() < 1e-4


@pytest.mark.parametrize("name", ["Obama_5s.wav", "RD_Radio31_000.wav", "grid_man.mpg", "May_5s.mp4"])
@pytest.mark.parametrize("gain", [0.004, 0.06, 1.0])
@pytest.mark.parametrize("gap", [0.0, 1.0, 20.0])
def test_speech_is_heard_as_before_silence_was_left_out(shared, name, gain, gap):
    """To the bit, with silence beside it as well: the first rule is written down here."""
    sound = np.pad(np.float32(gain) * load_sound(shared / "clips" / name), (round(16_000 * gap), 0))
    around = sound - sound.mean(dtype=np.float64)
    power = (np.pad(around, (0, -len(sound) % 800)).reshape(-1, 800) ** 2).mean(1)
    loudest = np.percentile(power, 95)
    own = level.FIRST
    want = own.speech - 10 * np.log10(power[power >= loudest * 10 ** (-own.span / 10)].mean())
    want = want if loudest >= 10 ** (own.faintest / 10) else 0
    assert level.gain_db(level.block_power(sound), own) == want


def test_an_hour_takes_little_memory_beside_itself():
    """230 MB of sound: what is computed in double precision is computed by the minute."""
    hour = np.tile(noise(-20, 10.0), 360)
    tracemalloc.start()
    level.block_power(hour)
    _, power = tracemalloc.get_traced_memory()
    normalised(hour)
    _, both = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert power < 40e6
    assert both < 1.2 * hour.nbytes


def test_a_constant_is_not_loud(voice):
    deviation = [np.std(normalised(sound)) for sound in (voice, voice + np.float32(0.1))]
    assert deviation[1] == pytest.approx(deviation[0], rel=0.02)


@pytest.mark.parametrize("name", ["Obama_5s.wav", "RD_Radio31_000.wav", "grid_man.mpg", "May_5s.mp4"])
@pytest.mark.parametrize("gain", [0.004, 0.06, 1.0])
def test_real_speech_is_no_noise_however_faint(shared, name, gain):
    sound = load_sound(shared / "clips" / name)
    np.testing.assert_allclose(normalised(np.float32(gain) * sound), normalised(sound), atol=1e-4)
    assert decibels(normalised(sound)) > -32


@pytest.mark.parametrize("snr", [30, 15])
def test_speech_in_noise_is_speech(shared, snr):
    sound = load_sound(shared / "clips" / "Obama_5s.wav") * np.float32(0.01)
    mixed = sound + noise(decibels(sound) - snr, len(sound) / 16_000)[: len(sound)]
    assert decibels(normalised(mixed)) == pytest.approx(decibels(normalised(sound)), abs=1.5)


@pytest.mark.parametrize("db", [-35.0, -20.0])
def test_a_run_may_have_another_level(voice, db):
    """Only the loudness is another one."""
    other = level.normalised(voice, replace(level.FIRST, speech=db))
    np.testing.assert_allclose(other, normalised(voice) * np.float32(10 ** ((db + 26) / 20)), rtol=1e-5, atol=1e-9)


def test_the_first_runs_are_heard_as_ever(voice):
    """Golden: these are what their heads were trained on, so no change of the rule may change them."""
    sounds = {"speech": voice, "noise": noise(-50.0), "silence": np.zeros(16_000, np.float32)}
    gains = {name: level.gain_db(level.block_power(sound), level.FIRST) for name, sound in sounds.items()}
    assert gains == pytest.approx(GAINS, abs=1e-4)
