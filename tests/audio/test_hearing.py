"""From sound to windows: level, recordings by themselves, and features that are kept."""

import logging

import numpy as np
import pytest

from jax_talker.audio import hearing
from jax_talker.audio.choice import NAMES, choose
from jax_talker.audio.extractor import num_steps
from jax_talker.audio.hearing import hear
from jax_talker.audio.level import FIRST, normalised
from jax_talker.audio.logmel import LogMel
from jax_talker.audio.windows import frame_windows
from jax_talker.errors import UserError


class Counting:
    """Each step is the sound's mean over the whole of what was given: it says whether it was given all."""

    name, num_features, rate, lookahead, bands, digest = "counting", 2, 25, float("inf"), (), "a" * 64

    def __init__(self):
        self.calls = []

    def extract(self, wave):
        self.calls.append(len(wave))
        return np.full((num_steps(len(wave), self.rate), 2), wave.mean() if len(wave) else 0, np.float32)


@pytest.fixture
def sound():
    """Noise that comes and goes as speech does."""
    rng = np.random.default_rng(0)
    return (0.1 * np.repeat(rng.random(20), 1600) * rng.standard_normal(32_000)).astype(np.float32)


def test_windows_are_of_the_levelled_sound(sound):
    want = frame_windows(LogMel().extract(normalised(sound, FIRST)), 50)
    np.testing.assert_array_equal(hear(LogMel(), FIRST, sound, 50), want)
    np.testing.assert_allclose(hear(LogMel(), FIRST, 0.1 * sound, 50), want, atol=1e-4)


def test_each_recording_is_extracted_by_itself(sound):
    own = Counting()
    windows = hear(own, FIRST, sound + np.float32(0.2) * (np.arange(32_000) >= 12_800), 50, (20, 30))
    assert own.calls == [20 * 640, 10 * 640, 20 * 640]
    assert len(np.unique(windows[:20])) == 2  # its own number, and zeros outside
    assert not set(np.unique(windows[:20])) & set(np.unique(windows[20:30])) - {0}


@pytest.mark.parametrize(("samples", "frames"), [(32_000 - 700, 50), (32_000 + 900, 50), (100, 50)])
def test_sound_may_be_shorter_or_longer_than_the_picture(samples, frames):
    windows = hear(Counting(), FIRST, np.ones(samples, np.float32), frames, (20, 30))
    assert windows.shape == (frames, 8, 2)


def test_features_are_kept_and_found_again(tmp_path, sound):
    own, keep = Counting(), tmp_path / hearing.FOLDER
    first = hear(own, FIRST, sound, 50, keep=keep)
    assert len(own.calls) == 1
    np.testing.assert_array_equal(hear(own, FIRST, sound, 50, keep=keep), first)
    assert len(own.calls) == 1
    hear(own, FIRST, sound, 50, (20,), keep=keep)  # cut elsewhere
    hear(own, FIRST, sound + np.float32(1e-3) * np.sign(sound), 50, keep=keep)  # another sound
    own.digest = "b" * 64
    hear(own, FIRST, sound, 50, keep=keep)  # another extractor
    assert len(own.calls) == 5
    assert len(list(keep.iterdir())) == 4


def test_a_damaged_file_is_made_anew_aloud(tmp_path, sound, caplog):
    own, keep = Counting(), tmp_path / hearing.FOLDER
    first = hear(own, FIRST, sound, 50, keep=keep)
    (path,) = keep.iterdir()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    np.testing.assert_array_equal(hear(own, FIRST, sound, 50, keep=keep), first)
    assert "damaged" in caplog.text
    assert len(own.calls) == 2
    hear(own, FIRST, sound, 50, keep=keep)
    assert len(own.calls) == 2


def test_where_nothing_can_be_kept_it_is_said(tmp_path, sound, caplog):
    (tmp_path / "file").touch()
    with caplog.at_level(logging.INFO):
        windows = hear(LogMel(), FIRST, sound, 50, keep=tmp_path / "file" / "features")
    assert "are not kept" in caplog.text
    np.testing.assert_array_equal(windows, hear(LogMel(), FIRST, sound, 50))


def test_extractors_are_chosen_by_name(tiny_whisper, tmp_path):
    assert choose("logmel").name == "logmel"
    assert choose("whisper", str(tiny_whisper)).num_features == 64
    assert "whisper" in NAMES
    for name, weights, message in (
        ("mfcc", None, r"no extractor 'mfcc'; choose from logmel, deepspeech, deepspeech_live, wav2vec2, whisper"),
        ("logmel", "folder", "has no weights, but folder is given"),
        (
            "whisper",
            None,
            r"needs config\.data\.features_weights; get model\.safetensors.*converters whisper FILE",
        ),
        ("whisper", str(tmp_path), r"no Whisper's encoder weights; get model\.safetensors"),
    ):
        with pytest.raises(UserError, match=message) as error:
            choose(name, weights)
        assert "\n" not in str(error.value)
