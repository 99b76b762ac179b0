"""``python -m benchmarks strangers``: portraits of clips and of synthetic people, and what is said of them."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import strangers
from jax_talker.app.inverting import Portrait
from jax_talker.data.clip.clip import open_clip
from jax_talker.procedural import filming

SIZE = 32


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    root = tmp_path_factory.mktemp("someone") / "clip"
    filming.write_clip(root, filming.make_scene(3, 4), size=SIZE, source={})
    return root


def test_a_clips_portrait_rests_and_looks_ahead(clip):
    sitter, arrays = strangers.of_clip(str(clip)), open_clip(clip).arrays
    index = int(np.abs(arrays["label"] - sitter.portrait.label).sum(1).argmin())
    assert index < 0.95 * len(arrays["label"])  # of the training part
    assert arrays["blink"][index] < 0.3
    assert sitter.labels.shape == (3, 25)
    assert len(sitter.truth) == 1
    assert sitter.face.sum() > 20
    np.testing.assert_array_equal(sitter.truth[0], sitter.portrait.image)


def test_scores_are_of_what_is_known():
    """Half a picture off by 0.1 is 20 dB there; the half that was never filmed does not count."""
    image = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    left = np.zeros((SIZE, SIZE), np.float32)
    left[:, : SIZE // 2] = 1
    off = image + 0.1 * left[..., None] + 0.4 * (1 - left[..., None])
    portrait = Portrait(image, left, np.zeros(25), left)
    sitter = strangers.Sitter("x", portrait, left, np.zeros((2, 25)), image[None])
    found = strangers.scores(sitter, np.stack([off, off]))
    assert set(found) == {"front", "face"}  # nobody knows the side
    assert found["front"] == pytest.approx(20, abs=0.01)
    assert found["face"] == pytest.approx(20, abs=0.01)


def test_perception_does_not_see_what_is_unknown(monkeypatch):
    monkeypatch.setattr(strangers.lpips, "load", lambda source: ("alex", {}))
    monkeypatch.setattr(strangers.lpips, "distance_map", lambda net, weights, a, b: abs(a - b).mean(-1))
    image = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    left = np.zeros((SIZE, SIZE), np.float32)
    left[:, : SIZE // 2] = 1
    sitter = strangers.Sitter("x", Portrait(image, left, np.zeros(25), left), left, np.zeros((1, 25)), image[None])
    seen = (image + 0.4 * (1 - left[..., None]))[None]
    assert strangers.perceptual("weights")(sitter, seen) == {"LPIPS": 0}
    assert strangers.perceptual("weights")(sitter, seen + 0.1)["LPIPS"] == pytest.approx(
        0.05, abs=1e-6
    )  # float32 of numbers near 0.5


def test_the_worst_is_said():
    rows = [{"prior": "p", "who": w, "front": f, "LPIPS": d, "s": 1.0} for w, f, d in (("a", 30, 0.1), ("b", 20, 0.3))]
    rows = [{**row, "front": float(row["front"])} for row in rows]
    assert strangers.summary(rows) == ["p, 2 people: front 25.00 (worst 20.00), LPIPS 0.20 (worst 0.30)"]


def test_without_people_it_says_what_to_give(capsys):
    with pytest.raises(SystemExit):
        strangers.main(["--prior", "small"])
    assert "--pack" in capsys.readouterr().err


@pytest.mark.slow
def test_a_clip_is_inverted_and_drawn(clip, tmp_path, capsys):
    sheet, numbers = tmp_path / "sheet.png", tmp_path / "numbers.json"
    done = strangers.main(
        ["--clip", str(clip), "--prior", "small", "--steps", "3", "--sheet", str(sheet), "--json", str(numbers)]
    )
    assert done == 0
    assert np.asarray(Image.open(sheet)).shape == (
        4 * SIZE,
        SIZE,
        3,
    )  # the portrait, and three views of what the prior makes
    (row,) = json.loads(numbers.read_text())["rows"]
    assert 5 < row["face"] < 60
    assert "small, 1 people" in capsys.readouterr().out
