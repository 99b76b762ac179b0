"""``train --view``: a viewer of the head that is being learnt, beside the training and no longer than it."""

import importlib.util
import signal
import subprocess
import time

import pytest

from jax_talker.app.run_folder import RunFolder
from jax_talker.app.viewing import beside
from jax_talker.errors import UserError
from jax_talker.training import processes

PATIENCE = 120.0  # s, in which a busy machine must have started a program


def test_a_viewer_waits_for_the_head_and_ends_with_the_training(tmp_path, monkeypatch, capfd):
    pytest.importorskip("viser", reason="pip install 'jax-talker[view]': the viewer needs it")
    started, start = [], subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *given, **how: started.append(start(*given, **how)) or started[-1])
    told, ends = "", time.monotonic() + PATIENCE
    with beside.viewed(RunFolder(tmp_path)):
        while "waiting for a training to begin" not in told and time.monotonic() < ends:
            time.sleep(0.1)
            told += "".join(capfd.readouterr())
    assert f"waiting for a training to begin in {tmp_path}" in told
    assert [viewer.poll() for viewer in started] == [-signal.SIGTERM]


def test_one_of_several_processes_has_it(tmp_path, monkeypatch):
    pytest.importorskip("viser", reason="pip install 'jax-talker[view]': the viewer needs it")
    monkeypatch.setattr(processes, "writes", lambda: False)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a second viewer"))
    with beside.viewed(RunFolder(tmp_path)):
        pass


def test_without_viser_it_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'jax-talker\[view\]'"):
        beside.viewed(RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
