"""Names from before the rooms."""

import importlib
import subprocess
import sys

import pytest

from jax_talker.data.moved import MOVED


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_an_old_name_is_the_same_module(old, new):
    moved = importlib.import_module(f"jax_talker.data.{old}")
    assert moved is importlib.import_module(f"jax_talker.data.{new}")
    assert moved.__name__ == moved.__spec__.name == f"jax_talker.data.{new}"


def test_an_old_name_may_be_imported_first():
    code = "from jax_talker.data.audio import load_sound; import jax_talker.data.read.audio as a; a.load_sound"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("jax_talker.data.nothing")
