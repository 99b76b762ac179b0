"""A head is cut out by a network that finds persons: steadily, without clothes and other people, with as much neck
whatever the mouth does."""

import itertools
from dataclasses import replace

import cv2
import numpy as np
import pytest

from jax_talker.data.camera.crop import Crop
from jax_talker.data.cut.matte import HeadView, lowest_chin, neck_fade
from jax_talker.data.cut.person_matte import CONTEXT, PersonMatte
from jax_talker.data.cut.segmenter import HEADLIKE, MULTICLASS, Segmented, Segmenter, head_of
from jax_talker.data.preparation.options import Options
from jax_talker.data.read.video import read_frames
from jax_talker.data.track.landmarks import IBUG
from jax_talker.errors import UserError

SIZE = 128


@pytest.fixture(scope="module")
def clip(drawn_head):
    return drawn_head(32)


@pytest.fixture(scope="module")
def views(clip):
    up = clip.cam_from_world[:, :2, 1]
    up = up / np.linalg.norm(up, axis=1, keepdims=True)
    chin = lowest_chin(clip.crops, clip.landmarks, up, IBUG)
    return [HeadView(*view, chin) for view in zip(clip.crops, clip.landmarks, up, strict=True)]


class Guessing:
    """Knows the drawn heads' alpha, but guesses anew in each frame within some pixels of the edge, as networks do."""

    def __init__(self, clip, noise, with_clothes=False):
        self._clip, self._noise, self._with_clothes = clip, noise, with_clothes
        self.index, self._rng = 0, np.random.default_rng(0)

    def __call__(self, wide):
        crop = self._clip.crops[self.index].widened(CONTEXT)
        alpha = crop.cut(self._clip.alpha[self.index][..., None], len(wide))[..., 0] / np.float32(255)
        edge = cv2.dilate(alpha, np.ones((9, 9))) - cv2.erode(alpha, np.ones((9, 9))) > 0
        guess = cv2.resize(self._rng.uniform(-1, 1, (32, 32)).astype(np.float32), wide.shape[:2])
        alpha = np.clip(alpha + self._noise * edge * guess, 0, 1)
        return Segmented(alpha.astype(np.float32), self._with_clothes)


def cut_all(network, clip, views):
    matte, found = PersonMatte(network, [], [], IBUG), []
    cut = matte.cutter()
    for t, view in enumerate(views):
        network.index = t
        looked = matte.look(t, clip.frames[t], view)
        found.append(cut(looked, view, view.crop.cut(clip.frames[t], SIZE)))
    return found


def truth(clip, views, t):
    return views[t].crop.cut(clip.alpha[t][..., None], SIZE)[..., 0] / 255 * neck_fade(views[t], SIZE)


def test_the_head_is_what_the_network_found(clip, views):
    for t, alpha in enumerate(cut_all(Guessing(clip, 0.0), clip, views)):
        want = truth(clip, views, t)
        assert np.minimum(alpha, want).sum() / np.maximum(alpha, want).sum() > 0.93


def test_guesses_do_not_flicker(clip, views):
    """The frame's own motion apart, most of the network's noise is gone; without a memory (a cutter for each frame) it
    is all there."""

    def change(alphas):
        return np.mean([np.abs(b - a).mean() for a, b in itertools.pairwise(alphas[8:])])

    still, steady = change(cut_all(Guessing(clip, 0.0), clip, views)), change(cut_all(Guessing(clip, 0.6), clip, views))
    network, forgetful = Guessing(clip, 0.6), []
    matte = PersonMatte(network, [], [], IBUG)
    for t, view in enumerate(views):
        network.index = t
        looked = matte.look(t, clip.frames[t], view)
        forgetful.append(matte.cutter()(looked, view, view.crop.cut(clip.frames[t], SIZE)))
    assert steady - still < 0.4 * (change(forgetful) - still)


def test_of_several_persons_one_is_kept(clip, views):
    class Two(Guessing):
        def __call__(self, wide):
            found = super().__call__(wide)
            found.head[:40, :40] = 1
            return found

    view = views[0]
    seen = view.crop.widened(CONTEXT)
    assert PersonMatte(Two(clip, 0.0), [], [], IBUG).look(0, clip.frames[0], view).head[:36, :36].max() == 0
    assert seen.side > view.crop.side


