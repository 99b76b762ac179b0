"""Poses refined on pixels: a painted surface whose true cameras are known, under light that stands still, with changing
exposure, and a patch (a mouth) that never looks the same."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jax_talker import geometry
from jax_talker.data.camera.photometric import refine_on_pixels, spanned
from jax_talker.data.camera.pose import label_camera
from jax_talker.data.camera.pose_fit import Fit
from jax_talker.data.camera.projection import turned

FRAMES, SIDE = 30, 220.0


def depth(x, y):
    """A face's front, roughly: 0.2 in front of the world's origin, curved, with a nose."""
    return 0.2 - 1.5 * (x**2 + 0.7 * y**2) + 0.04 * np.exp(-(x**2 + y**2) / 0.004)


def paint(x, y, rng):
    """Brightness in [0, 1]: spots of a few hundredths of a head."""
    value = np.full_like(x, 0.5)
    for _ in range(150):
        (a, b), width = rng.uniform(-0.2, 0.2, 2), rng.uniform(0.01, 0.03)
        value = value + rng.choice([-0.1, 0.1]) * np.exp(-((x - a) ** 2 + (y - b) ** 2) / width**2)
    return value


def film(fit, rng):
    """Pictures of the surface from the fit's cameras."""
    grid = np.stack(np.meshgrid(*[np.arange(320) + 0.5] * 2), -1)
    for t, camera in enumerate(np.linalg.inv(label_camera(fit.rotation))):
        away = (grid - fit.centre[t]) / fit.side[t] / geometry.FOCAL
        ray = np.concatenate([away, np.ones((320, 320, 1))], -1) @ camera[:3, :3].T
        z = np.full((320, 320), 0.2)
        for _ in range(20):  # where the ray meets the surface
            x, y, _ = np.moveaxis(camera[:3, 3] + ray * ((z - camera[2, 3]) / ray[..., 2])[..., None], -1, 0)
            z = depth(np.clip(x, -0.25, 0.25), np.clip(y, -0.25, 0.25))
        light = 0.1 * np.clip(x, -0.2, 0.2) / 0.2 * fit.rotation[t, 2, 0] / 0.3  # turns with the camera: stands still
        value = paint(x, y, np.random.default_rng(5)) + light + rng.uniform(-0.05, 0.05)
        patch = np.hypot(x, y + 0.1) < 0.05
        value = np.where(patch, paint(x, y, rng), value)
        yield np.repeat((255 * np.clip(value, 0, 1)).astype(np.uint8)[..., None], 3, -1)


@pytest.fixture(scope="module")
def filmed():
    """(truth, what landmarks said, pictures, surface)."""
    rng, time = np.random.default_rng(0), np.arange(FRAMES)
    angles = np.stack([9 * np.sin(time / 4), 12 * np.cos(time / 5), 4 * np.sin(time / 3)], -1)
    upright = np.diag([1.0, -1.0, -1.0])
    centre = 160 + 6 * np.stack([np.sin(time / 6), np.cos(time / 6)], -1)
    truth = Fit(turned(np.radians(angles), upright), centre, SIDE + 10 * np.sin(time / 7))
    said = Fit(
        turned(np.radians(0.7) * rng.normal(size=(FRAMES, 3)), truth.rotation),
        truth.centre + 0.004 * SIDE * rng.normal(size=(FRAMES, 2)),
        truth.side * np.exp(0.01 * rng.normal(size=FRAMES)),
    )
    x, y = (a.ravel() for a in np.meshgrid(*[np.linspace(-0.15, 0.15, 21)] * 2))
    return truth, said, list(film(truth, rng)), spanned(np.stack([x, y, depth(x, y)], -1))


def errors(fit, truth):
    """Root mean squares of turn (°), shift and size (% of the crop), without what all frames share."""
    turn = np.degrees(Rotation.from_matrix(fit.rotation @ truth.rotation.swapaxes(1, 2)).as_rotvec())
    shift, size = 100 * (fit.centre - truth.centre) / SIDE, 100 * np.log(fit.side / truth.side)[:, None]
    return np.array([np.sqrt(((e - e.mean(0)) ** 2).mean()) for e in (turn, shift, size)])


def refined(filmed, **options):
    _, said, pictures, surface = filmed
    return refine_on_pixels(pictures, surface, said, **{"focal": geometry.FOCAL, "smooth": 0.0, **options})


def test_errors_of_landmarks_shrink_to_a_third(filmed):
    truth, said, _, _ = filmed
    before, after = errors(said, truth), errors(refined(filmed), truth)
    assert (after < before / 3).all(), (before, after)


def test_nothing_is_moved_where_nothing_is_wrong(filmed):
    truth, _, pictures, surface = filmed
    kept = refine_on_pixels(pictures, surface, truth, focal=geometry.FOCAL, smooth=0.0)
    assert (errors(kept, truth) < [0.2, 0.05, 0.1]).all(), errors(kept, truth)  # the patch's and the light's doing


def test_what_is_beyond_the_picture_says_nothing(filmed):
    truth, said, pictures, surface = filmed
    cut = [picture[:, :190] for picture in pictures]  # a quarter of the face is not filmed
    found = refine_on_pixels(cut, surface, said, focal=geometry.FOCAL, smooth=0.0)
    assert (errors(found, truth) < errors(said, truth) / 2).all()


def test_a_picture_without_any_face_keeps_its_landmarks_pose(filmed):
    truth, said, pictures, surface = filmed
    grey = [np.full_like(picture, 90) if t == 7 else picture for t, picture in enumerate(pictures)]
    found = refine_on_pixels(grey, surface, said, focal=geometry.FOCAL, smooth=0.0)
    np.testing.assert_allclose(found.rotation[7], said.rotation[7], atol=2e-3)
    np.testing.assert_allclose(found.centre[7], said.centre[7], atol=0.2)
    others = [Fit(*(np.delete(x, 7, 0) for x in (f.rotation, f.centre, f.side))) for f in (found, said, truth)]
    assert (errors(others[0], others[2]) < errors(others[1], others[2]) / 3).all()


def test_moves_are_smoothed_within_each_recording(filmed):
    _, said, _, _ = filmed
    free, smooth, cut = (refined(filmed, **o) for o in ({}, {"smooth": 2.0}, {"smooth": 2.0, "boundaries": [15]}))
    trembling = [np.diff(np.log(f.side / said.side), 2).std() for f in (free, smooth)]
    assert trembling[1] < trembling[0] / 2
    np.testing.assert_allclose(cut.side[:5], smooth.side[:5], rtol=1e-6)
    assert not np.allclose(cut.side[14:16], smooth.side[14:16], rtol=1e-5)


def test_a_surface_is_evenly_covered_and_faces_outwards():
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(-0.1, 0.1, 9), np.linspace(-0.1, 0.1, 5)))
    surface = spanned(np.stack([x, y, 0.2 + 0 * x], -1), count=4000)
    np.testing.assert_allclose(surface.normals, np.broadcast_to([0, 0, 1.0], (4000, 3)), atol=1e-9)
    quarters = np.histogram2d(surface.points[:, 0], surface.points[:, 1], bins=2)[0]
    assert quarters.min() > 0.9 * 1000
