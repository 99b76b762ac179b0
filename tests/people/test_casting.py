"""Whom the benchmark films, of both kinds of people."""

import numpy as np
import pytest

from jax_talker.app.casting import takes
from jax_talker.errors import UserError
from jax_talker.people import filming as people
from jax_talker.procedural import filming as procedural

SEED, SECONDS = 5, (1.0, 0.4, 0.6)


def told(scene):
    """Of each frame the head's angles and the lids' blink; and the sound."""
    if isinstance(scene, people.Scene):
        return scene.acting.angles, scene.acting.blink, scene.acting.sound
    return scene.angles, np.array([m.upper_lid for m in scene.motions]), scene.speech.sound


@pytest.fixture(params=["procedural", "human"])
def pack(request):
    return request.getfixturevalue("tiny") if request.param == "human" else None


def test_what_is_held_out_is_said_next(pack):
    made = takes(pack, SEED, *SECONDS)
    whole = people.make_scene(pack, SEED, 1.4) if pack else procedural.make_scene(SEED, 1.4)
    for first, then, both in zip(told(made["train"].scene), told(made["test"].scene), told(whole), strict=True):
        assert np.array_equal(np.concatenate([first, then]), both)
    assert [len(told(take.scene)[0]) for take in made.values()] == [25, 10, 15]


def test_another_voice_says_other_words_with_the_same_face(pack):
    made = takes(pack, SEED, *SECONDS)
    own, other = made["train"].scene, made["other"].scene
    assert (own.figure is other.figure and own.light is other.light) if pack else own.person == other.person
    heard = [told(scene)[2][: 16000 // 2] for scene in (own, other)]
    assert np.abs(np.corrcoef(*heard)[0, 1]) < 0.2
    again = takes(pack, SEED, *SECONDS)["other"].scene
    assert np.array_equal(told(again)[2], told(other)[2])


def test_a_take_is_filmed_once(pack, tiny, tmp_path):
    counted = []

    def shown(frames, total):
        counted.append(total)
        return frames

    def filmed(pack=pack, seconds=SECONDS, size=32):
        return takes(pack, SEED, *seconds)["test"].filmed(tmp_path / "test", size=size, views=views, progress=shown)

    views = {"left": (-30.0, 0.0)}
    assert filmed().view_names == ("left",)
    assert filmed().frames == 10
    assert counted == [10]
    for another in ({"size": 48}, {"seconds": (1.0, 0.8, 0.6)}, {"pack": None if pack else tiny}):
        with pytest.raises(UserError, match="of other people or sizes"):
            filmed(**another)
    assert counted == [10]
