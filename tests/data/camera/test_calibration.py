"""Side cameras: cameras around a moving head are found from noisy landmarks, and followed where they are blind."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data import mead_miniature as mead
from jax_talker import geometry
from jax_talker.data.camera.calibration import calibrate
from jax_talker.data.camera.cameras import median_rotation
from jax_talker.data.camera.pose import PIVOT, track_head
from jax_talker.data.clip.clip import FPS
from jax_talker.data.clip.findings import Severity
from jax_talker.data.track.landmarks import IBUG
from jax_talker.errors import UserError
from jax_talker.procedural import motion
from jax_talker.procedural.head import Head
from jax_talker.procedural.identity import random_identity
from jax_talker.procedural.landmarks import VERTICES
from jax_talker.procedural.skull import to_world

METRES = 0.063 / 0.156  # of a world unit: people's eyes are 63 mm apart
SIDE = 300.0  # px of a crop: MEAD's faces in 1080p are larger
RIGID = list(IBUG.rigid)


@dataclass
class Shot:
    """What cameras that stand 1.5 m from a speaking, turning, swaying head see of it."""

    clean: dict  # view → [T, 68, 2] px
    rotation: dict  # view → [T, 3, 3]: the label's camera, which looks at the head's pivot

    def noisy(self, seed=0, noise=1.0):
        rng = np.random.default_rng(seed)
        return {view: points + noise * rng.normal(size=points.shape) for view, points in self.clean.items()}


def film(seed=0, *, frames=120, turn=1.0, sway=0.04, cameras=mead.CAMERAS):
    """Perspective cameras at rest; nothing of the label's convention goes in. ``sway`` in metres."""
    rng = np.random.default_rng(seed)
    scene = mead.scene(seed, frames, random_identity(rng), turn=turn)
    face = Head(scene.person).face
    head = np.stack([to_world(face.vertices(m)[VERTICES]) for m in scene.motions])
    world_from_head = motion.world_from_head(scene.angles)
    periods, phases = rng.uniform(2.5, 6, 3), rng.uniform(0, 6, 3)
    time = np.arange(frames)[:, None] / FPS
    world_from_head[:, :3, 3] = sway / METRES * np.sin(2 * np.pi * time / periods + phases)
    world = np.einsum("tij,tkj->tki", world_from_head[:, :3, :3], head) + world_from_head[:, None, :3, 3]
    pivot = world_from_head[:, :3, :3] @ PIVOT + world_from_head[:, :3, 3]
    shot, away = Shot({}, {}), 1.5 / METRES
    for view, angles in cameras.items():
        cam_from_world = np.linalg.inv(geometry.orbit(*angles, radius=away))
        aside = Rotation.from_rotvec(np.radians(rng.normal(0, 2, 3))).as_matrix()  # nobody aims a camera exactly
        cam_from_world[:3] = aside @ cam_from_world[:3]
        x = world @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
        shot.clean[view] = [960, 540] + SIDE * geometry.FOCAL * away / geometry.RADIUS * x[..., :2] / x[..., 2:]
        towards = pivot @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
        shot.rotation[view] = looking_at(towards) @ cam_from_world[:3, :3] @ world_from_head[:, :3, :3]
    return shot


def looking_at(towards):
    """The smallest rotations [T, 3, 3] that bring directions [T, 3] onto the camera's axis."""
    axis = np.cross(towards, [0, 0, 1.0])
    sine = np.linalg.norm(axis, axis=1, keepdims=True)
    return Rotation.from_rotvec(
        axis / np.maximum(sine, 1e-12) * np.arctan2(sine[:, 0], towards[:, 2])[:, None]
    ).as_matrix()


def degrees(a, b):
    return np.degrees(Rotation.from_matrix(a @ b.swapaxes(-1, -2)).magnitude())


def errors(shot, front, found):
    """Degrees [T] between the found and the true rotation from front to side camera, for every view."""
    forward = front.cam_from_world[:, :3, :3]
    return {
        view: degrees(
            c.head.cam_from_world[:, :3, :3] @ forward.swapaxes(1, 2),
            shot.rotation[view] @ shot.rotation["front"].swapaxes(1, 2),
        )
        for view, c in found.items()
    }


def run(points, **options):
    front = track_head(points["front"], IBUG)
    sides = {view: p for view, p in points.items() if view != "front"}
    return front, calibrate(front, points["front"], sides, IBUG, **options)


@pytest.mark.parametrize(("seed", "turn", "sway"), [(0, 1.0, 0.04), (1, 1.0, 0.04), (2, 0.05, 0.01)])
def test_cameras_around_a_head_are_found(seed, turn, sway):
    """Landmarks with 1 px of noise, another person each time; the last one hardly moves."""
    shot = film(seed, turn=turn, sway=sway)
    front, found = run(shot.noisy(seed))
    for view, error in errors(shot, front, found).items():
        assert error.mean() < 1.0, view  # what issue 5 asks; measured 0.1–0.9
        # 1 px of noise in both coordinates is 1.25 px on average; the fit may add a third
        assert np.nanmean(found[view].head.error) * SIDE < 1.25 * 1.33
        assert not found[view].findings


