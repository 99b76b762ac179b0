"""What training does to log-mel is what rooms, microphones and voices do to the sound itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker.audio.logmel import LogMel
from jax_talker.audio.windows import frame_windows
from jax_talker.training import sound_variation
from jax_talker.training.sound_variation import Variation, room, varied

BANDS = LogMel.bands
KEY = jax.random.key(0)


def keys(audio):
    return jax.random.split(KEY, len(audio))


def tone(*hertz, seconds=1.0):
    time = np.arange(round(16_000 * seconds)) / 16_000
    return sum(0.1 * np.sin(2 * np.pi * h * time) for h in hertz).astype(np.float32)


def windows(sound, frames=4):
    """[1, A, S, F] of neighbouring frames in the sound's middle."""
    own = frame_windows(LogMel().extract(sound), len(sound) // 640)
    middle = len(own) // 2
    return jnp.asarray(own[middle : middle + frames][None])


def peaks(audio):
    return np.asarray(BANDS)[np.asarray(audio).mean((0, 1, 2)).argmax()]


def test_nothing_is_varied_by_default_nor_where_features_are_no_logmel():
    audio = windows(tone(500))
    for how in (Variation(), Variation(BANDS), Variation((), level=3.0, voice=0.2, room=1.0)):
        np.testing.assert_array_equal(varied(audio, keys(audio), how), audio)
    with pytest.raises(ValueError, match="80 bands for 79 numbers"):
        varied(audio[..., :79], keys(audio), Variation(BANDS, level=1.0))


KINDS = {"level": 6.0, "voice": 0.2, "tilt": 2.0, "telephone": 1.0, "room": 1.0}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_changes_what_is_heard_and_leaves_what_never_was(kind):
    audio = windows(tone(200, 1000, 4000)).at[:, 1, :5].set(0)
    for key in jax.random.split(KEY, 3):
        got = varied(audio, key[None], Variation(BANDS, **{kind: KINDS[kind]}))
        assert not got[:, 1, :5].any()
        assert jnp.abs(got - audio).max() > 0.01
        assert got.min() >= 0
        assert jnp.isfinite(got).all()


def test_louder_is_louder():
    quiet = windows(0.1 * tone(300, 1000))
    got = varied(quiet, keys(quiet), Variation(BANDS, level=10.0))
    change = float((got - quiet)[quiet > 0.4].mean())  # dB / 100
    louder = windows((10 ** (change * 100 / 20)) * 0.1 * tone(300, 1000))
    assert abs(change) > 0.01
    np.testing.assert_allclose(got[quiet > 0.4], louder[quiet > 0.4], atol=1e-3)


@pytest.mark.parametrize("ratio", [0.85, 1.15])
@pytest.mark.parametrize("hertz", [500, 2000])
def test_a_shorter_vocal_tract_is_the_same_sound_higher(ratio, hertz):
    got = sound_variation._moved(windows(tone(hertz)), jnp.array([ratio]), BANDS)
    want = windows(tone(hertz * ratio))
    assert peaks(got) == pytest.approx(peaks(want), rel=0.05)
    loud = want > 0.6
    assert np.abs(np.where(loud, got - want, 0)).max() < 0.12  # a tone between two bands has two lower peaks
    np.testing.assert_array_equal(sound_variation._moved(want, jnp.ones(1), BANDS), want)


def test_two_sounds_at_once_are_the_sum_of_their_powers():
    rng = np.random.default_rng(0)
    one, other = (a * rng.standard_normal(16_000).astype(np.float32) for a in (np.float32(0.1), np.float32(0.02)))
    got, want = sound_variation._sum(windows(one), windows(other)), windows(one + other)
    assert float(jnp.abs(got - want).mean()) < 0.01  # they interfere, by 1 dB in a step, not on the whole
    assert float((got - want).mean()) == pytest.approx(0, abs=1e-3)


def test_a_rooms_noise_is_that_of_rooms():
    """As white and brown noise between −65 and −40 dBFS give it; the same where windows overlap."""
    made = np.concatenate([room(k[None], (4, 16, 80), Variation(BANDS)) for k in jax.random.split(KEY, 200)])
    np.testing.assert_array_equal(made[:, 0, 2:], made[:, 1, :-2])
    rng = np.random.default_rng(0)
    white = [windows((10 ** (db / 20) * rng.standard_normal(16_000)).astype(np.float32)) for db in (-65, -40)]
    level = made[..., 40].mean((1, 2))
    assert level.min() < white[0][..., 40].mean() + 0.05
    assert level.max() > white[1][..., 40].mean() - 0.1
    flicker = [float(np.std(np.asarray(x)[0, 0] - np.asarray(x)[0, 0].mean(0))) for x in (white[1], made)]
    assert flicker[1] == pytest.approx(flicker[0], abs=0.015)


def test_a_telephone_lets_its_band_through():
    audio = windows(tone(100, 1000, 5000))
    got = varied(audio, keys(audio), Variation(BANDS, telephone=1.0))
    inside = (np.asarray(BANDS) > 300) & (np.asarray(BANDS) < 3400)
    np.testing.assert_array_equal(got[..., inside], audio[..., inside])
    assert float(got[..., ~inside].max()) < 0.3


def test_each_of_a_batch_in_its_own_way():
    audio = jnp.repeat(windows(tone(300, 1000)), 6, 0)
    got = np.asarray(
        varied(audio, keys(audio), Variation(BANDS, level=3.0, voice=0.1, tilt=1.0, telephone=0.3, room=0.5))
    )
    assert all(np.abs(got[0] - other).max() > 0.01 for other in got[1:])
