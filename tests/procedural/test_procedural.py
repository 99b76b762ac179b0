"""The procedural head: a head from every side, whose mouth the sound determines, seen alike by every camera."""

from dataclasses import replace

import cv2
import numba
import numpy as np
import pytest

from jax_talker import geometry
from jax_talker.blinking import blinks
from jax_talker.data.clip.clip import FPS, open_clip
from jax_talker.procedural import compiled, filming, motion, skull, speech, template
from jax_talker.procedural.face import GRID, Face
from jax_talker.procedural.head import Head, picture
from jax_talker.procedural.identity import (
    Z_SIZE,
    Identity,
    Motion,
    from_z,
    random_identity,
    vector,
    with_other_motion,
)
from jax_talker.procedural.landmarks import VERTICES
from jax_talker.procedural.render import Mesh, project, render

SIZE = 128
MOTIONS = [
    Motion(),
    Motion(jaw=1.0),
    Motion(jaw=0.5, lip_width=1.0),
    Motion(lip_round=1.0, jaw=0.3),
    Motion(upper_lid=1.0),
]


@pytest.fixture(scope="module")
def average():
    return Head(Identity())


def label(yaw=0.0, pitch=0.0):
    return geometry.make_label(geometry.orbit(yaw, pitch))


def shown(head, pose, yaw=0.0, pitch=0.0):
    """Image in [0, 1], masks as booleans, landmarks in pixels."""
    image, masks = picture(head.mesh(pose), label(yaw, pitch), SIZE)
    points = skull.to_world(head.face.vertices(pose)[VERTICES])
    return image / 255, masks > 127, project(points, label(yaw, pitch), SIZE)[0]


def test_average_face_lies_on_the_anchors(average):
    """Eyes, nose and mouth stand where real video is aligned to; within 6 mm (0.018 units)."""
    points = skull.to_world(average.face.vertices(Motion())[VERTICES])
    found = {
        "right_eye": points[36:42].mean(0),
        "left_eye": points[42:48].mean(0),
        "nose_tip": points[30],
        "mouth_right": points[48],
        "mouth_left": points[54],
    }
    for name, anchor in geometry.FACE_ANCHORS.items():
        assert np.linalg.norm(found[name] - anchor) < 0.018, (name, found[name], anchor)


@pytest.mark.parametrize("seed", range(4))
def test_no_camera_sees_through_the_head(seed):
    """Slits, pouch and parts close up: inside the outline there is no background, whatever the face does."""
    rng = np.random.default_rng(seed)
    head = Head(random_identity(rng))
    for pose in MOTIONS:
        for yaw, pitch in [(0, 0), (35, 5), (-60, -20), (20, 25), (-30, -25)]:
            _, hit = render(head.mesh(pose), label(yaw, pitch), SIZE, supersample=1)
            outline = (hit > 0).astype(np.uint8)
            holes = cv2.connectedComponentsWithStats(1 - outline, connectivity=4)
            enclosed = [s for s in holes[2][1:] if s[0] > 0 and s[1] > 0 and s[0] + s[2] < SIZE and s[1] + s[3] < SIZE]
            # Locks of long hair may stand off the neck; a hole in the face is what must not be.
            face = [s for s in enclosed if abs(s[0] + s[2] / 2 - SIZE / 2) < 0.2 * SIZE and s[1] < 0.75 * SIZE]
            assert not face, (pose, yaw, pitch, face)


def test_mouth_opens_onto_teeth_and_dark(average):
    closed, *_ = shown(average, Motion())
    opened, masks, points = shown(average, Motion(jaw=0.9))
    x, top, bottom = points[62, 0], points[62, 1], points[66, 1]
    assert bottom - top > 0.06 * SIZE
    column = opened[int(top) : int(bottom) + 1, int(x)].mean(-1)
    assert column.max() > 0.5, "teeth"
    assert column.min() < 0.15, "the dark behind them"
    assert masks[int(top) : int(bottom), int(x), 1].all(), "all of it is lower face"
    lips = closed[int(points[62, 1]) - 1 : int(points[62, 1]) + 2, int(x)].mean()
    assert lips > column.min() + 0.1


