"""Face parsing put to use: on procedural heads, whose every pixel's class is known, before a patterned wall."""

from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from jax_talker import geometry
from jax_talker.data.camera.crop import Crop
from jax_talker.data.cut.face_parts import FACE, HEAD, FacePart, among
from jax_talker.data.cut.masks import region_masks
from jax_talker.data.cut.matte import HeadMatte, HeadView, lowest_chin, neck_fade
from jax_talker.data.cut.parsing import head_alpha
from jax_talker.data.track.landmarks import IBUG
from jax_talker.procedural import filming
from jax_talker.procedural.face import GRID
from jax_talker.procedural.head import FOREHEAD, Head, picture
from jax_talker.procedural.identity import Motion, random_identity
from jax_talker.procedural.landmarks import VERTICES
from jax_talker.procedural.render import Mesh, project, render
from jax_talker.procedural.skull import to_world

SIZE = 256
UP = np.array([0.0, -1.0])
VIEWS = ((0, 0), (12, -8), (25, 5), (-30, -12))  # yaw, pitch in degrees
SUBJECTS = 4


@dataclass(frozen=True)
class Shot:
    """One procedural head before a wall, with what is true of it."""

    seen: np.ndarray  # [S, S, 3] uint8
    upper: np.ndarray  # bool; the forehead's upper half belongs to neither
    lower: np.ndarray
    high: np.ndarray  # bool: skin above the upper region
    alpha: np.ndarray
    scores: np.ndarray  # [S, S, 19] share of each class
    view: HeadView

    @property
    def parts(self):
        return self.scores.argmax(-1).astype(np.uint8)

    @property
    def blunt_parts(self):
        """As sharp as the network's: an eighth of the size, enlarged bilinearly."""
        small = cv2.resize(self.scores, (SIZE // 8, SIZE // 8), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR).argmax(-1).astype(np.uint8)


def vertex_classes(head, mesh):
    """The class of every vertex of a procedural head; Head.mesh says in which order its parts come."""
    face, P = head.face, FacePart
    x, y, z = face.neutral.T
    azimuth, contour = np.abs(np.degrees(GRID.azimuths[GRID.column])), VERTICES[8:17]
    behind = azimuth > np.interp(y, y[contour], azimuth[contour]) + 4
    skin = np.where(behind | (np.degrees(GRID.elevations[GRID.row]) < -22), P.NECK, P.SKIN)
    skin[(np.abs(x) < 0.03) & (y > y[VERTICES[33]]) & (y < 0.06) & (z > 0)] = P.NOSE
    lips = np.hypot(x / face.mouth_half, (y - face.mouth_y) / 0.02) < 1
    skin[lips & (z > 0)] = np.where(y > face.mouth_y, P.UPPER_LIP, P.LOWER_LIP)[lips & (z > 0)]
    eyes = sum(len(part.vertices) for part in head._eyes)
    still = [len(part.vertices) for part in head._still]
    mouth = len(mesh.vertices) - len(skin) - eyes - sum(still)
    rest = np.repeat([P.MOUTH, P.LEFT_EYE, P.LEFT_EAR, P.RIGHT_EAR, P.NECK, P.HAIR], [mouth, eyes, *still])
    return np.concatenate([skin, rest])


def shoot(seed, yaw, pitch):
    rng = np.random.default_rng(seed)
    head = Head(random_identity(rng))
    motion = Motion(jaw=rng.uniform(0, 0.8), upper_lid=rng.uniform(0, 1))
    mesh, label = head.mesh(motion), geometry.make_label(geometry.orbit(yaw, pitch))
    _, masks = picture(mesh, label, SIZE)
    classes = vertex_classes(head, mesh)
    high = np.zeros(len(classes))
    high[: len(GRID.row)] = head.face.neutral[:, 1] >= head.face.brow_y + FOREHEAD
    values = np.concatenate([mesh.values[:, :3], high[:, None], np.eye(len(FacePart))[classes]], 1)
    image, alpha = render(Mesh(mesh.vertices, mesh.faces, values), label, SIZE, supersample=2)
    scores = image[..., 4:]
    scores[..., 0] += 1 - alpha
    wall = cv2.resize(rng.integers(40, 220, (10, 10, 3), np.uint8), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    seen = image[..., :3] * 255 + (1 - alpha[..., None]) * (wall + rng.normal(0, 6, wall.shape))
    points = project(to_world(head.face.vertices(motion)[VERTICES]), label, SIZE)[0]
    # One pixel of noise at 512², the size at which clips are prepared by default.
    points = points + rng.normal(0, SIZE / 512, points.shape)
    crop = Crop(np.full(2, SIZE / 2), float(SIZE))
    view = HeadView(crop, points, UP, lowest_chin([crop], points[None], UP[None], IBUG))
    return Shot(
        seen.clip(0, 255).astype(np.uint8),
        masks[..., 0] > 0,
        masks[..., 1] > 0,
        (image[..., 3] > 0.5) & (masks[..., 0] == 0) & among(scores.argmax(-1).astype(np.uint8), FACE),
        alpha,
        scores,
        view,
    )


@pytest.fixture(scope="module")
def shots():
    return {(seed, *angles): shoot(seed, *angles) for seed in range(SUBJECTS) for angles in VIEWS}


def overlap(a, b):
    """Intersection over union; of soft masks likewise."""
    a, b = (m / 255 if m.dtype == np.uint8 else m.astype(float) for m in (a, b))
    return np.minimum(a, b).sum() / np.maximum(a, b).sum()


def test_landmarks_alone_give_the_regions(shots):
    """Mean overlap with the truth at least 0.9 (measured: upper 0.915, lower 0.904; the worst of all, at 30°, 0.88)."""
    found = []
    for shot in shots.values():
        upper, lower = region_masks(shot.view.landmarks, IBUG, SIZE)
        found.append((overlap(upper, shot.upper), overlap(lower, shot.lower)))
    assert np.mean(found, 0).min() > 0.9
    assert np.min(found) > 0.86


def test_parsing_gives_them_pixel_by_pixel(shots):
    """Measured: upper 0.966, lower 0.939, the worst 0.908, and from classes as blunt as the network's 0.958, 0.932 and
    0.900. The forehead, which the procedural head's truth leaves out above its middle, is upper face up to the hair."""
    for parts_of in (lambda s: s.parts, lambda s: s.blunt_parts):
        found = []
        for shot in shots.values():
            upper, lower = region_masks(shot.view.landmarks, IBUG, SIZE, parts_of(shot))
            found.append((overlap(upper, shot.upper | shot.high), overlap(lower, shot.lower)))
        assert np.mean(found, 0).min() > 0.92
        assert np.min(found) > 0.89


def test_the_head_is_cut_out_by_its_parts(shots):
    for shot in shots.values():
        want = shot.alpha * neck_fade(shot.view, SIZE)
        for parts in (shot.parts, shot.blunt_parts):
            assert overlap(head_alpha(parts, shot.seen, shot.view, IBUG), want) > 0.98  # measured 0.986
    finer = [
        np.abs(head_alpha(s.blunt_parts, s.seen, s.view, IBUG) - s.alpha * neck_fade(s.view, SIZE)).mean()
        / np.abs((among(s.blunt_parts, HEAD) - s.alpha) * neck_fade(s.view, SIZE)).mean()
        for s in shots.values()
    ]
    assert np.mean(finer) < 0.75, "the picture's edge is better than the network's"  # measured 0.64


@pytest.mark.parametrize("seed", [1, *(pytest.param(s, marks=pytest.mark.slow) for s in (0, 2, 3, 4, 5))])
def test_the_matte_without_a_network(seed):
    """A procedural head that turns and sways before a resting wall of one colour in many shades, learnt and cut out by
    ``matte.py``: at least 0.9 overlap with the true alpha in every picture (measured: worst of six people 0.94)."""
    scene, rng = filming.make_scene(seed, 4.0), np.random.default_rng(seed)
    head, labels = Head(scene.person), filming.labels(scene, 0, 0)
    small = rng.uniform(60, 200, 3) + rng.uniform(-40, 40, (7, 9, 1)) + rng.uniform(-8, 8, (7, 9, 3))
    wall = cv2.resize(small, (480, 400), interpolation=cv2.INTER_CUBIC).clip(0, 255)
    pictures, found, alphas = [], [], []
    for t in range(0, 100, 5):
        image, alpha = render(head.mesh(scene.motions[t]), labels[t], SIZE)
        corner = np.round([240 + 25 * np.sin(t / 9), 200 + 6 * np.cos(t / 13)]).astype(int) - SIZE // 2
        picture, place = wall.copy(), np.s_[corner[1] : corner[1] + SIZE, corner[0] : corner[0] + SIZE]
        picture[place] = image[..., :3] * 255 + (1 - alpha[..., None]) * wall[place]
        pictures.append((picture + rng.normal(0, 2, picture.shape)).clip(0, 255).astype(np.uint8))
        points = to_world(head.face.vertices(scene.motions[t])[VERTICES])
        points = project(points, labels[t], SIZE)[0] + corner + rng.normal(0, SIZE / 512, (68, 2))
        up = np.linalg.inv(labels[t][:16].reshape(4, 4).astype(float))[:2, 1]
        found.append((Crop(corner + SIZE / 2, float(SIZE)), points, up / np.linalg.norm(up)))
        alphas.append(alpha)
    crops, points, ups = zip(*found, strict=True)
    chin = lowest_chin(crops, np.stack(points), np.stack(ups), IBUG)
    views = [HeadView(*view, chin) for view in found]
    matte = HeadMatte(pictures, views, IBUG)
    cut = matte.cutter()
    for picture, view, alpha in zip(pictures, views, alphas, strict=True):
        cut_out = cut(matte.look(0, picture, view), view, view.crop.cut(picture, SIZE))
        assert overlap(cut_out, alpha * neck_fade(view, SIZE)) > 0.9


def test_what_covers_the_face_is_not_supervised_as_face(shots):
    """A microphone before the chin (the network calls it background) and a fringe are taken out; with landmarks alone
    they count as face."""
    shot = shots[1, 0, 0]
    parts = shot.parts
    chin_x, chin_y = shot.view.landmarks[8].astype(int)
    microphone = np.zeros_like(parts, bool)
    microphone[chin_y - 22 : chin_y + 30, chin_x - 12 : chin_x + 12] = True
    brow_x, brow_y = shot.view.landmarks[21].astype(int)
    fringe = np.zeros_like(parts, bool)
    fringe[brow_y - 20 : brow_y - 4, brow_x - 20 : brow_x + 20] = True
    parts[microphone], parts[fringe] = FacePart.BACKGROUND, FacePart.HAIR
    for given, expected in ((parts, (0, 0)), (None, (200, 200))):
        upper, lower = region_masks(shot.view.landmarks, IBUG, SIZE, given)
        inner = [cv2.erode(m.astype(np.uint8), np.ones((7, 7))) > 0 for m in (fringe, microphone)]
        got = upper[inner[0]].mean(), lower[inner[1] & shot.lower].mean()
        assert all(g == 0 if e == 0 else g > e for g, e in zip(got, expected, strict=True))


def test_a_second_person_and_a_hand_are_left_out(shots):
    shot = shots[2, 0, 0]
    parts = shot.parts
    parts[:60, :40] = FacePart.SKIN  # somebody else's forehead and hair
    parts[:30, :40] = FacePart.HAIR
    parts[-40:, -30:] = FacePart.SKIN  # a hand in the corner
    upper, lower = region_masks(shot.view.landmarks, IBUG, SIZE, parts)
    alpha = head_alpha(parts, shot.seen, shot.view, IBUG)
    for corner in (np.s_[:56, :36], np.s_[-36:, -26:]):
        assert upper[corner].max() == lower[corner].max() == 0
        assert alpha[corner].max() == 0


def test_classes_are_numbered_as_the_weights_are():
    """The order of CelebAMask-HQ's parts in face-parsing.PyTorch's own preparation, background first."""
    names = (
        "background skin left_brow right_brow left_eye right_eye glasses left_ear right_ear earring nose mouth "
        "upper_lip lower_lip neck necklace cloth hair hat"
    )
    assert [part.name.lower() for part in FacePart] == names.split()
    everything = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert set(everything[~among(everything, HEAD)].tolist()) == {0, 16, *range(19, 256)}
