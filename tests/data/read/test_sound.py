"""One voice in every layout of channels is heard alike, and what was given is what is written."""

import struct
from dataclasses import replace

import av
import numpy as np
import pytest
import soundfile

from jax_talker.data.read.audio import load_sound
from jax_talker.data.read.channels import mixing_weights
from jax_talker.data.read.sound import open_sound
from jax_talker.data.read.video import write_video
from jax_talker.errors import UserError

RATE = 48_000


@pytest.fixture(scope="module")
def voice():
    """Two seconds of something like speech: vowels of a few harmonics, with pauses."""
    time = np.arange(2 * RATE) / RATE
    tones = sum(np.sin(2 * np.pi * f * time) / k for k, f in enumerate((140, 280, 700, 1300), 1))
    return (0.15 * tones * (np.sin(2 * np.pi * 3 * time) > -0.5)).astype(np.float32)


@pytest.fixture(scope="module")
def hiss(voice):
    return (1e-4 * np.random.default_rng(0).standard_normal((8, len(voice)))).astype(np.float32)


def file_of(path, channels, layout, codec="pcm_f32le", more=()):
    """A file with one sound track, or several: channels [C, n] at 48 kHz."""
    with av.open(str(path), "w") as container:
        tracks = []
        for samples, name in ((channels, layout), *more):
            stream = container.add_stream(codec, rate=RATE, layout=name)
            tracks.append((stream, samples, name))
        for first in range(0, channels.shape[1], 1024):
            for stream, samples, name in tracks:
                part = np.ascontiguousarray(samples[:, first : first + 1024])
                frame = av.AudioFrame.from_ndarray(part.T.reshape(1, -1).copy(), "flt", name)
                frame.sample_rate, frame.pts = RATE, first
                container.mux(stream.encode(frame))
        for stream, _, _ in tracks:
            container.mux(stream.encode(None))
    return path


def decibels(sound, reference):
    n = min(len(sound), len(reference))
    return 20 * np.log10(np.sqrt(np.mean(sound[:n] ** 2)) / np.sqrt(np.mean(reference[:n] ** 2)))


LAYOUTS = {  # where the voice is in which layout, and how loud
    "mono": ("mono", {0: 1}),
    "stereo": ("stereo", {0: 1, 1: 1}),
    "left only": ("stereo", {0: 1}),
    "right only": ("stereo", {1: 1}),
    "left, some on the right": ("stereo", {0: 1, 1: 0.3}),
    "phase turned round": ("stereo", {0: 1, 1: -1}),
    "phase turned round, unequal": ("stereo", {0: 1, 1: -0.8}),
    "5.1, centre": ("5.1", {2: 1}),
    "5.1, centre and front": ("5.1", {0: 0.5, 1: 0.5, 2: 1}),
    "5.1, front": ("5.1", {0: 1, 1: 1}),
    "5.1, front left only": ("5.1", {0: 1}),
    "5.1, front turned round": ("5.1", {0: 1, 1: -1}),
    "5.1, in all": ("5.1", dict.fromkeys(range(6), 1)),
    "5.1, in the wrong order": ("5.1", {3: 1}),
    "5.1(side), centre": ("5.1(side)", {2: 1}),
    "7.1, centre": ("7.1", {2: 1}),
    "7.1, one side": ("7.1", {7: 1}),
    "7.1, AAC": ("7.1", {2: 1}),
    "quad, behind": ("quad", {2: 1, 3: 1}),
}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_voice_is_as_loud_as_in_its_channel(tmp_path, voice, hiss, kind):
    layout, gains = LAYOUTS[kind]
    channels = hiss[: av.AudioLayout(layout).nb_channels].copy()
    for place, gain in gains.items():
        channels[place] = gain * voice
    alone = load_sound(file_of(tmp_path / "mono.wav", voice[None], "mono"))
    codec = "aac" if "AAC" in kind else "pcm_f32le"
    heard = load_sound(file_of(tmp_path / "a.mka", channels, layout, codec))
    assert abs(decibels(heard, alone)) < 0.5  # a player gives ± 3 dB
    assert abs(np.corrcoef(heard[: len(alone)], alone)[0, 1]) > 0.99


