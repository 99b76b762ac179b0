"""A head that is being trained is shown from each checkpoint to the next."""

import json
import threading
from dataclasses import replace

import jax
import numpy as np
import pytest

from jax_talker.app import navigating
from jax_talker.app.run_folder import RunFolder
from jax_talker.app.viewing.drawing import Drawer
from jax_talker.app.viewing.following import Follower, measured, wait_for_a_head
from jax_talker.app.viewing.page import Page
from jax_talker.app.viewing.performing import say
from jax_talker.app.viewing.puppet import make_puppet
from jax_talker.app.viewing.shown import Shown
from jax_talker.errors import UserError

pytest.importorskip("viser", reason="pip install 'jax-talker[view]': the page needs it")


def checkpoint(root, step):
    (root / "checkpoints" / navigating.STAGE / str(step)).mkdir(parents=True)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"task": "talker"}))
    rows = [{"stage": "tune", "step": 90, "loss": 9.0}, {"stage": "navigate", "step": 20, "loss": 0.5, "psnr": 20.0}]
    rows += [{"stage": "navigate", "step": step, "loss": 1 / step, "psnr": float(step)} for step in (40, 60)]
    (tmp_path / "scalars.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return RunFolder(tmp_path)


def test_a_newer_head_takes_the_place_of_the_old_one(config, speaker, folder, monkeypatch):
    checkpoint(folder.root, 20)
    words = say(
        config, speaker, "words", np.random.default_rng(0).standard_normal(16000).astype(np.float32) / 9, seed=3
    )
    shown = Shown("tiny", config, Drawer(speaker, 24), make_puppet(config, speaker, None, None), None, None)
    page = Page(shown, host="127.0.0.1", port=8466, given=words)
    try:
        page.speech.load()
        page.player.seek(7)
        page.draw()
        before = page.sender.splats.buffer.copy()
        follower = Follower(page, shown, folder)
        monkeypatch.setattr(navigating, "open_speaker", lambda *_: pytest.fail("nothing is newer"))
        follower.look()
        learnt = replace(speaker, params=jax.tree.map(lambda x: 1.1 * x, speaker.params))
        monkeypatch.setattr(navigating, "open_speaker", lambda *_: learnt)
        checkpoint(folder.root, 40)
        follower.look()
        page.draw()
    finally:
        page.close()
    assert (page.sender.splats.buffer != before).any()
    assert "step 40: loss 0.025, psnr 40" in page._about.content
    assert (page.drawn, page.player.performance.seed) == (7, 3)  # where it was, and the blinks are the same
    assert np.abs(page.player.performance.coefficients.lips - words.coefficients.lips).max() > 1e-3


def test_what_was_measured_is_of_that_stage_and_not_later(folder):
    assert measured(folder, 50) == "loss 0.025, psnr 40"
    assert measured(folder, 5) == "nothing measured yet"


def test_it_waits_for_the_first_head_and_refuses_what_is_no_run(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("jax_talker.app.viewing.following.WAIT", 0.01)
    told = []
    config = (tmp_path / "config.json").rename(tmp_path / "later.json")  # what a training writes when it begins
    thread = threading.Thread(target=wait_for_a_head, args=(folder, told.append), daemon=True)
    thread.start()
    thread.join(0.1)
    assert told == [f"waiting for a training to begin in {tmp_path}"]
    config.rename(tmp_path / "config.json")
    thread.join(0.1)
    assert thread.is_alive()
    checkpoint(folder.root, 1)
    thread.join(5)
    assert not thread.is_alive()
    assert told[1:] == [f"waiting for the first checkpoint of 'navigate' in {tmp_path}"]
    with pytest.raises(UserError, match="not a run folder"):
        wait_for_a_head(RunFolder(tmp_path / "nothing"), told.append)
