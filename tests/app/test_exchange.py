"""What goes to other tools and comes back: camera paths, coefficients, backgrounds."""

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker import geometry
from jax_talker.app import camera_files, compositing, exporting, scripting, talking
from jax_talker.app.coefficient_files import Motion, load_motion, save_motion
from jax_talker.app.person import FILE as PERSON
from jax_talker.app.run_folder import RunFolder
from jax_talker.app.speaking import Speaker
from jax_talker.app.talking import Script
from jax_talker.errors import UserError
from jax_talker.models.navigator import Coefficients


def test_a_camera_path_comes_back(tmp_path):
    label = geometry.make_label(geometry.spiral(7)).astype(np.float32)
    label[3:] = geometry.make_label(geometry.spiral(7), focal=3.0)[3:]
    path = tmp_path / "path.json"
    camera_files.write_path(path, label, 256)
    np.testing.assert_allclose(camera_files.read_path(path), label, atol=1e-6)
    again = talking.camera_path(str(path), 16)
    np.testing.assert_allclose(again[:7], label, atol=1e-6)
    np.testing.assert_array_equal(again[7:12], again[5:0:-1])  # forth and back, and forth
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert stored["camera_path"][0]["fov"] == pytest.approx(13.37, abs=0.01)
    frontal = geometry.make_label(geometry.orbit(0, 0, pivot=(0, 0, 0)))[None]
    camera_files.write_path(path, frontal, 256)
    matrix = np.reshape(json.loads(path.read_text(encoding="utf-8"))["camera_path"][0]["camera_to_world"], (4, 4))
    want = np.eye(4)
    want[2, 3] = geometry.RADIUS
    np.testing.assert_allclose(matrix, want, atol=1e-6)  # OpenGL's: looks along −z, y up, as the world's


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        ("[", "not a camera path"),
        ("[1]", "not a camera path"),
        ({"camera_path": []}, "is empty"),
        ({"camera_path": [{"fov": 10}]}, "camera 0 lacks"),
        ({"camera_path": [{"fov": 10, "camera_to_world": [1] * 15}]}, "camera 0 lacks"),
        ({"camera_path": [{"fov": 10, "camera_to_world": [2.0 * (i % 5 == 0) for i in range(16)]}]}, "is no rotation"),
        ({"camera_path": [{"fov": 200, "camera_to_world": np.eye(4).ravel().tolist()}]}, "fov is not within"),
    ],
)
def test_what_is_no_camera_path_is_refused(tmp_path, stored, says):
    path = tmp_path / "path.json"
    path.write_text(stored if isinstance(stored, str) else json.dumps(stored), encoding="utf-8")
    with pytest.raises(UserError, match=says):
        camera_files.read_path(path)
    with pytest.raises(UserError, match="no such camera path"):
        talking.camera_path(str(tmp_path / "none.json"), 3)


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.personal.mkdir(parents=True)
    (folder.personal / PERSON).write_bytes(b"somebody")
    return folder


def test_a_motion_comes_back_to_the_head_it_belongs_to(tmp_path, run):
    rng = np.random.default_rng(0)
    expression, lips = (rng.standard_normal((5, k)).astype(np.float32) for k in (3, 4))
    held = geometry.make_label(geometry.spiral(5)).astype(np.float32)
    path = tmp_path / "motion.npz"
    save_motion(path, Motion(Coefficients(jnp.asarray(expression), jnp.asarray(lips)), held), run)
    motion = load_motion(path, run, 3, 4)
    np.testing.assert_array_equal(motion.coefficients.lips, lips)
    np.testing.assert_array_equal(motion.coefficients.expression, expression)
    np.testing.assert_array_equal(motion.held, held)
    with np.load(path) as stored:
        assert stored["fps"] == 25
        arrays = dict(stored)
    with pytest.raises(UserError, match=r"lips is \(5, 4\), this head's would be \(5, 6\)"):
        load_motion(path, run, 3, 6)
    np.savez(path, **{**arrays, "lips": np.full((5, 4), np.nan, np.float32)})
    with pytest.raises(UserError, match="not finite"):
        load_motion(path, run, 3, 4)
    np.savez(path, **{name: x for name, x in arrays.items() if name != "held"})
    with pytest.raises(UserError, match="not a file of coefficients"):
        load_motion(path, run, 3, 4)
    np.savez(path, **arrays)
    (run.personal / PERSON).write_bytes(b"somebody else")
    with pytest.raises(UserError, match="another head"):
        load_motion(path, run, 3, 4)
    np.savez(path, **{name: x for name, x in arrays.items() if name != "head"})  # made by hand, for whom it may concern
    assert len(load_motion(path, run, 3, 4).held) == 5
    with pytest.raises(UserError, match="no such file"):
        load_motion(tmp_path / "none.npz", run, 3, 4)


