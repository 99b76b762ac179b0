"""What personalising refuses before it begins, and where motion starts."""

from dataclasses import replace
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from configs import quickstart
from jax_talker.app import head_trainer
from jax_talker.app.head_trainer import HeadTrainer, Stage
from jax_talker.app.navigating import _with_blink
from jax_talker.app.personalizing import led_by_units, personalize
from jax_talker.app.run_folder import RunFolder
from jax_talker.data.batches.dataset import ClipFrames
from jax_talker.data.batches.motion_features import MotionFeatures
from jax_talker.data.clip.checksums import Checksums
from jax_talker.data.clip.clip import Clip
from jax_talker.errors import UserError
from jax_talker.training.devices import ALONE
from jax_talker.training.drawn import DrawnFrames
from jax_talker.training.log import Log
from jax_talker.training.state import create, direction


def test_what_lies_in_the_persons_place_is_said_before_any_work(tmp_path):
    """No clip is opened: the configuration names none that exists."""
    config = quickstart.get_config()
    config.data.clip = str(tmp_path / "nowhere")
    personal = RunFolder(tmp_path).personal
    personal.mkdir()
    (personal / "notes.txt").touch()
    with pytest.raises(UserError, match=r"personal: is no prior \(no config\.json in it\)"):
        personalize(config, RunFolder(tmp_path), Log(tmp_path), resume=False)
    (personal / "notes.txt").unlink()
    with pytest.raises(UserError, match="nowhere"):
        personalize(config, RunFolder(tmp_path), Log(tmp_path), resume=False)


def test_brows_that_come_down_with_lids_are_not_the_blinks(tmp_path, listener):
    """The clip's own scores of brows tell them apart, in frames that train."""
    rng, count = np.random.default_rng(1), 60
    train = np.arange(40)
    head, talker = listener.head, listener.params["talker"]
    blink, brows = np.where(rng.random((2, count)) < 0.3, 1.0, 0.0).astype(np.float32)
    brows = np.maximum(brows, blink * (rng.random(count) < 0.8)).astype(np.float32)  # mostly together
    features = np.stack([blink, brows], 1)
    brows = np.where(np.arange(count) < 40, brows, 1 - brows).astype(np.float32)  # nonsense where nothing is learnt
    arrays = {"blink": blink, "expression": brows[:, None], "label": np.zeros((count, 25), np.float32)}
    clip = Clip(tmp_path, 32, count, arrays, Checksums(tmp_path, {}), {"expression_names": ["browDownLeft"]})
    windows = np.zeros((count, 16, 80), np.float32)
    frames = ClipFrames(clip, windows, head.talker.reach, MotionFeatures(features, features))
    kernel = jnp.zeros((2, head.talker.expressions)).at[0, 0].set(1).at[1, 1].set(1)
    navigator = {
        **talker["navigator"],
        "seen_expression": {"kernel": kernel},
        "seen_lips": {"kernel": jnp.zeros((2, head.talker.lips))},
    }
    trainer = object.__new__(HeadTrainer)
    trainer.frames, trainer.split, trainer.head = frames, SimpleNamespace(train=train), head
    trainer.gain = head.talker.gain
    found = _with_blink(trainer, {**talker, "navigator": navigator})["navigator"]["blink"][0]
    np.testing.assert_allclose(found[0], 1, atol=0.05)
    np.testing.assert_allclose(found[1:], 0, atol=0.05)


def test_motion_starts_along_the_units_that_it_stands_for(tmp_path, listener):
    """Of a clip whose lids follow one feature and whose jaw another, in frames that train: the rest shows nonsense."""
    rng, count = np.random.default_rng(0), 60
    train = np.arange(40)
    head, talker = listener.head, listener.params["talker"]
    upper, lower = (rng.standard_normal((count, 2)).astype(np.float32) for _ in range(2))
    blink, jaw = 0.4 + 0.1 * upper[:, 1], 0.2 + 0.05 * lower[:, 0]
    blink[40:], jaw[40:] = rng.random((2, 20))
    arrays = {"blink": blink.astype(np.float32), "expression": jaw[:, None].astype(np.float32)}
    clip = Clip(tmp_path, 32, count, arrays, Checksums(tmp_path, {}), {"expression_names": ["jawOpen"]})
    windows = np.zeros((count, 16, 80), np.float32)
    frames = ClipFrames(clip, windows, head.talker.reach, MotionFeatures(upper, lower))
    shape = head.prior.num_ws, head.prior.w_dim
    q, _ = np.linalg.qr(rng.standard_normal((shape[0] * shape[1], 4)))
    names = ("eyeBlinkLeft", "eyeBlinkRight", "jawOpen", "tongueOut")
    directions = {n: 5 * q[:, k].reshape(shape).astype(np.float32) for k, n in enumerate(names)}
    names = ("seen_expression", "seen_lips")  # of two features each
    narrow = {name: {"kernel": jnp.zeros((2, talker["navigator"][name]["kernel"].shape[1]))} for name in names}
    talker = {**talker, "navigator": {**talker["navigator"], **narrow}}
    led, moved = led_by_units(talker, directions, frames, train, head.talker.gain)
    assert moved == 3  # nobody saw the tongue
    params = {**listener.params, "talker": led}
    anchor = np.asarray(params["anchor"])
    closing = head.latent(params, head.seen(params, jnp.array([[0.0, 1.0]]), jnp.zeros((1, 2)))).w[0] - anchor
    lids = directions["eyeBlinkLeft"] + directions["eyeBlinkRight"]
    np.testing.assert_allclose(closing, 0.1 * lids, atol=0.02)  # the ridge, and 40 frames' chance
    opening = head.latent(params, head.seen(params, jnp.zeros((1, 2)), jnp.array([[1.0, 0.0]]))).w[0] - anchor
    np.testing.assert_allclose(opening, 0.05 * directions["jawOpen"], atol=0.01)


