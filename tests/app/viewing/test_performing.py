"""Sound in step with the picture, whatever drawing takes."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from jax_talker.app.viewing import performing
from jax_talker.app.viewing.performing import Performance, Player, perform
from jax_talker.data.clip.clip import FPS, SAMPLE_RATE
from jax_talker.errors import UserError
from jax_talker.models.navigator import Coefficients


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def performance(frames):
    sound = np.sin(np.arange(frames * SAMPLE_RATE // FPS) / 20).astype(np.float32) / 2
    motion = Coefficients(np.zeros((frames, 3)), np.arange(4 * frames).reshape(frames, 4))
    return Performance("words", sound, motion)


@pytest.fixture
def playing():
    clock = Clock()
    player = Player(clock)
    player.load(performance(50))
    return player, clock


def test_frames_follow_the_clock_and_late_ones_are_passed_over(playing):
    player, clock = playing
    assert player.frame() == 0
    clock.now += 9  # nobody has pressed anything
    assert player.frame() == 0
    assert player.play() == 0.0
    for second, frame in ((0.039, 0), (0.041, 1), (0.5, 12), (1.99, 49)):
        clock.now = 109 + second
        assert player.frame() == frame, second


def test_a_frame_is_the_one_of_the_moment_at_which_it_will_be_seen(playing):
    player, clock = playing
    player.play()
    clock.now += 0.4
    assert player.frame(ahead=0.2) == 15
    clock.now += 1.55
    assert player.frame(ahead=0.2) == 49  # not beyond the end, and not at the end before its time
    assert player.playing


def test_it_ends_when_the_sound_does_and_begins_anew(playing):
    player, clock = playing
    player.play()
    clock.now += 2.01
    assert player.frame() == 49
    assert not player.playing
    assert player.play() == 0.0
    assert player.frame() == 0


def test_stopped_it_goes_on_where_it_was_and_sought_where_it_is_put(playing):
    player, clock = playing
    player.play()
    clock.now += 0.81
    player.stop()
    clock.now += 5
    assert player.frame() == 20
    assert player.play() == pytest.approx(0.8)  # what the browser is told to play from
    player.seek(30)
    assert (player.playing, player.frame()) == (False, 30)
    player.seek(1000)
    assert player.frame() == 49
    player.load(None)
    assert player.frame() is None
    with pytest.raises(UserError, match="choose a sound first"):
        player.play()


def test_the_browser_is_handed_the_sound_that_the_head_says():
    said = performance(10)
    kind, _, content = said.wav().partition(",")
    sound, rate = soundfile.read(io.BytesIO(base64.b64decode(content)), dtype="float32")
    assert (kind, rate) == ("data:audio/wav;base64", SAMPLE_RATE)
    np.testing.assert_allclose(sound, said.sound, atol=1 / 32767)
    assert len(sound) / rate == pytest.approx(said.frames / FPS)


def test_of_a_long_clip_the_beginning_is_played():
    said = replace(performance(50), truth=np.arange(50))
    cut = said.cut(1.2)
    assert (cut.frames, len(cut.sound), cut.truth[-1]) == (30, 30 * SAMPLE_RATE // FPS, 29)
    np.testing.assert_array_equal(cut.coefficients.lips, said.coefficients.lips[:30])
    assert said.cut(9.0).frames == 50


def test_any_sound_is_said(config, speaker, tmp_path):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "words.flac", 0.1 * rng.standard_normal((44100, 2)), 44100)
    said = perform(config, speaker, tmp_path / "words.flac")
    assert (said.name, said.frames) == ("words.flac", 25)
    assert np.ptp(said.coefficients.lips, axis=0).max() > 1e-3  # it moves
    np.testing.assert_array_equal(said.at(7).lips, said.coefficients.lips[7])


def test_what_is_no_sound_or_too_long_is_refused(config, speaker, tmp_path, monkeypatch):
    (tmp_path / "notes.wav").write_text("no sound")
    with pytest.raises(UserError, match=r"notes\.wav"):
        perform(config, speaker, tmp_path / "notes.wav")
    monkeypatch.setattr(performing, "LONGEST", 0.5)
    soundfile.write(tmp_path / "long.wav", np.full(16000, 0.1), 16000)
    with pytest.raises(UserError, match=r"long\.wav: lasts 1 s; the viewer plays 0 s at most"):
        perform(config, speaker, tmp_path / "long.wav")