def test_a_motion_is_as_long_as_its_sound():
    held = geometry.make_label(geometry.spiral(25)).astype(np.float32)
    motion = Motion(Coefficients(jnp.zeros((25, 3)), jnp.ones((25, 4))), held)
    script = Script(np.zeros(16_000), held[:25], held[:25], np.zeros(25))
    asked = scripting.Asked(audio=Path("a.wav"), camera="yaw=10", coefficients="m.npz")
    moved = scripting._moved(script, motion, asked, None)
    np.testing.assert_array_equal(moved.held, held)
    assert moved.coefficients is motion.coefficients
    assert moved.label.shape == (25, 25)
    with pytest.raises(UserError, match=r"lasts 1\.00 s, the sound 2\.00 s"):
        scripting._moved(Script(np.zeros(32_000), held, held, np.zeros(50)), motion, asked, None)
    speaker = object.__new__(Speaker)
    assert talking.moving(None, speaker, moved) is motion.coefficients  # nothing is heard


def drawn(size=16):
    """A head that is half covered at its rim: (colour times alpha, alpha)."""
    alpha = np.zeros((size, size), np.float32)
    alpha[4:12, 4:12], alpha[3, 4:12] = 1.0, 0.5
    return alpha[..., None] * np.float32([0.8, 0.4, 0.2]), alpha


def test_a_head_before_a_colour_a_picture_and_nothing(tmp_path):
    colour, alpha = drawn()
    green = compositing.composer("#00ff00", 16)(colour, alpha)
    assert green[0, 0].tolist() == [0, 255, 0]
    assert green[8, 8].tolist() == [204, 102, 51]
    assert green[3, 8].tolist() == [102, 178, 26]  # half of each: 0.5·0.4·255 + 0.5·255 is 178.5, to even
    wide = np.zeros((40, 60, 3), np.uint8)
    wide[:, 10:50] = (255, 0, 0)  # blue, as OpenCV writes it, in the middle square
    cv2.imwrite(str(tmp_path / "wall.png"), wide)
    wall = compositing.composer(str(tmp_path / "wall.png"), 16)(colour, alpha)
    assert (wall[0] == [0, 0, 255]).all()
    clear = compositing.composer("transparent", 16)(colour, alpha)
    assert clear.shape == (16, 16, 4)
    assert clear[3, 8].tolist() == [204, 102, 51, 128]  # not multiplied by alpha
    assert clear[8, 8].tolist() == [204, 102, 51, 255]
    assert clear[0, 0, 3] == 0
    assert np.abs(clear[2, 8, :3].astype(int) - [204, 102, 51]).max() <= 1  # nothing that is seen differs from its edge
    with pytest.raises(UserError, match="neither a colour"):
        compositing.composer("greenish", 16)
    (tmp_path / "text.png").write_text("no picture", encoding="utf-8")
    with pytest.raises(UserError, match="not a picture"):
        compositing.composer(str(tmp_path / "text.png"), 16)


def test_layers_are_what_stands_before_the_background(monkeypatch):
    """Image = colour + (1 − alpha)·background, whatever the prior's background is; what overshoots is cut off."""
    behind = np.float32([1, 0.5, 0])
    colour, alpha = drawn()
    image = colour + (1 - alpha[..., None]) * behind + 0.001
    shown = SimpleNamespace(image=np.stack([image, image]), alpha=np.stack([alpha, alpha]))
    monkeypatch.setattr(talking, "rendered", lambda *_: iter([(shown, 1)]))
    speaker = object.__new__(Speaker)
    speaker.head = SimpleNamespace(prior=SimpleNamespace(background=tuple(behind.tolist())))
    nothing = np.zeros(0)
    motion, script = Coefficients(jnp.zeros((1, 1)), jnp.zeros((1, 1))), Script(nothing, nothing, nothing, nothing)
    ((found, covered),) = talking.layers(speaker, motion, script, 16)
    np.testing.assert_allclose(found, np.minimum(colour + 0.001 * (alpha > 0)[..., None], alpha[..., None]), atol=1e-6)
    np.testing.assert_array_equal(covered, alpha)


def test_a_sequence_is_numbered_by_its_frames(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(exporting, "save_splats", lambda path, head, y_down: written.append((path.name, head, y_down)))
    out = exporting.check_splat_path(str(tmp_path / "new" / "head.ply"))
    paths = exporting.write(out, iter("ab"), np.array([40, 41]), numbered=True, y_down=True)
    assert [path.name for path in paths] == ["head_0040.ply", "head_0041.ply"]
    assert written == [("head_0040.ply", "a", True), ("head_0041.ply", "b", True)]
    assert [p.name for p in exporting.write(out, iter("a"), np.array([7]), numbered=False, y_down=False)] == [
        "head.ply"
    ]
    with pytest.raises(UserError, match=r"ends in \.ply"):
        exporting.check_splat_path(str(tmp_path / "head.obj"))
