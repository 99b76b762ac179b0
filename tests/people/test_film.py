"""The film that ``make demo`` learns from, as it is shipped."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jax_talker import people
from jax_talker.data.read.packed_clip import unpack
from jax_talker.people.expression import voice_of
from jax_talker.people.filming import draw_clip_sheet
from jax_talker.procedural import speech

FILM = Path(people.__file__).parent / "assets" / "film"
ROOT = Path(__file__).resolve().parents[2]


def test_it_is_small():
    assert sum(path.stat().st_size for path in FILM.iterdir()) <= 8e6


def test_five_cameras_see_one_speaking_head(tmp_path):
    clip = unpack(FILM, tmp_path / "clip", frames=75, size=64)
    assert clip.view_names == ("yaw=-30", "yaw=-20", "yaw=20", "yaw=30")
    names = clip.source["motion"]
    jaw = clip.arrays["motion"][:, names.index("jawOpen")]
    lips = clip.arrays["landmarks"]  # 62, 66: the middle of the inner lips
    gap = lips[:, 66, 1] - lips[:, 62, 1]
    assert np.corrcoef(jaw, gap)[0, 1] > 0.6
    for camera in (clip, *map(clip.view, clip.view_names)):
        assert camera.image(0).min(-1)[camera.masks(0)[..., 2] == 0].min() == 255
        share = (camera.masks(40)[..., 2] > 127).mean()
        assert 0.3 < share < 0.8
    draw_clip_sheet(clip)
    assert (clip.root / "contact_sheet.png").stat().st_size > 10_000


def test_new_words_are_said_in_the_voice_of_the_film():
    """The film's sound is what this voice says."""
    sound, _ = soundfile.read(FILM / "sound.flac")
    voice = voice_of(int(json.loads((FILM / "clip.json").read_text())["source"]["people"]["seed"]))
    words = np.random.default_rng(np.random.SeedSequence([int.from_bytes(b"acts"), 6020]).spawn(7)[1])
    np.testing.assert_allclose(sound, speech.speak(22.0, words, voice).sound, atol=1e-3)  # of 16 bits


@pytest.mark.slow
def test_the_demo_in_miniature(tmp_path):
    """The program itself, with a few steps on a few frames: it ends with all that it promises."""
    steps = {"personalize.invert_steps": 2, "personalize.tune_steps": 2, "train.hear_steps": 2, "train.steps": 2}
    command = [sys.executable, "-m", "jax_talker.demo", f"--workdir={tmp_path / 'run'}"]
    command += ["--size=64", "--seconds=2", "--speech=1", *(f"--config.{name}={n}" for name, n in steps.items())]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=1200)
    named = [Path(line) for line in done.stdout.splitlines() if line.startswith(str(tmp_path))]
    assert [path.name for path in named] == [
        *("front.mp4", "spiral.mp4", "contact_sheet.png", "curves.png", "metrics.json")
    ]
    assert all(path.stat().st_size > 1000 for path in named)