def test_labels_describe_their_crops():
    """Label and crop together project the person's face onto the side camera's clean landmarks."""
    shot = film(3)
    _, found = run(shot.noisy(3))
    for view, c in found.items():
        world_from_cam, intrinsics = c.head.label[:, :16].reshape(-1, 4, 4), c.head.label[:, 16:].reshape(-1, 3, 3)
        cam = np.einsum("tij,kj->tki", np.linalg.inv(world_from_cam), np.c_[c.head.face[:-2], np.ones(len(RIGID))])
        image = np.einsum("tij,tkj->tki", intrinsics, cam[..., :3])
        place = image[..., :2] / image[..., 2:] - 0.5
        seen = c.head.centre[:, None] + c.head.side[:, None, None] * place
        away = np.linalg.norm(seen - shot.clean[view][:, list(c.head.indices[:-2])], axis=-1)
        assert away.mean() < 1.0, view  # px of a 300 px crop: below the noise that went in
        assert np.linalg.norm(world_from_cam[:, :3, 3], axis=1) == pytest.approx(geometry.RADIUS, abs=1e-4)


@pytest.mark.slow
def test_a_head_that_sways_turns_the_label_as_it_should():
    """Cameras at rest see a head that moves sideways from another side: a fixed rotation alone would not do."""
    shot = film(4, turn=0.3, sway=0.1, frames=200)
    front, found = run(shot.noisy(4, noise=0.2))
    forward = front.cam_from_world[:, :3, :3]
    for view, error in errors(shot, front, found).items():
        fixed = found[view].side_from_front @ forward
        rigid = degrees(fixed @ forward.swapaxes(1, 2), shot.rotation[view] @ shot.rotation["front"].swapaxes(1, 2))
        assert error.std() < 0.5 * rigid.std(), view


def test_a_blind_camera_follows_the_front_one():
    """Without landmarks in two of three frames, and in one whole recording."""
    shot = film(5, frames=180)
    points = shot.noisy(5)
    hidden = np.arange(180) % 30 > 9
    hidden[60:120] = True
    points["left_30"][hidden] = np.nan
    front, found = run(points, boundaries=(60, 120))
    blind = found["left_30"]
    assert errors(shot, front, found)["left_30"].mean() < 1.0
    np.testing.assert_array_equal(blind.seen, ~hidden)
    assert np.isfinite(blind.head.label).all()
    assert np.isfinite(blind.points).all()
    np.testing.assert_array_equal(np.isnan(blind.head.error), hidden)
    # Filled landmarks: mean expression, crop by the front's. 3 % of the crop is half an eye's opening.
    away = np.linalg.norm(blind.points - shot.clean["left_30"], axis=-1)[:, RIGID]
    assert away[hidden].mean() < 0.03 * SIDE
    (note,) = blind.findings
    assert (note.kind, note.severity, note.begin, note.end) == ("face_unseen", Severity.NOTE, 60 / FPS, 120 / FPS)


def test_a_side_cameras_trembling_is_its_own():
    """Its landmarks are noisier than the front's; what is not seen does not count, nor what a join makes."""
    points = film(10, frames=100).noisy(10, noise=0.3)
    points["top"] += 1.5 * np.random.default_rng(1).normal(size=points["top"].shape)
    points["top"][::10] = np.nan
    points["top"][50:] += 40
    front, found = run(points, boundaries=(50,))
    top, down = found["top"].head, found["down"].head
    assert top.jitter_raw.degrees.max() > 2 * down.jitter_raw.degrees.max()
    assert top.jitter_raw.pixels[0] < 10  # the join's 40 px are not trembling
    assert (top.jitter.pixels < top.jitter_raw.pixels).all()
    for head in (top, down):
        assert (head.jitter.degrees != front.jitter.degrees).all()


def test_nonsense_in_a_third_of_the_frames_does_no_harm():
    shot = film(6)
    points = shot.noisy(6)
    rng = np.random.default_rng(0)
    wrong = rng.random(120) < 0.33
    points["top"][wrong] = rng.uniform(0, 1000, (wrong.sum(), 68, 2))  # another face, a poster, a hand
    front, found = run(points)
    assert errors(shot, front, found)["top"].mean() < 1.5
    assert not found["top"].seen[wrong].any()
    assert found["top"].seen[~wrong].all()
    assert [f.kind for f in found["top"].findings] == ["wrong_landmarks"]


def test_a_recording_out_of_step_is_named():
    """The side camera's third recording shows another moment."""
    shot = film(7, frames=200)
    points = shot.noisy(7)
    points["right_30"][100:150] = points["right_30"][:50]
    _, found = run(points, boundaries=(50, 100, 150))
    assert [(f.kind, f.begin, f.end) for f in found["right_30"].findings] == [("out_of_step", 4.0, 6.0)]
    assert not found["top"].findings


def test_nothing_is_smoothed_across_a_join():
    """A side camera sees the head at another place from where a new recording begins."""
    points = film(8, frames=100, sway=0).clean
    points["top"] += np.where(np.arange(100) < 50, 0, 80)[:, None, None]
    _, found = run(points, boundaries=(50,), smooth=3.0)
    jump = np.diff(found["top"].head.centre[:, 0])
    steps = np.abs(np.delete(jump, 49))
    assert jump[49] == pytest.approx(80, abs=3)
    assert steps.max() < 5


def test_a_camera_that_never_sees_the_face_is_refused_by_name():
    points = film(9, frames=40).noisy()
    points["down"][5:] = np.nan
    with pytest.raises(UserError, match=r"view down: a face was found in 5 of 40 frames"):
        run(points)


def test_the_median_of_rotations_ignores_a_minority():
    rng = np.random.default_rng(0)
    true = Rotation.from_rotvec([0.3, -0.2, 0.5])
    good = (Rotation.from_rotvec(rng.normal(0, 0.01, (60, 3))) * true).as_matrix()
    nonsense = Rotation.random(40, rng=rng).as_matrix()
    mean = median_rotation(np.concatenate([good, nonsense]))
    assert degrees(mean, true.as_matrix()) < 0.5  # 0.01 rad / √60 · √3 = 0.13°, drawn a little aside by the rest