def test_channels_without_names_are_in_waves_order(tmp_path, voice, hiss):
    """WAV files of most programs say only how many there are."""
    six = np.array([hiss[0], hiss[1], voice, 0.5 * np.sign(voice), hiss[2], hiss[3]])
    soundfile.write(tmp_path / "six.wav", six.T, RATE)
    assert open_sound(tmp_path / "six.wav").layout == "5.1"
    heard, alone = load_sound(tmp_path / "six.wav"), load_sound(file_of(tmp_path / "mono.wav", voice[None], "mono"))
    assert np.corrcoef(heard, alone)[0, 1] > 0.99  # the rumble of the fourth is not heard


def test_two_people_are_both_heard(tmp_path, voice):
    """An interview, one on each side: uncorrelated, so nothing cancels, and nobody is dropped."""
    other = np.roll(voice[::-1], 999)
    heard = load_sound(file_of(tmp_path / "a.wav", np.array([voice, other]), "stereo"))
    for one in (voice, other):
        alone = load_sound(file_of(tmp_path / "mono.wav", one[None], "mono"))
        assert np.corrcoef(heard, alone)[0, 1] > 0.5
    assert heard.max() <= 1


def test_a_constant_is_no_sound(tmp_path, voice):
    """Cheap sound cards add one; it neither chooses a channel or a track nor sets the level of what is heard."""
    constant = np.full_like(voice, 0.4)
    beside = open_sound(file_of(tmp_path / "beside.wav", np.array([constant, voice]), "stereo"))
    np.testing.assert_allclose(beside.weights, 1, atol=1e-6)
    more = [(voice[None], "mono")]
    assert open_sound(file_of(tmp_path / "tracks.mka", constant[None], "mono", more=more)).track == 1


def test_a_cancelled_mix_is_logged(tmp_path, voice, caplog):
    load_sound(file_of(tmp_path / "a.wav", np.array([voice, -voice]), "stereo"))
    assert "a.wav: channel FL is used alone: together they cancel each other" in caplog.text


def test_silence_has_weights_as_well():
    for names in (["FC"], ["FL", "FR"], ["FL", "FR", "FC", "LFE", "BL", "BR"]):
        weights, reason = mixing_weights(names, np.zeros((len(names),) * 2))
        assert weights.sum() == pytest.approx(1)
        assert reason == ""


ENDLESS = (0, 0x7FFFFFFF - 36, 0x80000000, 2 * 10**9, 0xFFFFFFFF)  # what programs write that do not know the length


