"""Scores by region, and their table."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_talker.app import evaluating
from jax_talker.types import FrameBatch


@pytest.fixture
def batch(make_frames) -> FrameBatch:
    return make_frames([1, 2, 3])


def test_identical_pictures_score_best_in_every_region(batch):
    for name, scores in evaluating._compared(batch.image, batch).items():
        np.testing.assert_allclose(scores["psnr"], 100, atol=1e-4, err_msg=name)
        np.testing.assert_allclose(scores["ssim"], 1, atol=1e-5, err_msg=name)


def test_what_was_not_filmed_does_not_count(batch):
    noise = jax.random.uniform(jax.random.key(0), batch.image[:, :, :10].shape)
    spoilt = batch.image.at[:, :, :10].set(noise)
    assert evaluating._compared(spoilt, batch)["whole"]["psnr"].max() < 40
    hidden = batch.replace(valid=batch.valid.at[:, :, :10].set(0))
    for name, scores in evaluating._compared(spoilt, hidden).items():
        np.testing.assert_allclose(scores["psnr"], 100, atol=1e-4, err_msg=name)
        np.testing.assert_allclose(scores["ssim"], 1, atol=1e-5, err_msg=name)
    unseen = evaluating._compared(spoilt, batch.replace(lower=0 * batch.lower))
    assert np.isnan(unseen["lower"]["psnr"]).all()


def test_the_table_names_everything():
    region = {"psnr": 30.0, "ssim": 0.9}
    scores = {name: dict.fromkeys(evaluating.REGIONS, region) for name in evaluating.YARDSTICKS}
    whole = {"views": {"left": scores}, "training": scores["model"], "frames": 10, "training_frames": 20, "size": 24}
    whole["leakage"] = {"lips_in_upper_percent": 12.34, "expression_in_lower_percent": 5.67}
    table = evaluating.table({**scores, **whole})
    for word in (*evaluating.REGIONS, *evaluating.YARDSTICKS, "left", "training", "12.3 %", "5.7 %"):
        assert word in table
    assert len(table.splitlines()) == 2 + 2 * len(evaluating.YARDSTICKS) + 2
    assert jnp.isnan(evaluating._mean(np.array([np.nan])))
    assert evaluating._mean(np.array([np.nan, 2.0]), np.array([4.0])) == 3
