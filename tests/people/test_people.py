"""Synthetic people from the real pack: what shows is what was meant, and the truth beside a picture is true."""

import cv2
import numpy as np
import pytest

from jax_talker import geometry
from jax_talker.data.camera.pose import euler_angles, track_head
from jax_talker.data.track.landmarks import IBUG
from jax_talker.people.expression import FRIENDLY, MOODS, VISEMES, gaze_units, perform, unit_vector, within
from jax_talker.people.figure import PARTS, SKIN, Figure, numbers
from jax_talker.people.identity import random_person
from jax_talker.people.layout import CHART_NAMES
from jax_talker.people.light import studio
from jax_talker.people.picture import take
from jax_talker.people.shape import Shape
from jax_talker.people.shell import hair_shell
from jax_talker.people.shots import shots
from jax_talker.people.texture_space import TextureSpace, samples
from jax_talker.procedural.render import project

SIZE = 128
SEEDS = (4, 12, 30)  # cropped, short and long hair


def label(yaw=0.0, pitch=0.0, focal=geometry.FOCAL):
    return geometry.make_label(geometry.orbit(yaw, pitch), focal)


@pytest.fixture(scope="module", params=SEEDS)
def figure(pack, request):
    return Figure(pack, random_person(pack, request.param))


def posed(figure, units):
    names = figure.pack.units
    pose = figure.pose(within(names, unit_vector(names, {**FRIENDLY, **units})))
    return pose, figure.lit(pose, studio())


def shown(figure, units, yaw=0.0, pitch=0.0, **options):
    return take(figure, posed(figure, units)[1], label(yaw, pitch), SIZE, **options)


def count(picture, *names):
    return int(np.isin(picture.part, numbers(names)).sum())


def test_shape_agrees_with_the_packs_golden_people(pack, shared):
    golden = np.load(shared / "heads" / "golden.npz")
    rows = [pack.target_row[f"arkit/{name}"] for name in pack.units]
    for k in (0, 1):
        shape = Shape(pack, golden["weights"][k])
        assert np.abs(shape.neutral - golden[f"neutral{k}"]).max() < 1e-6  # metres; float32 of 0.1
        # The pack's own expression knows nothing of lids that close on every eye.
        own = golden["expression"][k][rows] / shape.unit_scale
        head = shape.expressed(own)
        assert np.abs(head - golden[f"expressed{k}"]).max() < 1e-6
        for name in ("eyes/high-poly", "hair/short02", "teeth/teeth_base"):
            fitted = pack.attachment(name).fit(head, shape.neutral)
            assert np.abs(fitted - golden[f"{name}{k}"]).max() < 1e-6


def test_people_repeat_and_differ(pack):
    first, again, other = (random_person(pack, seed) for seed in (3, 3, 4))
    assert np.array_equal(first.weights, again.weights)
    assert (first.skins, first.hair, first.iris) == (again.skins, again.hair, again.iris)
    assert not np.allclose(first.weights, other.weights)
    pictures = [shown(Figure(pack, person), {}) for person in (first, again, other)]
    assert np.array_equal(pictures[0].image, pictures[1].image)
    assert np.abs(pictures[0].image - pictures[2].image).mean() > 0.02


def test_faces_lie_on_the_anchors(figure):
    """Eyes, nose and mouth stand where EG3D's cameras expect them; people differ by a centimetre (0.027 units)."""
    points = figure.shape.frame(figure.shape.landmarks(figure.shape.neutral))
    for found, name in ((points[42:48].mean(0), "left_eye"), (points[30], "nose_tip"), (points[54], "mouth_left")):
        assert np.linalg.norm(found - geometry.FACE_ANCHORS[name]) < 0.03, name


def test_an_open_jaw_shows_teeth_and_the_dark_behind(figure):
    closed, wide = shown(figure, {}), shown(figure, VISEMES["a"])
    assert count(closed, "teeth", "tongue", "mouth") <= 6
    assert count(wide, "teeth") > 15
    assert count(wide, "teeth", "tongue", "mouth") > 80


def test_lips_close_for_m_and_show_teeth_for_s(figure):
    assert count(shown(figure, VISEMES["m"]), "teeth") <= 3
    assert count(shown(figure, VISEMES["s"]), "teeth") > 15


def test_a_blink_covers_the_eyes_and_leaves_the_mouth(figure):
    opened, shut = shown(figure, {}), shown(figure, {"eyeBlink": 1.0})
    assert count(opened, "eyes") > 60
    assert count(shut, "eyes") <= 0.05 * count(opened, "eyes")
    below = int(opened.landmarks[33, 1]) + 3
    same = np.abs(opened.image - shut.image)[below:, 50:78]
    assert same.max() < 0.02


