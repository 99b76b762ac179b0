"""Steps of nothing but a room, a fan or keys are told from speech, of a whole sound and of one that comes in pieces."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import sounds
from jax_talker.audio.background import BEFORE, BEHIND, KNOWN, SILENT, BackgroundStream, background_steps
from jax_talker.audio.hearing import hear
from jax_talker.audio.level import FIRST
from jax_talker.audio.logmel import LogMel
from jax_talker.data.read.audio import load_sound

SPREAD = 3.0  # configs/quickstart.py
COUNT = 6 * sounds.RATE
NOISES = {
    "white": lambda: sounds.noise(COUNT, -45),
    "brown": lambda: sounds.noise(COUNT, -45, brown=True),
    "fan": lambda: sounds.fan(COUNT, -45),
    "quick fan": lambda: sounds.fan(COUNT, -45, swells=12, seconds=0.7),
    "keys": lambda: sounds.keys(COUNT, -25) + sounds.noise(COUNT, -55),
    "keys in a brown room": lambda: sounds.keys(COUNT, -25) + sounds.noise(COUNT, -55, brown=True),
}
SPEECH = ["Obama_5s.wav", "RD_Radio31_000.wav", "May_5s.mp4", "WDA_KatieHill_000.mp4"]


def told(sound, rate=50):
    return background_steps(sound, rate, SPREAD)


def streamed(sound, rate=50, sizes=(1, 3000)):
    rng, stream, found, at = np.random.default_rng(0), BackgroundStream(rate, SPREAD), [], 0
    while at < len(sound):
        size = int(rng.integers(*sizes))
        found.append(stream.feed(sound[at : at + size]))
        at += size
    return np.concatenate([*found, stream.finish()])


def loudness(sound):
    """[T] dB of the 50 ms around each step."""
    around = np.pad(sound.astype(np.float64), (400, 800))
    return np.array([10 * np.log10((around[i : i + 800] ** 2).mean() + 1e-12) for i in range(0, len(sound) - 160, 320)])


@pytest.fixture(params=SPEECH)
def speech(request, shared):
    return load_sound(shared / "clips" / request.param)


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("gain", [1.0, 0.1])
def test_noise_is_background_however_it_swells(name, gain):
    assert told(np.float32(gain) * NOISES[name]()).mean() > 0.99


@pytest.mark.parametrize("name", NOISES)
def test_a_stream_knows_it_after_two_seconds(name):
    found = streamed(NOISES[name]())
    assert not found[: round(50 * KNOWN)].any()
    assert found[round(50 * (KNOWN + BEHIND)) :].all()


@pytest.mark.parametrize(
    "name", sorted(NOISES.keys() - {"fan"})
)  # by 20 dB: the radio's own noise is heard in its troughs
def test_the_pause_between_sentences_is_background(shared, name):
    """From a quarter of a second behind the speech to the next; its frames hear what they hear of digital silence."""
    said = load_sound(shared / "clips" / "RD_Radio31_000.wav")[: 4 * sounds.RATE]
    pause = np.zeros(2 * sounds.RATE, np.float32)
    clean = np.concatenate([said, pause, said])
    noise = np.resize(NOISES[name](), len(clean))
    noise *= np.float32(10 ** ((sounds.rms_db(said) - 20 - sounds.rms_db(noise)) / 20))
    for found in (told(clean + noise), streamed(clean + noise)):
        assert found[200 + round(50 * BEHIND) + 3 : 300 - round(50 * BEFORE) - 2].all()
        assert found[:200].mean() < 0.15


@pytest.mark.parametrize("seconds", [0.7, 1.5, 2.2])
def test_a_room_before_the_first_word_is_background(shared, seconds):
    """Which is known for certain later: until then the whole of a sound looks back, and a stream cannot."""
    said, lead = load_sound(shared / "clips" / "RD_Radio31_000.wav")[: 4 * sounds.RATE], round(seconds * sounds.RATE)
    noise = sounds.noise(lead + len(said), sounds.rms_db(said) - 25)
    sound = np.concatenate([np.zeros(lead, np.float32), said]) + noise
    first = round(50 * (seconds - BEFORE)) - 3
    assert told(sound)[:first].all()
    assert not streamed(sound)[: min(first, round(50 * KNOWN))].any()


def test_nothing_that_is_loud_is_background(speech):
    """Nor is speech in a room that is 20 dB fainter; what is lost is what the room drowns, or is a gap."""
    loud = loudness(speech) > np.percentile(loudness(speech), 95) - 20
    assert not told(speech)[loud].any()
    for brown in (False, True):
        noise = sounds.noise(len(speech), sounds.rms_db(speech) - 20, brown=brown)
        assert not told(speech + noise)[loud].any()


@pytest.mark.parametrize("name", ["Obama_5s.wav", "RD_Radio31_000.wav", "expressive_30fps.mp4"])
def test_speech_without_pauses_is_heard_to_the_bit(shared, name):
    sound = load_sound(shared / "clips" / name)
    assert not told(sound).any()
    assert not streamed(sound).any()


@pytest.mark.parametrize("name", [*SPEECH, "grid_man.mpg", "grid_lbbc2a.mpg"])
def test_loudness_makes_no_difference(shared, name):
    """Nor does what a codec leaves in bands that are fainter still."""
    sound = load_sound(shared / "clips" / name)
    for gain in (0.06, 0.3, 2.0):
        assert (told(np.float32(gain) * sound) != told(sound)).mean() < 0.02
    if name.startswith("grid"):  # a room behind a sentence, in MPEG audio
        assert told(sound).mean() > 0.1


@pytest.mark.parametrize("seconds", [0.1, 0.4, 1.0, 1.8, 2.5])
def test_a_vowel_is_no_background(seconds):
    """Held or sung between silences, where nothing else tells what the background is; and as the first sound of all."""
    time = np.arange(round(seconds * sounds.RATE)) / sounds.RATE
    vowel = sum(np.sin(2 * np.pi * 120 * h * time) / h for h in range(1, 30)) * 0.05
    silence = np.zeros(sounds.RATE, np.float32)
    rising = vowel * np.hanning(len(vowel)) ** 0.2
    found = told(np.concatenate([rising, silence, rising, silence]).astype(np.float32))
    assert found.mean() < (0.01 if seconds < KNOWN else 0.6)


def test_silence_is_not_told(shared):
    assert not told(np.zeros(COUNT, np.float32)).any()
    faint = sounds.noise(COUNT, 10 * np.log10(SILENT) - 3)
    assert not told(faint).any()


@pytest.mark.parametrize("rate", [50, 100])
def test_pieces_give_the_whole(speech, rate):
    """From when the background is known on; before it, only the whole can look back."""
    noisy = speech + sounds.fan(len(speech), sounds.rms_db(speech) - 25)
    for sound in (speech, noisy):
        whole, late = told(sound, rate), round((KNOWN + 0.2) * rate)
        for sizes in ((1, 50), (1, 3000), (30_000, 40_000)):
            found = streamed(sound, rate, sizes)
            assert len(found) == len(whole)
            np.testing.assert_array_equal(found[late:], whole[late:])
            assert not found[:late][~whole[:late]].any()


@pytest.mark.parametrize("samples", [0, 100, 161, 400, 16_000, 16_170])
def test_any_length(samples):
    noise = sounds.noise(samples, -40) if samples else np.zeros(0, np.float32)
    for found in (told(noise), streamed(noise)):
        assert found.shape == (round(samples / 320),)


def test_no_step_waits_or_hears_beyond_the_lookahead():
    rng = np.random.default_rng(0)
    stream, sound, given = BackgroundStream(50, SPREAD), sounds.noise(COUNT, -45), 0
    ahead = round(stream.lookahead * 16)
    for first in range(0, len(sound), 160):
        given += len(stream.feed(sound[first : first + 160]))
        assert given > (first + 160 - ahead) // 320 - (first + 160 < ahead)
    for step in (80, 151, 200):
        cut = sound.copy()
        cut[step * 320 + ahead :] = 0.3 * rng.standard_normal(len(sound) - step * 320 - ahead)
        np.testing.assert_array_equal(streamed(cut)[: step + 1], streamed(sound)[: step + 1])
        assert not streamed(cut)[step + 6]


def test_memory_does_not_grow():
    stream = BackgroundStream(50, SPREAD)
    for _ in range(100):
        stream.feed(sounds.noise(1600, -45))
    assert len(stream._power) < 200


def test_an_hour_takes_little_memory_beside_itself():
    hour = np.tile(sounds.noise(10 * sounds.RATE, -45), 360)
    tracemalloc.start()
    assert told(hour).all()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1.2 * hour.nbytes


def test_frames_hear_nothing_in_a_pause(shared):
    """And beside it what they have always heard; a level that looks for no background changes nothing."""
    said = load_sound(shared / "clips" / "Obama_5s.wav")
    clean = np.concatenate([said, np.zeros(2 * sounds.RATE, np.float32), said])
    sound = clean + sounds.noise(len(clean), sounds.rms_db(said) - 20)
    frames, first, last = len(sound) // 640, len(said) // 640, len(said) // 640 + 50
    before, after = (hear(LogMel(), replace(FIRST, background=spread), sound, frames) for spread in (0.0, SPREAD))
    assert before[first + 20 : last - 8].min() > 0
    assert after[first + 20 : last - 8].max() == 0
    kept = (after != 0).any(-1)
    np.testing.assert_array_equal(after[kept], before[kept])
    assert kept[: first - 8].mean() > 0.9


def test_each_recording_of_a_joined_sound_has_its_own(shared):
    """White noise for 3 s, then 3 s of brown: each is background from its beginning on."""
    level, both = replace(FIRST, background=SPREAD), [sounds.noise(48_000, -30, brown=brown) for brown in (False, True)]
    joined = np.concatenate(both)
    assert hear(LogMel(), level, joined, 150, (75,)).max() == 0
    assert hear(LogMel(), level, joined, 100)[55:75].max() > 0.1
