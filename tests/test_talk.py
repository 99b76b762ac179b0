"""A video and a sentence in, a talking head out: on a drawn person, interrupted, refused, and asked a second time."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import jax
import numpy as np
import pytest
import soundfile
from training.conftest import small_prior

from configs import talk as configs
from data.conftest import beeps, drawn_head
from jax_talker import __main__ as command
from jax_talker import priors
from jax_talker.app.in_one_go import display, making
from jax_talker.app.in_one_go.making import Wish, make
from jax_talker.app.in_one_go.times import Times
from jax_talker.app.navigating import open_speaker
from jax_talker.app.run_folder import RunFolder
from jax_talker.data.preparation.options import Options
from jax_talker.data.read.codecs import CONTAINERS
from jax_talker.data.read.video import write_video
from jax_talker.errors import UserError

__all__ = ["beeps", "drawn_head", "small_prior"]
ROOT = Path(__file__).resolve().parents[1]
SIZE = 32


@pytest.fixture(autouse=True, scope="module")
def _as_programs_run():
    """With JAX's own defaults; what is not clean in them is found by the tests of the parts."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def person(drawn_head, beeps, small_prior, tmp_path_factory):
    """A folder with a drawn person's video, its landmarks, a sentence, and a generator that compiles in seconds."""
    folder = tmp_path_factory.mktemp("talk")
    drawn = drawn_head(40)
    write_video(folder / "head.mp4", drawn.frames, sound=beeps(1.6, [0.4, 1.0]))
    np.savez(folder / "points.npz", landmarks=drawn.landmarks)
    rng = np.random.default_rng(0)
    soundfile.write(folder / "words.wav", 0.1 * rng.standard_normal((22050, 2)), 22050)  # 1 s, stereo
    soundfile.write(folder / "more.wav", 0.1 * rng.standard_normal(8000), 16000)
    priors.save(folder / "prior", *small_prior, card="random\n")
    return folder


def config_of(folder):
    config = configs.get_config("quick")
    config.prior.path = str(folder / "prior")
    config.prepare.size = SIZE
    config.personalize.invert_steps = config.personalize.tune_steps = config.train.hear_steps = 3
    config.train.steps = 4
    config.train.batch = 2
    config.model.expressions, config.model.lips = 3, 4  # the small prior's W+ has no room for more
    config.log.checkpoint = 2
    return config


def asked(
    folder, tmp_path, *, speech="words.wav", run=None, anyway=True, video="head.mp4", ready=lambda: None, back=False
):
    """Make it; returns the video and what was told."""
    told = []
    out = tmp_path / "out.mp4"
    wish = Wish(folder / video, folder / speech, out, "front", str(run or tmp_path / "run"), 0.0, None, 0, anyway)
    wish = replace(wish, paste_back=back)

    def options():
        ready()
        return Options(landmarks=str(folder / "points.npz"))

    make(wish, config_of(folder), options, told.append, Times(tmp_path))
    return out, told


def pictures_of(path):
    with av.open(str(path)) as video:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])


@pytest.fixture(scope="module")
def made(person, tmp_path_factory):
    """One that nothing interrupted."""
    folder = tmp_path_factory.mktemp("made")
    return folder, *asked(person, folder)


def test_one_command_makes_a_talking_head(person, made):
    folder, out, told = made
    frames = pictures_of(out)
    assert frames.shape == (25, SIZE, SIZE, 3)
    with av.open(str(out)) as video:
        assert (video.streams.audio[0].rate, video.streams.audio[0].layout.nb_channels) == (22050, 2)
    assert told[0].startswith("about ")
    assert "a guess, for this machine has not done it yet" in told[0]
    assert any("will not make a good head" in line or "can be used" in line for line in told)
    assert told[-1] == f"wrote {out}: 25 frames, 1.00 s"
    assert (folder / "run" / "clip" / "report.html").is_file()
    assert json.loads((folder / "run" / "config.json").read_text(encoding="utf-8"))["prepare"]["size"] == SIZE


