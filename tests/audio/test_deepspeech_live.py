"""DeepSpeech for streams: pieces give the whole, nothing beyond the look-ahead is heard, standards come near."""

import numpy as np
import pytest

from jax_talker.audio import deepspeech_live
from jax_talker.audio.deepspeech import CONTEXT, DeepSpeech, as_int16, standardised, with_context
from jax_talker.audio.deepspeech_live import (
    AHEAD,
    KEPT,
    PRIOR_DEVIATION,
    PRIOR_MEAN,
    PRIOR_STEPS,
    DeepSpeechLive,
    RunningStandard,
)
from jax_talker.audio.extractor import Extractor, num_steps
from jax_talker.audio.level import FIRST, normalised
from jax_talker.audio.mfcc import mfcc
from jax_talker.audio.streaming import steps_of
from jax_talker.data.read.audio import load_sound


@pytest.fixture(scope="module")
def own(tiny_deepspeech):
    return DeepSpeechLive(tiny_deepspeech)


@pytest.fixture(scope="module")
def sound():
    rng = np.random.default_rng(3)
    return (0.1 * np.repeat(rng.random(30), 1600) * rng.standard_normal(48_000)).astype(np.float32)


def streamed(extractor, sound, piece):
    stream = steps_of(extractor)
    found = [stream.feed(sound[first : first + piece]) for first in range(0, len(sound), piece)]
    return [*found, stream.finish()]


@pytest.mark.parametrize("samples", [0, 100, 161, 399, 401, 720, 16_000, 17_033])
def test_pieces_give_the_whole(own, sound, samples):
    assert isinstance(own, Extractor)
    want = own.extract(sound[:samples])
    assert want.shape == (num_steps(samples, 50), 29)
    for piece in (97, 640, 5000):
        np.testing.assert_allclose(np.concatenate(streamed(own, sound[:samples], piece)), want, atol=1e-5)


def test_a_whole_sound_is_fed_in_pieces(own, sound, monkeypatch):
    """So that memory does not grow with it: contexts of an hour would be gigabytes."""
    want, fed, really = own.extract(sound), [], deepspeech_live.DeepSpeechStream.feed

    def feed(self, piece):
        fed.append(len(piece))
        return really(self, piece)

    monkeypatch.setattr(deepspeech_live.DeepSpeechStream, "feed", feed)
    monkeypatch.setattr(deepspeech_live, "FED", 20_000)
    np.testing.assert_allclose(own.extract(sound), want, atol=1e-5)
    assert fed == [20_000, 20_000, 8_000]


def test_no_step_hears_or_waits_beyond_the_lookahead(own, sound):
    ahead = round(own.lookahead * 16)  # samples
    whole = own.extract(sound)
    for step in (0, KEPT - 1, KEPT):
        cut = sound.copy()
        cut[step * 320 + ahead :] = 0
        np.testing.assert_allclose(own.extract(cut)[: step + 1], whole[: step + 1], atol=1e-6)
    cut[(KEPT + CONTEXT) * 320 + 200 :] = 0  # within the look-ahead
    assert np.abs(own.extract(cut)[:KEPT] - whole[:KEPT]).max() > 1e-3
    stream, given = steps_of(own), 0
    for first in range(0, len(sound), 160):
        given += len(stream.feed(sound[first : first + 160]))
        assert given > (first + 160 - ahead) // 320 - (first + 160 < ahead)


def test_the_network_is_that_of_the_whole(own, tiny_deepspeech, sound):
    """Sound of one part, whose backward LSTM therefore hears all of it, standardised by hand."""
    steps = KEPT
    rows = mfcc(as_int16(sound[: (steps - 1) * 320 + 400]))[::2]
    mean, deviation = RunningStandard().heard(rows)[np.minimum(np.arange(steps) + CONTEXT, steps - 1)].T[..., None]
    inputs = (with_context(np.pad(rows, ((CONTEXT, CONTEXT), (0, 0))), 0, steps) - mean) / deviation
    want = DeepSpeech(tiny_deepspeech)._logits(inputs.astype(np.float32))
    np.testing.assert_allclose(own.extract(sound[: (steps - 1) * 320 + 400])[:steps], want[:steps], atol=1e-5)


def test_the_forward_lstm_forgets_nothing(own, sound):
    """What was heard in an earlier part counts in a later one, also where running standards are the same."""
    assert KEPT + AHEAD < 100
    other = sound.copy()
    other[:3200] = other[:3200][::-1]  # backwards: its energies are nearly the same
    late = slice(KEPT, 2 * KEPT)
    assert np.abs(own.extract(other)[late] - own.extract(sound)[late]).max() > 1e-4


def test_running_standards_are_those_of_what_was_heard():
    rows = 5 * np.random.default_rng(0).standard_normal((700, 26)) + 3
    standard = RunningStandard()
    found = np.concatenate([standard.heard(rows[:1]), standard.heard(rows[1:400]), standard.heard(rows[400:])])
    np.testing.assert_allclose(found, RunningStandard().heard(rows))
    mean, square = (
        (700 * own + PRIOR_STEPS * before) / (700 + PRIOR_STEPS)
        for own, before in ((rows.mean(), PRIOR_MEAN), ((rows**2).mean(), PRIOR_MEAN**2 + PRIOR_DEVIATION**2))
    )
    np.testing.assert_allclose(found[-1], (mean, np.sqrt(square - mean**2)))
    assert found[0, 1] == pytest.approx(PRIOR_DEVIATION, rel=0.05)


@pytest.mark.parametrize("name", ["Obama_5s.wav", "RD_Radio31_000.wav", "grid_man.mpg", "May_5s.mp4"])
def test_real_speech_is_standardised_nearly_as_the_whole(shared, name):
    """In units of the whole's deviation; docs/audio.md has the numbers. A sound of 3 s hardly knows its own mean."""
    rows = mfcc(as_int16(normalised(load_sound(shared / "clips" / name), FIRST)))[::2]
    whole = standardised(rows)[CONTEXT:-CONTEXT]
    mean, deviation = RunningStandard().heard(rows)[np.minimum(np.arange(len(rows)) + CONTEXT, len(rows) - 1)].T
    off = np.sqrt((((rows - mean[:, None]) / deviation[:, None] - whole) ** 2).mean(1))
    assert off.max() < 0.35
    if len(rows) > 200:
        assert off[150:].max() < 0.1