def test_eyes_turn_together_and_lids_follow(figure):
    units = figure.pack.units
    aside = gaze_units(units, np.array([20.0]), np.array([0.0]))[0]
    turned = [figure.shape.gaze(aside, side) @ np.array([0, 0, 1.0]) for side in ("Left", "Right")]
    assert np.allclose(turned[0], turned[1], atol=1e-6)
    assert np.degrees(np.arctan2(turned[0][0], turned[0][2])) == pytest.approx(20, abs=0.1), "to the person's left"
    down = gaze_units(units, np.array([0.0]), np.array([-15.0]))[0]
    assert (figure.shape.gaze(down, "Left") @ np.array([0, 0, 1.0]))[1] == pytest.approx(
        -np.sin(np.radians(15)), abs=1e-3
    )


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (40, 10), (-90, 0), (180, 20)])
def test_masks_agree_with_alpha_and_depth_with_geometry(figure, yaw, pitch):
    picture = shown(figure, VISEMES["e"], yaw, pitch)
    assert picture.alpha.min() >= 0
    assert picture.alpha.max() <= 1 + 1e-5
    assert ((picture.part > 0) == (picture.alpha > 0.5)).mean() > 0.995  # both are votes of fine pixels; edges tie
    assert (picture.image <= picture.alpha[..., None] + 1e-4).all(), "colours are premultiplied"
    assert (picture.depth[picture.alpha > 0.99] > 0).mean() > 0.999
    lit = posed(figure, VISEMES["e"])[1]
    skin = np.unique(figure.faces[np.isin(figure.parts, numbers(SKIN))])
    pixels, depth = project(lit.vertices[skin], label(yaw, pitch), SIZE)
    at = pixels.astype(int)
    inside = ((at >= 2) & (at < SIZE - 2)).all(1)
    there = picture.depth[at[inside, 1], at[inside, 0]]
    solid = picture.alpha[at[inside, 1], at[inside, 0]] > 0.999
    assert (there[solid] < depth[inside][solid] + 0.02).mean() > 0.97, "but for outlines, nothing shows behind the skin"
    if abs(yaw) < 90:
        assert (np.abs(there[solid] - depth[inside][solid]) < 0.01).mean() > 0.15, "and much of the skin shows"


def test_nobody_is_seen_through(figure):
    """Lids, lips and sockets close up: inside the face's outline there is no background, whatever it does."""
    for yaw, pitch in ((0, 0), (40, 10), (-70, -15)):
        picture = shown(figure, VISEMES["a"], yaw, pitch)
        clear = (picture.alpha < 0.5).astype(np.uint8)
        _, _, boxes, _ = cv2.connectedComponentsWithStats(clear, connectivity=4)
        holes = [b for b in boxes[1:] if min(b[0], b[1]) > 0 and b[0] + b[2] < SIZE and b[1] + b[3] < 0.75 * SIZE]
        assert not holes, (yaw, pitch, holes)


def test_nothing_inside_comes_through_the_skin(pack):
    """Cheeks that rise and broad noses press sockets and the mouth's walls out; only between lips may these show."""
    for seed in (2, 4, 19):
        picture = shown(Figure(pack, random_person(pack, seed)), MOODS["laugh"])
        (left, top), (right, bottom) = picture.landmarks[48:].min(0) - 2, picture.landmarks[48:].max(0) + 2
        row, col = np.nonzero(np.isin(picture.part, numbers(("mouth", "teeth", "tongue"))))
        assert len(row) > 20
        assert ((row > top) & (row < bottom) & (col > left) & (col < right)).all(), seed


def test_landmarks_give_prepares_cameras_back(figure):
    """Poses fitted to landmarks of rigid turns are the true ones to a degree, as for real video."""
    _, lit = posed(figure, {})
    angles = [(yaw, pitch) for yaw in (-25, -10, 0, 12, 25) for pitch in (-8, 0, 10)]
    truth = np.stack([label(*a) for a in angles])
    points = np.stack([project(lit.landmarks, one, 256)[0] for one in truth])
    track = track_head(points, IBUG, smooth=0)
    found = euler_angles(geometry.invert_rigid(geometry.split_label(track.label.astype(np.float64))[0])[:, :3, :3])
    wanted = euler_angles(geometry.invert_rigid(geometry.split_label(truth.astype(np.float64))[0])[:, :3, :3])
    error = found - wanted
    assert np.abs(error).max() < 1.0, error


@pytest.fixture(scope="module")
def space(pack):
    return TextureSpace(pack, 128)