@pytest.mark.parametrize("size", [*ENDLESS, "half"])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_a_wav_of_unknown_length_is_read_to_its_end(tmp_path, voice, subtype, size):
    """Text-to-speech that streams; a header that says less is believed, for what follows may be no sound."""
    path = tmp_path / "a.wav"
    soundfile.write(path, voice, RATE, subtype=subtype)
    whole, content = load_sound(path), bytearray(path.read_bytes())
    data = content.index(b"data") + 4
    true = struct.unpack_from("<I", content, data)[0]
    struct.pack_into("<I", content, data, true // 2 if size == "half" else size)
    struct.pack_into("<I", content, 4, min(0xFFFFFFFF, data - 4 + (true // 2 if size == "half" else size)))
    path.write_bytes(content)
    heard = load_sound(path)
    want = whole[: len(whole) // 2] if size == "half" else whole
    assert len(heard) == len(want)
    np.testing.assert_allclose(heard[:-50], want[:-50], atol=1e-4)  # the resampler's end differs


@pytest.mark.parametrize(
    ("factor", "level"),
    [(0.5, 0.5), (5.0, None), (40.0, None), (2.0**15, 1.0), (2.0**23, 1.0), (2.0**31, 1.0)],
    ids=["quiet", "too loud", "far too loud", "16 bit", "24 bit", "32 bit"],
)
def test_floats_of_any_range_keep_their_form(tmp_path, voice, factor, level):
    """What exceeds full scale is turned down as a whole, never cut off; integers' values are scaled as integers."""
    alone = load_sound(file_of(tmp_path / "mono.wav", voice[None], "mono"))
    loud = load_sound(file_of(tmp_path / "a.wav", factor * voice[None], "mono"))
    level = np.abs(loud).max() / np.abs(alone).max() if level is None else level
    np.testing.assert_allclose(loud, level * alone, atol=1e-5)
    assert 0.9 < np.abs(loud).max() <= 1 or factor in (0.5, *(2.0**n for n in (15, 23, 31)))


def test_values_beyond_any_range_are_damage(tmp_path, voice):
    with pytest.raises(UserError, match=r"values as large as .*e\+19; the file is damaged"):
        load_sound(file_of(tmp_path / "a.wav", 1e20 * voice[None], "mono"))


@pytest.mark.parametrize("silence", [0.0, 1e-4])
def test_the_first_track_with_sound_is_used(tmp_path, voice, caplog, silence):
    quiet = silence * np.random.default_rng(0).standard_normal((2, len(voice))).astype(np.float32)
    other = voice[None, ::-1]
    path = file_of(tmp_path / "a.mka", quiet, "stereo", more=[(voice[None], "mono"), (other, "mono")])
    alone = load_sound(file_of(tmp_path / "mono.wav", voice[None], "mono"))
    np.testing.assert_allclose(load_sound(path), alone, atol=1e-4)
    assert "sound track 2 of 3 is used" in caplog.text
    caplog.clear()
    first = file_of(tmp_path / "b.mka", 0.1 * voice[None], "mono", more=[(other, "mono")])  # quieter, but no silence
    np.testing.assert_allclose(load_sound(first), 0.1 * alone, atol=1e-4)
    assert caplog.text == ""


# ---------------------------------------------------------------------------------------------------------------------
# What is written beside a rendered picture


def written(path, sound, frames=25):
    write_video(path, [np.zeros((48, 64, 3), np.uint8)] * frames, sound=sound)
    sound = open_sound(path)  # not PyAV's own arrays: of 8 planes it makes 9, and reads nowhere
    return np.concatenate(list(sound.blocks()), 1), sound.rate, sound.layout


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000, 96_000])
def test_the_given_sound_is_written(tmp_path, voice, rate):
    """Both channels at their rate, with what the model cannot hear, as long as the picture."""
    time = np.arange(2 * rate) / rate
    tone, high = np.sin(2 * np.pi * 300 * time), np.sin(2 * np.pi * 0.4 * rate * time)
    soundfile.write(tmp_path / "a.wav", np.stack([0.5 * tone, 0.2 * high], 1), rate)
    sound = replace(open_sound(tmp_path / "a.wav"), seconds=1.0)
    samples, got, layout = written(tmp_path / "a.mp4", sound)
    assert (got, layout) == (rate, "stereo")
    assert rate <= samples.shape[1] <= rate + 1024  # AAC's last block
    spectrum = np.abs(np.fft.rfft(samples[:, :rate]))
    assert spectrum[0].argmax() == pytest.approx(300, abs=1)
    np.testing.assert_allclose(decibels(samples[0], tone[:rate]), 20 * np.log10(0.5), atol=0.5)
    if rate < 48_000:  # above 20 kHz AAC keeps nothing
        assert spectrum[1].argmax() == pytest.approx(0.4 * rate, abs=1)


@pytest.mark.parametrize(
    ("layout", "rate", "want"),
    [("5.1", 48_000, 48_000), ("7.1", 44_100, 44_100), ("mono", 192_000, 96_000), ("mono", 6_000, 7_350)],
)
def test_many_channels_and_odd_rates(tmp_path, hiss, voice, layout, rate, want):
    channels = hiss[: av.AudioLayout(layout).nb_channels].copy()
    channels[-1] = voice
    path = tmp_path / "a.wav"
    soundfile.write(path, channels.T, rate)
    sound = open_sound(path)
    samples, got, name = written(tmp_path / "a.mp4", sound)
    assert (got, name) == (want, layout)
    assert samples.shape[1] == pytest.approx(len(voice) / rate * want, abs=2048)
    assert decibels(samples[-1], voice) > -2


def test_channels_that_aac_does_not_have_become_one(tmp_path, voice, hiss, caplog):
    channels = np.concatenate([hiss, hiss, voice[None]])
    soundfile.write(tmp_path / "a.wav", channels.T, RATE)
    samples, _, layout = written(tmp_path / "a.mp4", open_sound(tmp_path / "a.wav"))
    assert layout == "mono"
    assert abs(decibels(samples[0], voice)) < 1
    assert "AAC has no 17 channels; it is written as mono" in caplog.text
