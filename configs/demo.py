"""What ``make demo`` trains: configs/quickstart.py, cut to fit five minutes on 2 cores."""

from ml_collections import ConfigDict

from configs import quickstart


def get_config() -> ConfigDict:
    c = quickstart.get_config()
    c.personalize.frames = 12
    c.personalize.invert_steps = 150
    c.personalize.tune_steps = 100
    c.personalize.tune_rate = 1e-3  # procedural people are what the small prior knows: a touch is enough
    c.personalize.locality = 0.1
    c.train.steps = 500
    c.log.images = 0
    c.log.checkpoint = 0
    return c