def test_a_clip_that_tells_only_of_its_blink_leads_lids_alone(tmp_path, listener):
    """As with landmarks of OpenFace or face-alignment, which score no expression."""
    rng, count = np.random.default_rng(0), 40
    head, talker = listener.head, listener.params["talker"]
    narrow = {f"seen_{name}": {"kernel": jnp.eye(2, size) / 3} for name, size in (("expression", 3), ("lips", 4))}
    talker = {**talker, "navigator": {**talker["navigator"], **narrow}}
    upper, lower = (rng.standard_normal((count, 2)).astype(np.float32) for _ in range(2))
    clip = Clip(tmp_path, 32, count, {"blink": upper[:, 1]}, Checksums(tmp_path, {}), {})
    frames = ClipFrames(clip, np.zeros((count, 16, 80), np.float32), head.talker.reach, MotionFeatures(upper, lower))
    shape = head.prior.num_ws, head.prior.w_dim
    directions = {
        name: rng.standard_normal(shape).astype(np.float32) for name in ("eyeBlinkLeft", "eyeBlinkRight", "jawOpen")
    }
    led, moved = led_by_units(talker, directions, frames, np.arange(count), head.talker.gain)
    assert moved == 2
    np.testing.assert_array_equal(led["navigator"]["seen_lips"]["kernel"], narrow["seen_lips"]["kernel"])
    assert np.abs(led["navigator"]["seen_expression"]["kernel"]).max() > 0.1


@pytest.mark.parametrize("room", [100, 5])
def test_what_steps_will_show_is_drawn_before_the_first(tmp_path, monkeypatch, listener, room):
    """So no step waits for the generator; what does not fit into memory is left to the steps. A resumed run draws what
    is left to show, and one that is done nothing."""
    drawn = []

    class Drawn(DrawnFrames):
        def __init__(self, *_):
            drawn.clear()
            self.full = False

        def __call__(self, frames):
            drawn.extend(frames.index.tolist())
            self.full = len(drawn) >= room

    monkeypatch.setattr(head_trainer, "DrawnFrames", Drawn)
    monkeypatch.setattr(ClipFrames, "stored", ClipFrames.heard_only)  # there are no pictures
    count, zeros = 60, np.zeros((60, 2), np.float32)
    arrays = {"blink": zeros[:, 0], "label": np.zeros((count, 25), np.float32)}
    clip = Clip(tmp_path, 32, count, arrays, Checksums(tmp_path, {}), {})
    trainer = object.__new__(HeadTrainer)
    trainer.frames = ClipFrames(clip, np.zeros((count, 16, 80), np.float32), 8, MotionFeatures(zeros, zeros))
    trainer.head, trainer.config, trainer.split = (
        listener.head,
        quickstart.get_config(),
        SimpleNamespace(train=np.arange(40)),
    )
    trainer.config.train.batch = 4
    trainer.log, trainer.devices, trainer._seen_weights = Log(tmp_path), ALONE, np.ones(count)
    stage = Stage("tune", 12, {"detail": 1.0}, hear=False, cross=0)
    begun = create(listener.params, direction(), 0)
    for first in (0, 9, 12):
        made = trainer._batch(stage, replace(begun, step=jnp.int32(first)), listener.fixed)
        before = set(drawn)
        shown = {i for step in range(first, 12) for i in made(step).rows[0].index.tolist()}
        assert before == shown if room == 100 else len(before) == min(room, len(shown))
