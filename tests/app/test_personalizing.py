"""What personalising refuses before it begins."""

import pytest

from configs import quickstart
from jax_talker.app.personalizing import personalize
from jax_talker.app.run_folder import RunFolder
from jax_talker.errors import UserError
from jax_talker.training.log import Log


def test_what_lies_in_the_persons_place_is_said_before_any_work(tmp_path):
    """No clip is opened: the configuration names none that exists."""
    config = quickstart.get_config()
    config.data.clip = str(tmp_path / "nowhere")
    personal = RunFolder(tmp_path).personal
    personal.mkdir()
    (personal / "notes.txt").touch()
    with pytest.raises(UserError, match=r"personal: is no prior \(no config\.json in it\)"):
        personalize(config, RunFolder(tmp_path), Log(tmp_path), resume=False)
    (personal / "notes.txt").unlink()
    with pytest.raises(UserError, match="nowhere"):
        personalize(config, RunFolder(tmp_path), Log(tmp_path), resume=False)
