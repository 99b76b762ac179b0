"""The controllability sheet, of a head whose pictures tell its coefficients."""

from types import SimpleNamespace

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
from app.judging.fakes import FakeClip
from motions import no_motion

from jax_talker import geometry
from jax_talker.app import builders, talking
from jax_talker.app.judging import controls
from jax_talker.app.speaking import Speaker
from jax_talker.models.navigator import Coefficients

SIZE, FRAMES = 24, 40
LABELS = geometry.make_label(np.stack([geometry.orbit(yaw, 0) for yaw in np.linspace(40, -40, FRAMES)]))


class Telling(Speaker):
    """Lips darken the lower half by their sum, expression the upper one; neither touches the other."""

    usual = geometry.make_label(geometry.orbit(-20, 0))
    seen = ()  # labels of the pictures that were asked for

    def __init__(self):
        talker = SimpleNamespace(expressions=2, lips=3, gain=4.0, reach=1)
        self.head, self.motion = SimpleNamespace(talker=talker), no_motion(2, 3)

    def pictures(self, coefficients, held, label, size):
        Telling.seen += (np.asarray(label),)
        upper, lower = (0.5 + 0.01 * c.sum(1)[:, None, None, None] for c in coefficients)
        rows = jnp.arange(size)[None, :, None, None]
        return jnp.broadcast_to(jnp.where(rows < size // 2, upper, lower), (8, size, size, 3))


@pytest.fixture
def found(monkeypatch):
    rng = np.random.default_rng(0)
    heard = Coefficients(rng.normal(0, [1.0, 3.0], (FRAMES, 2)), rng.normal(5, [2.0, 8.0, 4.0], (FRAMES, 3)))
    masks = np.zeros((SIZE, SIZE, 3), np.uint8)
    masks[: SIZE // 2, :, 0] = masks[SIZE // 2 :, :, 1] = 255
    clip = FakeClip()
    known = {
        "arrays": {"blink": np.zeros(FRAMES), "label": LABELS},
        "size": SIZE,
        "masks": lambda _: masks,
    }
    for name, value in known.items():
        object.__setattr__(clip, name, value)
    frames = SimpleNamespace(windows=None)
    monkeypatch.setattr(controls, "resting_frames", lambda *_: np.array([3, 8, 20]))
    monkeypatch.setattr(Telling, "seen", ())
    monkeypatch.setattr(builders, "clip_frames", lambda *_: frames)
    monkeypatch.setattr(builders, "clip_split", lambda *_: SimpleNamespace(train=np.arange(30)))
    monkeypatch.setattr(talking, "spoken", lambda *_: heard)
    return controls.controls(None, Telling(), clip), Coefficients(*(c[:30].std(0) for c in heard))


def test_each_coefficient_moves_alone_by_two_deviations(found):
    sheets, sigma = found
    order = [("lips", 1), ("lips", 2), ("lips", 0), ("expression", 1), ("expression", 0)]
    assert [(c.kind, c.number) for c in sheets] == order  # those first that speech moves most
    for control in sheets:
        s = getattr(sigma, control.kind)[control.number]
        assert control.sigma == pytest.approx(s / 4)
        moved, still = (control.lower, control.upper) if control.kind == "lips" else (control.upper, control.lower)
        assert moved == pytest.approx(255 * 0.01 * 4 * s, abs=1)  # from −2σ to +2σ, in levels
        assert still == 0
        less, rest, more = control.pictures[:, -1 if control.kind == "lips" else 0, 0, 0].astype(int)
        assert rest == round(0.5 * 255)
        assert more - rest == pytest.approx(2 * s * 2.55, abs=1)
        assert rest - less == pytest.approx(2 * s * 2.55, abs=1)


def test_the_face_is_seen_as_it_is_held_mostly(found):
    """Of three frames at rest, from yaw 34°, 24° and −1°, the one nearest to the usual −20°."""
    for label in Telling.seen:
        np.testing.assert_allclose(label, np.tile(LABELS[20], (8, 1)), rtol=1e-6)


def test_sheets_and_numbers_are_written(found, tmp_path):
    sheets, _ = found
    paths = controls.write(sheets, tmp_path / "new" / "controls")
    assert [p.name for p in paths] == ["controls_lips.png", "controls_expression.png", "controls.csv"]
    lips = cv2.imread(str(paths[0]))
    assert lips.shape == (2 * controls.BAR + 3 * SIZE, 3 * SIZE, 3)
    np.testing.assert_array_equal(lips[2 * controls.BAR :, :SIZE, ::-1], sheets[0].pictures.reshape(-1, SIZE, 3))
    assert len(paths[2].read_text().splitlines()) == 6
    assert "lips: ±2σ of each changes the upper face by 0 % of the lower" in controls.summary(sheets)
