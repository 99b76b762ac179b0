"""Models of others that are used because they are here."""

import pytest

from configs import talk
from jax_talker.app.in_one_go.models import LPIPS, with_lpips


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_lpips_is_in_the_loss_where_its_weights_lie(here):
    assert with_lpips(talk.get_config()).loss.lpips_weights is None
    (here / "models" / LPIPS).mkdir(parents=True)
    assert with_lpips(talk.get_config()).loss.lpips_weights == f"models/{LPIPS}"
    kept = here / "cache" / "jax_talker" / "models" / LPIPS
    kept.mkdir(parents=True)
    assert with_lpips(talk.get_config()).loss.lpips_weights == str(kept)


@pytest.mark.parametrize(("field", "value"), [("lpips", 0.0), ("lpips_weights", "elsewhere")])
def test_what_was_said_about_lpips_is_left(here, field, value):
    (here / LPIPS).mkdir()
    config = talk.get_config()
    config.loss[field] = value
    said = config.loss.to_dict()
    assert with_lpips(config).loss.to_dict() == said