def test_blink_changes_the_eyes_only(average):
    opened, masks, points = shown(average, Motion())
    closed, *_ = shown(average, Motion(upper_lid=1.0))
    changed = np.abs(opened - closed).max(-1) > 0.03
    assert changed.sum() > 40
    rows, columns = np.nonzero(changed)
    eyes = points[36:48]
    assert rows.min() > eyes[:, 1].min() - 0.06 * SIZE
    assert rows.max() < eyes[:, 1].max() + 0.04 * SIZE
    assert columns.min() > eyes[:, 0].min() - 4
    assert columns.max() < eyes[:, 0].max() + 4
    assert masks[changed][:, 0].mean() > 0.95, "in the upper mask"


def test_jaw_leaves_the_upper_face_alone(average):
    upper = average._skin_masks[:, 0] > 0.5
    above_cheeks = upper & (average.face.neutral[:, 1] > 0.0)
    moved = average.face.vertices(Motion(jaw=1.0)) - average.face.vertices(Motion())
    assert np.abs(moved[above_cheeks]).max() < 1e-6
    assert np.linalg.norm(moved[VERTICES[57]]) > 0.03  # the lower lip


def test_masks_are_disjoint_and_inside_the_head(average):
    for yaw in (0, 30):
        _, masks, _ = shown(average, Motion(jaw=0.5), yaw)
        upper, lower, head = np.moveaxis(masks, -1, 0)
        assert not (upper & lower).any()
        assert not ((upper | lower) & ~head).any()
        assert 0.05 < lower.mean() < upper.mean() < head.mean() < 0.75


def test_landmarks_follow_ibug_order(average):
    _, _, points = shown(average, Motion(jaw=0.4))
    assert (np.diff(points[0:17, 0]) > 0).all()  # jaw line from the picture's left to its right
    assert points[8, 1] == points[:17, 1].max()  # chin
    assert points[17:22, 0].max() < points[22:27, 0].min()  # brows
    assert (np.diff(points[27:31, 1]) > 0).all()  # down the nose
    for eye in (points[36:42], points[42:48]):
        assert eye[[1, 2], 1].max() < eye[[4, 5], 1].min()  # upper lid above lower lid
        assert eye[0, 0] < eye[1, 0] < eye[2, 0] < eye[3, 0]
    assert points[48, 0] < points[60, 0] < points[64, 0] < points[54, 0]
    assert points[51, 1] < points[62, 1] < points[66, 1] < points[57, 1]  # upper lip … lower lip
    left, right = points[[36, 39, 48, 31]], points[[45, 42, 54, 35]]
    np.testing.assert_allclose(left[:, 0] + right[:, 0], SIZE, atol=1.5)  # symmetric to a pixel or so


def test_pictures_of_one_moment_agree_between_cameras():
    """Landmarks of two views triangulate back onto the head, so the views show one geometry."""
    scene = filming.make_scene(3, 0.2)
    frame = next(filming.film(scene, {"a": (0, 0), "b": (30, 10)}, SIZE))
    rows = []
    for name, angles in (("a", (0, 0)), ("b", (30, 10))):
        seen_from = filming.labels(scene, *angles)[0].astype(np.float64)
        world_from_cam, k = seen_from[:16].reshape(4, 4), seen_from[16:].reshape(3, 3)
        matrix = np.diag([SIZE, SIZE, 1]) @ k @ np.linalg.inv(world_from_cam)[:3]
        u, v = frame[name][2].T.astype(np.float64)
        rows.append(u[:, None] * matrix[2] - matrix[0])
        rows.append(v[:, None] * matrix[2] - matrix[1])
    system = np.stack(rows, 1)  # [68, 4, 4]: each point in the null space of its own matrix
    points = np.linalg.svd(system)[2][:, -1]
    points = points[:, :3] / points[:, 3:]
    head = Head(scene.person)
    truth = skull.to_world(head.face.vertices(scene.motions[0])[VERTICES])
    np.testing.assert_allclose(points, truth, atol=2e-3)  # landmarks are float32 pixels; half a hundredth of a pixel


