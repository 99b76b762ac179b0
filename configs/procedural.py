"""A procedural person (``prepare --procedural seed=11,seconds=22 --size 128``), with the prior that knows such heads.

What ``make demo`` trained until 2026-11-29, and what many measurements in docs/ were made with.
"""

from ml_collections import ConfigDict

from configs import quickstart


def get_config() -> ConfigDict:
    c = quickstart.get_config()
    c.prior.path = "small"  # knows procedural people, and these are such
    c.personalize.invert_steps = 140
    c.personalize.tune_steps = 850
    c.personalize.detail = 0.001  # labels and masks are exact here: no errors that detail could learn
    c.train.hear_steps = 600
    c.train.steps = 430
    c.train.sound.room = 0.0  # nobody speaks in a room here
    c.train.lower = 2.0
    c.train.upper = 0.5
    c.model.pose = "none"  # this person's light and hair turn with the head
    c.log.images = 0
    c.log.checkpoint = 0
    return c
