"""The whole chain on a pack of the test's own making: it needs no data, and the tool says what is wrong with a pack."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from jax_talker import geometry
from jax_talker.data.clip.clip import open_clip
from jax_talker.errors import UserError
from jax_talker.people import filming
from jax_talker.people.codes import identity_code
from jax_talker.people.expression import MOODS, VISEMES, random_expression, unit_vector, within
from jax_talker.people.figure import PARTS, Figure
from jax_talker.people.identity import random_person
from jax_talker.people.light import studio
from jax_talker.people.pack import Pack
from jax_talker.people.picture import take
from jax_talker.people.texture_space import TextureSpace, samples
from jax_talker.procedural.render import project


def test_a_missing_or_foreign_pack_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match=r"no head\.npz there"):
        Pack(tmp_path)
    np.savez(tmp_path / "head.npz", vertex=np.zeros((3, 3)))
    with pytest.raises(UserError, match="lacks the array 'target_names'"):
        _ = Pack(tmp_path).target_names
    (tmp_path / "head.npz").write_bytes(b"no archive")
    with pytest.raises(UserError, match="cannot read it"):
        Pack(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "jax_talker.people", "--pack", tmp_path / "none", "--sheet", tmp_path / "a.png"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no head.npz there" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_every_expression_is_of_the_packs_units(tiny):
    for units in (*VISEMES.values(), *MOODS.values()):
        assert unit_vector(tiny.units, units).max(initial=0) <= 1
    with pytest.raises(ValueError, match="no ARKit unit"):
        unit_vector(tiny.units, {"jawOpne": 1})
    both = unit_vector(tiny.units, {"eyeBlink": 1.0})
    assert both.sum() == 2


def test_expressions_stay_within_what_looks_natural(tiny):
    rng = np.random.default_rng(0)
    drawn = np.stack([random_expression(tiny.units, rng) for _ in range(300)])
    names = tiny.units
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert (drawn[:, names.index("jawOpen")] <= 0.7).all()
    assert (drawn[drawn[:, names.index("tongueOut")] > 0][:, names.index("jawOpen")] >= 0.3).all()
    shut = drawn[:, names.index("eyeBlinkLeft")] > 0.999
    assert shut.any()
    assert (drawn[shut][:, names.index("eyeWideLeft")] < 1e-3).all()
    assert np.array_equal(within(names, drawn), drawn) or np.allclose(within(names, drawn), drawn, atol=0.3)


def test_pictures_of_a_ball_with_a_face(tiny):
    person = random_person(tiny, 1)
    figure = Figure(tiny, person)
    pose = figure.pose(np.zeros(52, np.float32))
    camera = geometry.make_label(geometry.orbit(20, 0), 2.5)
    lit = figure.lit(pose, studio())
    picture = take(figure, lit, camera, 64)
    again = take(Figure(tiny, random_person(tiny, 1)), lit, camera, 64)
    assert np.array_equal(picture.image, again.image)
    assert 0.1 < (picture.alpha > 0.5).mean() < 0.7
    assert np.allclose(picture.landmarks, project(lit.landmarks, camera, 64)[0], atol=1e-4)
    assert set(np.unique(picture.part)) <= set(range(len(PARTS)))
    assert picture.on(0.0).max() > 60, "it is lit"


def test_mirrored_hair_is_the_mirror_image(tiny):
    plain, mirrored = (tiny.attachment("hair/short01", mirrored=m) for m in (False, True))
    assert np.array_equal(plain.offset * [-1, 1, 1], mirrored.offset)
    assert np.array_equal(plain.topology.faces[:, ::-1], mirrored.topology.faces), "and its outside stays outside"


def test_codes_tell_people_apart_and_hold_their_shape(tiny):
    people = [random_person(tiny, seed) for seed in range(6)]
    codes = [identity_code(tiny, person) for person in people]
    vectors = [np.concatenate(list(code.values())) for code in codes]
    assert len({len(v) for v in vectors}) == 1
    assert min(np.abs(a - b).max() for k, a in enumerate(vectors) for b in vectors[:k]) > 0.05
    for person, code in zip(people, codes, strict=True):
        weights = np.zeros_like(person.weights)
        weights[:24] = code["macro"]
        for x, below, above in zip(
            code["sliders"] * tiny["modifier_sigma"], tiny["modifier_negative"], tiny["modifier_positive"], strict=True
        ):
            rows = below if x < 0 else above
            weights[rows[rows >= 0]] += abs(x)
        assert np.allclose(weights, person.weights, atol=1e-6)


def test_samples_of_the_tiny_pack(tiny):
    space = TextureSpace(tiny, 64)
    (first, second) = samples(space, [2], 2, shadows_move=False)
    assert space.layout.valid.mean() > 0.5
    assert first.planes.color.shape == (64, 64, 3)
    assert not np.array_equal(first.planes.position, second.planes.position)


def test_a_film_is_a_clip(tiny, tmp_path):
    scene = filming.make_scene(tiny, 3, 0.4)
    clip = filming.film_clip(tmp_path / "clip", scene, size=64, source={}, views={"left": (-30, 0)})
    assert (clip.frames, clip.size) == (10, 64)
    assert (clip.root / "contact_sheet.png").is_file()
    assert open_clip(clip.root).arrays["motion"].shape == (10, 52)
    label = clip.arrays["label"]
    assert np.allclose(label, filming.labels(scene.acting.angles, 0, 0), atol=1e-6)
    shot = cv2.imread(str(sorted((clip.root / "frames").glob("*.png"))[0]))
    assert (shot == 255).all(-1).mean() > 0.1, "on white"