def test_rasteriser_depth_order_and_coverage():
    """The nearer triangle wins; a triangle covers its area."""
    square = np.array([[-0.1, -0.1, 0], [0.1, -0.1, 0], [0.1, 0.1, 0], [-0.1, 0.1, 0]])
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    red, blue = (np.tile(np.array([c], np.float32), (4, 1)) for c in ((1, 0, 0), (0, 0, 1)))
    both = Mesh(
        np.concatenate([square, square + np.array([0, 0, 0.1])]),
        np.concatenate([faces, faces + 4]),
        np.concatenate([red, blue]),
    )
    image, hit = render(both, label(), SIZE)
    assert (image[SIZE // 2, SIZE // 2] == (0, 0, 1)).all()  # z = 0.1 is nearer to the frontal camera
    side = 0.2 * geometry.FOCAL * SIZE / (geometry.RADIUS - 0.1)
    assert hit.sum() == pytest.approx(side**2, rel=0.02)  # a third-pixel stair along the edges


def test_sound_determines_the_mouth_and_nothing_else():
    """A linear map from the spectrum, fitted on one text, reads the mouth of another; lids and brows it cannot."""
    librosa = pytest.importorskip("librosa")

    def features(scene):
        mel = librosa.feature.melspectrogram(y=scene.speech.sound, sr=16000, n_fft=800, hop_length=640, n_mels=40)
        x = np.log(mel.T[: len(scene.motions)] + 1e-5)
        return np.concatenate([x, x**2 / 10, np.ones((len(x), 1))], 1)

    def targets(scene):
        mouth = [(m.jaw, m.lip_width, m.lip_round) for m in scene.motions]
        other = [(m.upper_lid, m.brow) for m in scene.motions]
        return np.array(mouth), np.array(other)

    person = Identity()
    fit, test = (filming.make_scene(seed, 24, person=person) for seed in (1, 1 + 10**6))
    # One voice says both texts, so that only the words differ.
    test, fit = (
        replace(scene, speech=speech.speak(24, np.random.default_rng(seed), speech.Voice()))
        for scene, seed in ((test, 5), (fit, 6))
    )
    t = np.arange(600) / FPS
    score = []
    for target_fit, target_test in (
        (fit.speech.mouth_at(t), test.speech.mouth_at(t)),
        (targets(fit)[1], targets(test)[1]),
    ):
        x, y = features(fit), target_fit
        weights = np.linalg.solve(x.T @ x + 3 * np.eye(x.shape[1]), x.T @ y)
        error = ((features(test) @ weights - target_test) ** 2).mean(0) / target_test.var(0)
        score.append(1 - error)
    assert (score[0] > 0.6).all(), score
    assert (score[1] < 0.15).all(), score


def test_formants_separate_vowels():
    """F1 rises with the jaw, F2 with spreading and falls with rounding, as in human vowels."""
    mouths = np.array([[0.95, 0.1, 0], [0.15, 0.95, 0], [0.15, -0.6, 1.0]])
    a, i, u = speech.formants(mouths)
    assert a[0] > i[0] + 200
    assert i[1] > a[1] > u[1]
    assert (speech.formants(mouths, 1.1) > speech.formants(mouths)).all()


def test_speech_has_pauses_with_closed_lips():
    talk = speech.speak(12, np.random.default_rng(0))
    silent = np.abs(talk.sound).reshape(-1, 160).max(1) < 1e-3  # 10 ms
    assert 0.05 < silent.mean() < 0.5
    mouth = talk.mouth_at((np.flatnonzero(silent) + 0.5) / 100)
    assert np.abs(mouth[:, 0]).mean() < 0.02
    assert talk.sound.dtype == np.float32
    assert np.abs(talk.sound).max() <= 1


def test_motion_streams_are_natural():
    rng = np.random.default_rng(0)
    closed = blinks(FPS * 60, rng)
    starts = ((closed[1:] > 0.5) & (closed[:-1] <= 0.5)).sum()
    assert 8 < starts < 40  # a minute
    angles = motion.turning(FPS * 60, rng)
    assert np.abs(np.diff(angles, axis=0)).max() < 3  # degrees a frame
    assert angles.std(0)[0] > angles.std(0)[2]


def test_from_z_needs_only_the_direction():
    z = np.random.default_rng(0).standard_normal(Z_SIZE)
    one, scaled = from_z(z), from_z(7.0 * z)
    for a, b in zip(one, scaled, strict=True):
        np.testing.assert_allclose(vector(a), vector(b), atol=1e-12)
    assert from_z(-z) != one


def test_other_motion_keeps_the_identity():
    rng = np.random.default_rng(1)
    z = rng.standard_normal(Z_SIZE)
    other = with_other_motion(z, rng)
    np.testing.assert_allclose(vector(from_z(other)[0]), vector(from_z(z)[0]), atol=1e-12)
    assert from_z(other)[1] != from_z(z)[1]


def test_scene_repeats_for_a_seed_and_streams_do_not_mix():
    one, two = filming.make_scene(4, 2.0), filming.make_scene(4, 2.0)
    assert one.motions == two.motions
    np.testing.assert_array_equal(one.speech.sound, two.speech.sound)
    other = filming.make_scene(4, 2.0, turn=0.0)
    assert other.motions == one.motions
    assert not other.angles.any()


def test_clip_folder_of_several_cameras(tmp_path):
    scene = filming.make_scene(2, 0.4)
    filming.write_clip(
        tmp_path / "clip", scene, size=64, source={"procedural": 2}, views={"left_30": (30, 0), "low": (0, -20)}
    )
    clip = open_clip(tmp_path / "clip")
    assert clip.frames == 10
    assert clip.view_names == ("left_30", "low")
    assert clip.image(9).shape == (64, 64, 3)
    assert len(clip.audio()) == 6400
    side = clip.view("left_30")
    assert np.abs(side.image(0).astype(int) - clip.image(0)).mean() > 5
    np.testing.assert_array_equal(side.arrays["blink"], clip.arrays["blink"])
    assert clip.arrays["landmarks"].shape == (10, 68, 2)


def test_template_is_one_chart_with_an_inside_of_the_mouth():
    vertices, uv, faces = template.template()
    assert uv.min() > 0
    assert uv.max() < 1
    a, b, c = (uv[faces[:, k]] for k in range(3))
    area = 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])
    assert (area < 1e-9).all(), "no triangle is folded over in the chart"
    assert np.abs(area).sum() == pytest.approx(0.985, abs=0.02), "and together they fill it once"
    upper, _ = GRID.slits["mouth"]
    lip_z = Face(Identity()).neutral[upper, 2].max()
    inside = (vertices[len(GRID.row) : len(GRID.row) + 12 * len(upper)] - skull.HEAD_ORIGIN) / skull.HEAD_SCALE
    assert inside[:, 2].min() < lip_z - 0.04


def test_machine_code_needs_no_place_on_disk():
    """A function without a file, for which Numba finds no place to cache: as where nothing can be written."""
    scope = {}
    exec("def double(x): return 2 * x", scope)
    with pytest.raises(RuntimeError, match="cannot cache function"):
        numba.njit(cache=True)(scope["double"])
    assert compiled.njit()(scope["double"])(21) == 42