def test_another_sentence_of_the_same_person_trains_nothing(person, made, tmp_path, monkeypatch):
    folder, _, _ = made
    for name in ("learn", "checked"):
        monkeypatch.setattr(making.learning, name, lambda *_, **__: pytest.fail("trained again"))
    monkeypatch.setattr(making, "prepare_clip", lambda *_, **__: pytest.fail("prepared again"))
    (person / "renamed.mp4").write_bytes((person / "head.mp4").read_bytes())
    ask = {"speech": "more.wav", "run": folder / "run", "video": "renamed.mp4"}
    out, told = asked(person, tmp_path, **ask, ready=lambda: pytest.fail("models were asked for"))
    assert len(pictures_of(out)) == 12  # round(12.5) is even, as everywhere
    assert "knows this person" in told[0]
    out, _ = asked(person, tmp_path, **ask, back=True)  # and stands in the room that it was filmed in
    film, made = pictures_of(person / "head.mp4")[:12].astype(int), pictures_of(out).astype(int)
    assert made.shape == film.shape
    assert np.abs(made - film)[:, :20].mean() < 4 < np.abs(made - film)[:, 60:150, 100:220].mean()


@pytest.mark.slow
def test_interrupted_anywhere_it_ends_as_it_would_have(person, made, tmp_path, monkeypatch):
    """While heads are cut out, within a stage and while rendering; a stop at any other place lies between these."""
    update = display.Display.update
    left = ["cutting it out", "invert", "tune", "navigate", "render"]

    def stop(self, note=""):
        update(self, note)
        if left and self._now == left[0] and self._done == min(3, self._total):
            left.pop(0)
            raise KeyboardInterrupt

    monkeypatch.setattr(display.Display, "update", stop)
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            asked(person, tmp_path)
        assert not (tmp_path / "out.mp4").exists()
    out, told = asked(person, tmp_path)
    assert left == []
    assert "knows this person" in told[0]
    digest = lambda path: hashlib.sha256(pictures_of(path).tobytes()).hexdigest()  # noqa: E731
    assert digest(out) == digest(made[1])
    # Bit for bit: what eight bits of a picture would hide is seen in the weights.
    own, other = (open_speaker(config_of(person), RunFolder(folder / "run")).params for folder in (tmp_path, made[0]))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), own, other))


def test_what_cannot_be_made_is_refused_before_any_work(person, made, tmp_path):
    with pytest.raises(UserError, match="pass --anyway to go on"):  # beeps are no speech, says the doctor
        asked(person, tmp_path, anyway=False)
    wish = Wish(person / "head.mp4", person / "words.wav", tmp_path / "a.mp4", "behind", None, 0.0, None, 0, False)
    with pytest.raises(UserError, match="--camera 'behind'"):
        make(wish, config_of(person), lambda: pytest.fail("prepared"), lambda _: None, Times(tmp_path))
    (person / "silent.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match="holds the head of another video"):
        asked(person, tmp_path, video="silent.mp4", run=made[0] / "run")


def test_the_command_knows_the_programs():
    """``jax-talker talk`` is ``python -m jax_talker.talk``: its arguments, its errors."""

    def run(*arguments):
        done = [sys.executable, "-m", "jax_talker", *arguments]
        return subprocess.run(done, cwd=ROOT, capture_output=True, text=True, check=False)

    assert run("help").stdout.count("\n") > 8
    unknown = run("walk")
    assert (unknown.returncode, unknown.stderr.startswith("error: no program 'walk'")) == (2, True)
    done = run("talk", "none.mp4", "none.wav", "--out", "talking.avi")
    assert done.returncode == 2
    assert done.stderr.strip() == f"error: talking.avi: cannot write .avi; use one of {CONTAINERS}"


def test_every_program_is_told_of():
    for name in command.PROGRAMS:
        assert f"\n{name} " in command.__doc__, name
    programs = {path.stem for path in (ROOT / "jax_talker").glob("*.py") if "\n    cli.run(" in path.read_text("utf-8")}
    assert programs == {*command.PROGRAMS} - {"convert"}
