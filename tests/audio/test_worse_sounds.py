"""What benchmarks do to speech is what they say."""

import numpy as np
import pytest

from benchmarks import sounds


@pytest.fixture(scope="module")
def speech():
    time = np.arange(48_000) / 16_000
    voice = sum(np.sin(2 * np.pi * hertz * time) for hertz in (120, 700, 2000, 5000))
    return (0.05 * voice * np.maximum(0, np.sin(2 * np.pi * 2 * time))).astype(np.float32)


def share(sound, low, high):
    power = np.abs(np.fft.rfft(sound.astype(np.float64))) ** 2
    hertz = np.fft.rfftfreq(len(sound), 1 / 16_000)
    return power[(hertz > low) & (hertz < high)].sum() / power.sum()


def test_everything_keeps_its_length_and_range(speech):
    for name, worse in {**sounds.SPEECH, **{n: lambda s, m=m: m(len(s)) for n, m in sounds.NO_SPEECH.items()}}.items():
        got = worse(speech)
        assert (got.shape, got.dtype) == (speech.shape, np.float32), name
        assert np.abs(got).max() <= 1.01, name


def test_a_telephone_has_no_treble_and_no_bass(speech):
    got = sounds.telephone(speech)
    assert share(speech, 3800, 8000) > 0.2
    assert share(got, 3800, 8000) < 1e-3
    assert share(got, 0, 200) < 0.05
    assert share(got, 500, 2500) > 0.9


def test_clipping_cuts_the_loudest_off(speech):
    got = sounds.clipped(speech)
    cut = np.abs(got) == 1
    assert 0.01 < cut.mean() < 0.1
    assert np.abs(speech[cut]).min() >= np.quantile(np.abs(speech), 0.8)


@pytest.mark.parametrize("brown", [False, True])
def test_noise_is_as_loud_as_it_is_called(brown):
    got = sounds.noise(48_000, -45, brown=brown)
    assert sounds.rms_db(got) == pytest.approx(-45, abs=0.1)
    assert bool(share(got, 0, 1000) > 0.9) is brown


def test_noise_below_speech_is_that_much_fainter(speech):
    got = sounds.SPEECH["white noise, 10 dB below"](speech)
    assert sounds.rms_db(got - speech) == pytest.approx(sounds.rms_db(speech) - 10, abs=0.1)
