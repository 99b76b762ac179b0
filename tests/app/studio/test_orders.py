"""What the studio takes, what it refuses, and what it asks to be made."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile

from jax_talker.app.in_one_go import making
from jax_talker.app.studio import orders
from jax_talker.app.studio.limits import Limits
from jax_talker.app.studio.orders import CAMERAS, NEW, Order, Studio
from jax_talker.app.talking import camera_path
from jax_talker.data.read.video import write_video
from jax_talker.errors import UserError

FRAMES = [np.full((32, 32, 3), 40 + k, np.uint8) for k in range(25)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """1 s of sound, of a video with sound, and of one without."""
    folder = tmp_path_factory.mktemp("studio")
    sound = 0.1 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    soundfile.write(folder / "words.wav", sound, 16000)
    write_video(folder / "head.mp4", FRAMES, sound=sound)
    write_video(folder / "silent.mp4", FRAMES, sound=None)
    return folder


@pytest.fixture
def studio(tmp_path):
    person = tmp_path / "people" / "may"
    (person / "personal").mkdir(parents=True)
    (person / "checkpoints" / "navigate" / "40").mkdir(parents=True)
    for name in ("config.json", "person.safetensors"):
        (person / "personal" / name).write_text("{}")
    (tmp_path / "people" / "half_learnt" / "personal").mkdir(parents=True)
    return Studio(
        place=tmp_path / "people",
        limits=Limits(),
        quality=lambda name: f"configuration of {name}",
        of_run=lambda folder: pytest.fail("opened"),
        options=lambda: pytest.fail("prepared"),
        out=tmp_path,
    )


@pytest.fixture
def order(files):
    return Order("may", None, files / "words.wav", "from the front", "quick", False)


def test_only_who_can_speak_can_be_chosen(studio):
    assert list(studio.people) == ["may"]
    (studio.place / "may" / "checkpoints" / "navigate" / "40").rmdir()
    assert not studio.people


def test_all_cameras_are_cameras():
    for words, spec in CAMERAS.items():
        label = camera_path(spec, 3)
        side = label[0, 3]  # x of where it stands; the person's left is +x
        assert {"left": side < -0.5, "right": side > 0.5}.get(words.rsplit(" ", 1)[-1], True), words


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"speech": None}, "what shall be said"),
        ({"person": None}, "choose a person"),
        ({"person": "half_learnt"}, "choose a person"),
        ({"person": "../may"}, "choose a person"),
        ({"camera": "yaw=90"}, "no camera"),
        ({"person": NEW}, "give a video"),
    ],
)
def test_what_is_missing_is_said(studio, order, change, message):
    studio.check(order)  # the test's own premise
    with pytest.raises(UserError, match=message):
        studio.check(replace(order, **change))


def test_nobody_is_learnt_who_did_not_agree(studio, order, files):
    new = replace(order, person=NEW, video=files / "head.mp4")
    with pytest.raises(UserError, match="people who agreed"):
        studio.make(new, print, lambda *_: None)
    studio.check(replace(new, agreed=True))


def test_what_is_too_long_or_too_large_is_refused_with_both_numbers(studio, order, files):
    new = replace(order, person=NEW, video=files / "head.mp4", agreed=True)
    for limits, message in (
        (Limits(speech=0.5), "the speech lasts 1 s; at most 0 s"),
        (Limits(video=0.5), "the video lasts 1 s; at most 0 s"),
        (Limits(megabytes=0), r"head\.mp4: 0 MB; at most 0 MB"),
    ):
        with pytest.raises(UserError, match=message):
            replace(studio, limits=limits).check(new)
    with pytest.raises(UserError, match="has no sound"):
        studio.check(replace(new, video=files / "silent.mp4"))
    with pytest.raises(UserError, match="no sound track"):
        studio.check(replace(order, speech=files / "silent.mp4"))


def test_somebody_new_is_learnt_and_kept_with_the_others(studio, order, files, monkeypatch):
    asked = {}

    def make(wish, config, options, tell, times, watch):
        asked.update(wish=wish, config=config)
        watch(0.5, "half of it")
        tell("learnt")

    monkeypatch.setattr(orders, "make", make)
    told, seen = [], []
    new = replace(order, person=NEW, video=files / "head.mp4", agreed=True, camera="around the head", quality="good")
    out = studio.make(new, told.append, lambda share, text: seen.append((share, text)))
    wish = asked["wish"]
    assert (wish.video, wish.speech, wish.out, wish.camera) == (files / "head.mp4", order.speech, out, "spiral")
    assert (wish.place, wish.keep, wish.anyway) == (studio.place, None, False)
    assert wish.provenance.on
    assert asked["config"] == "configuration of good"
    assert seen == [(0.5, "half of it")]
    assert told[0] == "learnt"
    assert "synthetic" in told[-1]


def test_a_place_of_ones_own_is_where_people_go(files, tmp_path):
    key = making.person_folder.key_of(files / "head.mp4", {})
    found = making.person_folder.folder_for(files / "head.mp4", key, None, tmp_path)
    assert found == tmp_path / f"head-{key[:8]}"