def test_texels_are_where_pictures_show_them(figure, space):
    """Texels of skin and eyes that nothing hides have the colour and the depth of the pixel that they project to."""
    pose, lit = posed(figure, VISEMES["e"])
    planes = space.planes(space.albedo(figure.person), figure, pose, lit)
    valid = space.layout.valid
    camera = label()
    picture = take(figure, lit, camera, 256)
    pixels, depth = project(planes.position[valid], camera, 256)
    facing = planes.normal[valid][:, 2] > 0.5
    at = pixels.astype(int)
    inside = (at >= 1).all(1) & (at < 255).all(1) & facing
    row, col = at[inside, 1], at[inside, 0]
    near = np.abs(picture.depth[row, col] - depth[inside]) < 0.006
    bare = np.isin(picture.part[row, col], numbers(("skin", "eyes", "ears", "teeth"))) & near
    assert bare.sum() > 1500
    off = np.abs(planes.color[valid][inside][bare] - picture.image[row, col][bare])
    assert np.median(off) < 0.02  # a texel is as wide as a pixel or two, and lashes lie before some
    assert (off.max(1) < 0.12).mean() > 0.9


def test_texture_space_covers_the_head_and_follows_its_expression(figure, space):
    layout = space.layout
    assert layout.valid.mean() > 0.78
    assert np.allclose(layout.weights[layout.valid].sum(-1), 1, atol=1e-5)
    assert (layout.weights >= -1e-4).all()
    pose, lit = posed(figure, {})
    still = space.planes(space.albedo(figure.person), figure, pose, lit).position
    pose, lit = posed(figure, {"jawOpen": 0.5})
    moved = np.linalg.norm(space.planes(space.albedo(figure.person), figure, pose, lit).position - still, axis=-1)
    lower, eyes = layout.chart == 7, np.isin(layout.chart, (4, 5))
    assert moved[lower].min() > 0.01, "lower teeth fall with the jaw"
    assert moved[layout.chart == 6].max() < 0.5 * moved[lower].max(), "upper ones hardly"
    assert moved[eyes].max() < 1e-6
    alpha = space.planes(space.albedo(figure.person), figure, pose, lit).alpha
    lashes = layout.chart == CHART_NAMES.index("lashes")
    assert 0.02 < alpha[lashes].mean() < 0.6
    assert (alpha[layout.valid & ~lashes] == 1).all()


def test_samples_repeat_and_are_plausible(space):
    first, again = (list(samples(space, range(5, 7), 2)) for _ in range(2))
    assert len(first) == 4
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.planes.color, b.planes.color)
        assert np.array_equal(a.planes.position, b.planes.position)
        assert np.isfinite(a.planes.color).all()
        assert a.planes.color.min() >= 0
        assert a.planes.color.max() <= 1
        reach = np.linalg.norm(a.planes.position, axis=-1)
        assert reach[space.layout.valid].max() < 1.2, "world units; a head, not a body"
    assert not np.array_equal(first[0].units, first[1].units)


def test_hair_shell_lies_on_the_hair(figure):
    pose, lit = posed(figure, {})
    shell = hair_shell(figure, pose, lit, 64)
    there = shell.alpha > 0.9
    if not (figure.parts == PARTS.index("hair")).any():
        assert shell.alpha.max() == 0
        return
    assert there.mean() > 0.2
    camera = label(150, 10, focal=2.2)
    picture = take(figure, lit, camera, 256)
    pixels, depth = project(shell.position[there], camera, 256)
    at = np.clip(pixels.astype(int), 0, 255)
    seen = np.abs(picture.depth[at[:, 1], at[:, 0]] - depth) < 0.03
    assert seen.mean() > 0.3, "the side that the camera sees lies on what it sees"
    off = np.abs(picture.image[at[:, 1], at[:, 0]] - shell.color[there])[seen]
    assert np.median(off) < 0.06


def test_speech_opens_and_closes_the_mouth(pack):
    acting = perform(pack.units, 3, 8.0)
    again = perform(pack.units, 3, 8.0)
    assert np.array_equal(acting.units, again.units)
    assert acting.units.shape == (200, 52)
    jaw = acting.units[:, pack.units.index("jawOpen")]
    assert jaw.max() > 0.25
    assert (jaw < 0.02).mean() > 0.1
    blink = acting.units[:, pack.units.index("eyeBlinkLeft")]
    assert np.array_equal(blink > 0.99, acting.blink > 0.99)
    assert blink.max() > 0.9
    assert len(acting.sound) == 8 * 16_000


def test_shots_repeat_and_look_from_everywhere(pack):
    first = list(shots(pack, [8], moments=1, views=3, size=48, fine=1))
    again = list(shots(pack, [7, 8], moments=1, views=3, size=48, fine=1))[3:]
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.picture.image, b.picture.image)
        assert np.array_equal(a.label, b.label)
    assert len({tuple(shot.label) for shot in first}) == 3
    assert all((shot.picture.alpha > 0.5).mean() > 0.25 for shot in first)
