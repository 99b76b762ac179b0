"""A procedural person (``prepare --procedural seed=11,seconds=22 --size 128``), with the prior that knows such heads.

What ``make demo`` trained until 2026-11-29, and what many measurements in docs/ were made with.
"""

from ml_collections import ConfigDict

from configs import demo


def get_config() -> ConfigDict:
    c = demo.get_config()
    c.prior.path = "small"  # knows procedural people, and these are such
    c.personalize.invert_steps = 140
    c.personalize.tune_steps = 850
    c.train.steps = 430
    return c
