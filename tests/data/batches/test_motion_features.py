"""Motion features against what a procedural head really did, and which frames are drawn how often."""

import numpy as np
import pytest

from jax_talker import geometry
from jax_talker.data.batches.motion_features import motion_features, motion_space, resting_frames
from jax_talker.data.batches.selection import few, frame_weights, good_frames
from jax_talker.data.clip.clip import open_clip
from jax_talker.errors import UserError
from jax_talker.procedural import filming

JAW, WIDTH, BLINK, BROW = 0, 1, 3, 5  # columns of what a procedural head did


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    root = tmp_path_factory.mktemp("scene") / "clip"
    filming.write_clip(root, filming.make_scene(3, 8), size=32, source={})
    return open_clip(root).arrays


def explained(found, truth):
    """Share of the truth's variance that a linear map of the features explains."""
    design = np.column_stack([found, np.ones(len(found))])
    off = truth - design @ np.linalg.lstsq(design, truth, rcond=None)[0]
    return 1 - off.var() / truth.var()


def test_features_are_what_the_face_did(scene):
    found, truth = motion_features(scene, motion_space(scene, np.arange(180))), scene["motion"]
    for column in (JAW, WIDTH):
        assert explained(found.lips, truth[:, column]) > 0.8
    for column in (BLINK, BROW):
        assert explained(found.expression, truth[:, column]) > 0.8
    # Lips do not tell of brows, which go their own way; what little there is is chance in eight seconds.
    assert explained(found.lips, truth[:, BROW]) < 0.5


def test_features_are_zero_at_rest_and_in_units(scene):
    space = motion_space(scene, np.arange(180))
    found, resting = motion_features(scene, space), resting_frames(scene, space, np.arange(180))
    assert np.abs(np.median(found.lips[resting], 0)).max() < 1e-6
    assert found.lips[:180, 0].std() == pytest.approx(1, rel=1e-3)
    truth = scene["motion"]
    assert truth[resting, JAW].mean() < 0.25 * truth[:180, JAW].mean()
    assert truth[resting, BLINK].max() < 0.3
    # Brows are canonical where they mostly are while the eyes are open, whatever the mouth does.
    open_eyes = np.arange(180)[scene["blink"][:180] <= np.quantile(scene["blink"][:180], 0.8)]
    assert np.abs(np.median(found.expression[open_eyes], 0)).max() < 1e-6


def test_who_hardly_ever_closes_the_mouth_rests_with_it_closed(scene):
    """A lively speaker: of seven seconds the mouth is shut in some ten frames."""
    truth = scene["motion"][:180, JAW]
    open_often = np.arange(180)[truth > np.quantile(truth, 0.5)]
    few_closed = np.argsort(truth)[:10]
    train = np.union1d(open_often, few_closed)
    resting = resting_frames(scene, motion_space(scene, train), train)
    assert set(resting) <= set(few_closed)


def test_features_do_not_follow_the_heads_pose(scene):
    """The same face turned by another movement of the head: nearly the same numbers."""
    found = motion_features(scene, motion_space(scene, np.arange(180)))
    yaw = np.degrees(np.arctan2(scene["label"][:, 3], scene["label"][:, 11]))
    for column in (found.lips[:, 0], found.expression[:, 0]):
        assert abs(np.corrcoef(column, yaw)[0, 1]) < 0.3


def test_a_face_that_does_not_move_has_no_motion(scene):
    still = {**scene, "landmarks": np.repeat(scene["landmarks"][:1], 40, 0), "blink": np.zeros(40)}
    still["label"] = scene["label"][:40]
    found = motion_features(still, motion_space(still, np.arange(30)))
    assert np.isfinite(found.lips).all()
    assert np.abs(found.lips).max() < 1e-3


def test_another_clip_is_counted_in_the_persons_own_space(scene):
    """Each frame by itself, whatever else is in the clip; and what cannot be counted so is refused."""
    space = motion_space(scene, np.arange(100))
    part = {name: scene[name][120:160] for name in ("landmarks", "label", "blink")}
    known = {**part, "gaze": scene["gaze"][120:160]} if "gaze" in scene else part
    whole, alone = motion_features(scene, space), motion_features(known, space)
    np.testing.assert_allclose(alone.lips, whole.lips[120:160], atol=1e-6)
    np.testing.assert_allclose(alone.expression, whole.expression[120:160], atol=1e-6)
    with_gaze = {**scene, "gaze": np.random.default_rng(0).normal(size=(len(scene["blink"]), 2))}
    with pytest.raises(UserError, match="no gaze"):
        motion_features(part, motion_space(with_gaze, np.arange(100)))
    with pytest.raises(UserError, match="landmarks a frame"):
        motion_features(
            {**part, "landmarks": np.zeros((40, 68 if scene["landmarks"].shape[1] != 68 else 478, 2))}, space
        )


def labels(yaw):
    return geometry.make_label(np.stack([geometry.orbit(y, 0) for y in yaw]))


def test_rare_poses_are_drawn_more_often():
    yaw = np.array([0.0] * 90 + [25.0] * 10 + [0.0] * 10)
    weights = frame_weights({"label": labels(yaw)}, np.arange(100))
    assert weights[95] == pytest.approx(3 * weights[0])  # the root of nine
    assert not weights[100:].any()  # held out


def test_bad_frames_are_not_drawn_unless_all_are():
    arrays = {
        "label": labels(np.zeros(40)),
        "fit_error": np.where(np.arange(40) == 3, 5.0, 1.0),
        "stat_sharpness": np.where(np.arange(40) == 7, np.nan, 0.5),
        "confidence": np.where(np.arange(40) == 9, 0.1, 0.9),
    }
    train = np.arange(40)
    np.testing.assert_array_equal(np.flatnonzero(~good_frames(arrays, train)), [3, 7, 9])
    np.testing.assert_array_equal(np.flatnonzero(frame_weights(arrays, train) == 0), [3, 7, 9])
    hopeless = {**arrays, "confidence": np.full(40, 0.1)}
    assert (frame_weights(hopeless, train) > 0).all()


def test_few_frames_are_couples_evenly_spread():
    weights = np.linspace(1, 2, 40, dtype=np.float32)
    weights[10] = 0
    kept = few(weights, 4)
    np.testing.assert_array_equal(np.flatnonzero(kept), [0, 1, 38, 39])
    np.testing.assert_array_equal(kept[kept > 0], weights[[0, 1, 38, 39]])
    np.testing.assert_array_equal(few(weights, 1000), weights)
    for hopeless, count in ((weights, 1), ((weights * (np.arange(40) % 2)).astype(np.float32), 4)):
        with pytest.raises(UserError, match="in couples"):
            few(hopeless, count)