def test_clothes_are_told_by_their_colours(clip, views):
    """A torso in a colour of its own, which the network takes for the person's, is left out; a bare one stays."""
    view, width = views[0], 256

    def picture_with(torso):
        picture = clip.frames[0].copy()
        x, y = view.landmarks[8].astype(int)
        place = picture[y + 14 :, max(0, x - 60) : x + 60]
        place[:] = cv2.resize(torso, place.shape[1::-1])
        return picture

    class Torso(Guessing):
        def __call__(self, wide):
            found = super().__call__(wide)
            crop = view.crop.widened(CONTEXT)
            x, y = (crop.to_crop(view.landmarks[8] + (0, 14), width)).astype(int)
            found.head[y:, x - 60 : x + 60] = 1
            return replace(found, with_clothes=True)

    (left, top), (right, bottom) = view.landmarks[[39, 35]].astype(int)
    skin, green = clip.frames[0][top:bottom, left:right], np.full((8, 8, 3), (20, 160, 60), np.uint8)
    found = {}
    for name, torso in (("green", green), ("skin", skin)):
        picture = picture_with(torso)
        matte = PersonMatte(Torso(clip, 0.0, with_clothes=True), [picture], [view], IBUG)
        x, y = (view.crop.widened(CONTEXT).to_crop(view.landmarks[8] + (0, 24), width)).astype(int)
        found[name] = matte.look(0, picture, view).head[y : y + 6, x - 6 : x + 6].mean()
    assert found["green"] < 40
    assert found["skin"] > 215


def test_the_neck_ends_where_it_does_whatever_the_mouth_does(views):
    """The jaw's landmarks do not move the fade; the crop, which follows the rigid head, does."""
    view = views[0]
    opened = view.landmarks.copy()
    opened[5:12, 1] += 8
    np.testing.assert_array_equal(neck_fade(replace(view, landmarks=opened), SIZE), neck_fade(view, SIZE))
    moved = replace(view, crop=Crop(view.crop.centre + 5, view.crop.side))
    np.testing.assert_allclose(neck_fade(moved, SIZE), neck_fade(view, SIZE), atol=1e-6)  # in the crop it rests


def test_the_lowest_chin_is_inside_the_head(clip, views):
    """Where the chin is in the frame in which it is lowest, the fade has not begun."""
    for view in views:
        x, y = view.crop.to_crop(view.landmarks[8], SIZE).astype(int)
        assert neck_fade(view, SIZE)[y, x] > 0.98


def test_the_multiclass_network_leaves_clothes_out():
    masks = [np.zeros((2, 3), np.float32) for _ in MULTICLASS]
    for place, name in enumerate(("hair", "body-skin", "face-skin", "clothes", "others", "background")):
        masks[MULTICLASS.index(name)].flat[place] = 0.75
    np.testing.assert_array_equal(head_of(masks), np.float32([[0.75, 0.75, 0.75], [0, 0.75, 0]]))
    assert len(HEADLIKE) == 4
    np.testing.assert_array_equal(head_of(masks[3:4]), masks[3])


def test_bad_models_say_why(tmp_path, shared):
    pytest.importorskip("mediapipe")
    with pytest.raises(UserError, match="no such matte model"):
        Segmenter(tmp_path / "absent.tflite")
    (tmp_path / "text.tflite").write_text("no network")
    with pytest.raises(UserError, match="is not an image segmenter") as error:
        Segmenter(tmp_path / "text.tflite")
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="--matte-model goes with --matte=auto"):
        Options(matte="none", matte_model=tmp_path / "text.tflite")
    with pytest.raises(UserError, match="no such file"):
        Options(matte_model=tmp_path / "absent.tflite")


def test_the_real_network_finds_a_person(shared):
    """MediaPipe's selfie network, whose file has no metadata of its own, on a real picture: hair, face and jacket are
    the person, the wall in both upper corners is not."""
    pytest.importorskip("mediapipe")
    picture = next(iter(read_frames(shared / "clips" / "May_5s.mp4")))
    with Segmenter(shared / "models" / "selfie_segmentation.tflite") as network:
        found = network(picture)
    assert found.with_clothes
    assert found.head.shape == picture.shape[:2]
    assert found.head[100:400, 200:320].min() > 0.9
    assert max(found.head[:40, :40].max(), found.head[:40, -40:].max()) < 0.1
