"""How far cameras are away from the trained one, which of them count, and the regions that each shows."""

import numpy as np
import pytest

from jax_talker import geometry
from jax_talker.app.judging import angles, regions
from jax_talker.app.judging.meters import BATCH, Pair
from jax_talker.app.judging.score import Score
from jax_talker.app.judging.tables import Row, Table
from jax_talker.data.clip.clip import open_clip
from jax_talker.data.read import packed_clip
from jax_talker.errors import UserError
from jax_talker.procedural import filming

SIZE = 32


@pytest.fixture(scope="module")
def scene():
    return filming.make_scene(1, 0.2)


@pytest.fixture(scope="module")
def film(scene, tmp_path_factory):
    def make(name, views, **changes):
        root = tmp_path_factory.mktemp("angles") / name
        filming.write_clip(root, changes.get("scene", scene), size=SIZE, source={}, views=views)
        return open_clip(root)

    return make


def test_cameras_stand_in_the_order_of_their_angles(film):
    clip = film("a", {"high": (30, 30), "left": (-20, 0)})
    found = angles.in_order({"front": clip, **angles.further(clip, None)})
    # Cameras stand on a sphere around the origin and look at the face before it, which is a little farther round.
    assert list(found) == ["front, 0°", "left, 21°", "high, 44°"]
    assert found["high, 44°"].folder == "views/high/"
    where = [geometry.split_label(c.arrays["label"][0])[0][:3, 3] for c in found.values()]
    seen = [(geometry.PIVOT - at) / np.linalg.norm(geometry.PIVOT - at) for at in where]
    assert angles.angle(clip, found["high, 44°"]) == pytest.approx(np.degrees(np.arccos(seen[0] @ seen[2])), abs=0.5)


def test_the_same_recording_from_more_sides(film, scene):
    clip = film("own", {"left": (-20, 0)})
    more = film("more", {"yaw": (-20, 0), "far": (45, 0)})
    assert list(angles.further(clip, more)) == ["left", "far"]  # the same camera is not counted twice
    other = film("other", {"far": (45, 0)}, scene=filming.make_scene(2, 0.2))
    with pytest.raises(UserError, match="is another recording"):
        angles.further(clip, other)
    double = film("double", {}, scene=filming.make_scene(1, 0.2, person=filming.make_scene(2, 0.2).person))
    with pytest.raises(UserError, match="is another recording"):
        angles.further(clip, double)  # another face says the same words


def test_a_compressed_film_is_the_same_recording(film, tmp_path):
    """That of make demo comes along as videos (data/read/packed_clip.py)."""
    packed_clip.pack(film("original", {"left": (-20, 0)}), tmp_path / "packed")
    clip = packed_clip.unpack(tmp_path / "packed", tmp_path / "clip")
    assert list(angles.further(clip, film("more", {"left": (-20, 0), "far": (45, 0)}))) == ["left", "far"]


def test_curves_have_each_camera_at_its_angle(tmp_path):
    score = lambda value: [Score("psnr", "PSNR", value, "dB", "higher")]  # noqa: E731
    row = Row("may", {"front, 0°": score(34.0), "a, 20°": score(30.0), "b, 20°": score(28.0), "mean": score(29.0)})
    perfect = Row("Ground truth", {"front, 0°": score(np.inf)})
    far = Row("Nearest pose", {"front, 0°": score(12.0)})
    assert angles.curves([perfect, far, row]) == {"PSNR, dB ↑": {"may": {0: [34.0], 20: [30.0, 28.0]}}}
    (path,) = angles.write_plot(Table("", [row], {}), tmp_path / "angles")
    assert path.stat().st_size > 5000
    assert angles.write_plot(Table("", [perfect], {}), tmp_path / "angles") == []


def test_cameras_about_as_far_away_share_a_point_of_the_line():
    at = {30: [31.0], 0: [34.0], 29: [22.0], 32: [28.0, 27.0], 44: [20.0]}
    assert angles.line(at) == ([0, 30.75, 44], [34, 27, 20])
    assert angles.line({}) == ([], [])


def test_regions_are_the_masks(film):
    """One level off in the lower face, three in the upper one, twenty elsewhere; batches are not full."""
    clip = film("regions", {})
    meter = regions.RegionMeter(clip, np.arange(clip.frames))
    for index in range(clip.frames):
        truth = clip.image(index).astype(int)
        upper, lower, _ = np.moveaxis(clip.masks(index) > 0, -1, 0)
        off = np.where(lower, 1, np.where(upper, 3, 20))[..., None]
        pred = np.where(truth > 127, truth - off, truth + off)
        stacked = [np.stack([p] * BATCH).astype(np.uint8) for p in (pred, truth)]
        meter.add(Pair(*stacked, 1))
    face, lower, upper = meter.scores()
    assert lower.value == pytest.approx(20 * np.log10(255), abs=0.3)  # soft edges of both masks overlap
    assert upper.value == pytest.approx(20 * np.log10(255 / 3), abs=0.3)
    assert upper.value < face.value < lower.value
    assert len(face.per_frame) == clip.frames


def test_a_part_that_no_camera_sees_has_no_number(film):
    clip = film("behind", {"behind": (180, 0)})
    meter = regions.RegionMeter(clip.view("behind"), np.arange(clip.frames))
    frames = np.stack([clip.view("behind").image(0)] * BATCH)
    meter.add(Pair(frames, frames, clip.frames))
    assert np.isnan(meter.scores()[1].value)
