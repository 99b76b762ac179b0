"""What configurations mean where they leave something open."""

from unittest.mock import Mock

import pytest

from configs import quickstart
from jax_talker.app import builders
from jax_talker.errors import UserError
from jax_talker.priors.base import Prior


def configured(**loss):
    config = quickstart.get_config()
    config.loss.update(loss)
    return config


def test_lpips_is_on_where_weights_are_given(shared):
    weights = str(shared / "models" / "lpips_alex.safetensors")
    loss, arrays, text = builders.image_loss(configured(lpips_weights=weights))
    assert loss.lpips == builders.LPIPS_WEIGHT
    assert arrays is not None
    assert "0.1·LPIPS (alex)" in text
    assert builders.image_loss(configured(lpips_weights=weights, lpips=0.3))[0].lpips == 0.3
    loss, arrays, text = builders.image_loss(configured(lpips_weights=weights, lpips=0.0))
    assert (loss.lpips, arrays) == (0, None)
    assert "switched off" in text


def test_without_weights_lpips_is_off_aloud_or_an_error():
    loss, arrays, text = builders.image_loss(configured())
    assert (loss.lpips, arrays) == (0, None)
    assert "no LPIPS weights given" in text
    with pytest.raises(UserError, match=r"needs config\.loss\.lpips_weights"):
        builders.image_loss(configured(lpips=0.2))


def test_precisions_that_nobody_knows_are_refused():
    config = quickstart.get_config()
    assert builders.compute(config) == "float32"
    config.prior.compute = "bf16"
    with pytest.raises(UserError, match=r"config\.prior\.compute: 'bf16' is none of float32, tf32, bfloat16"):
        builders.compute(config)
    del config.prior  # a file from before there was a choice
    assert builders.compute(config) == "float32"


def test_any_background_needs_a_prior_on_white():
    white, black = (Mock(spec=Prior, background=(shade,) * 3) for shade in (1.0, 0.0))
    config = quickstart.get_config()
    builders.check_background(config, black)  # white is the default, and asks for nothing
    config.train.background = "any"
    assert builders.head_weights(config).any_background
    builders.check_background(config, white)
    with pytest.raises(UserError, match="foreground-only"):
        builders.check_background(config, black)
    config.train.background = "blue"
    with pytest.raises(UserError, match="neither any nor white"):
        builders.head_weights(config)
