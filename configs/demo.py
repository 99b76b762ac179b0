"""What ``make demo`` trains: configs/quickstart.py, cut to fit five minutes on 2 cores."""

from ml_collections import ConfigDict

from configs import quickstart


def get_config() -> ConfigDict:
    c = quickstart.get_config()
    c.personalize.invert_steps = 200
    c.personalize.tune_steps = 700
    c.train.hear_steps = 600
    c.train.steps = 360
    c.model.pose = "none"  # this person's light and hair turn with the head
    c.log.images = 0
    c.log.checkpoint = 0
    return c
